"use strict";
// Search, filters, columns and comparison of the tables; the state is kept in the address.
// Without this script every table is shown whole, sorted by rank.
(() => {
  const MOST_COMPARED = 4;
  const form = document.querySelector("form.tools");
  if (!form) return;
  const tables = [...document.querySelectorAll("table.sortable[id]")];
  const board = document.querySelector("table.board");
  const output = form.querySelector("output");
  const filters = [...form.querySelectorAll("select[data-filter]")];
  const boxes = [...form.querySelectorAll("input[name=column]")];
  const compared = [];
  let written = "";

  const headOf = (table, key) => table.tHead.rows[0].querySelector(`th[data-key="${CSS.escape(key)}"]`);
  const field = (name) => form.elements.namedItem(name);
  const valueOf = (name) => (field(name) ? field(name).value : "");
  function choose(name, value) {
    if (!field(name)) return;
    field(name).value = value;
    if (field(name).selectedIndex === -1) field(name).value = ""; // the address may name a choice that does not exist
  }

  // ---- rows

  const textOf = (row) => row.cells[1].textContent.toLowerCase();

  function filterRows() {
    const words = valueOf("q").toLowerCase().split(/\s+/).filter(Boolean);
    const task = valueOf("task");
    let shown = 0, all = 0;
    for (const section of document.querySelectorAll("section[data-task]")) {
      section.hidden = task !== "" && section.dataset.task !== task;
    }
    for (const table of tables) {
      const section = table.closest("[data-task]");
      for (const row of table.tBodies[0].rows) {
        row.hidden = !(filters.every((select) => ["", row.dataset[select.name]].includes(select.value))
          && words.every((word) => textOf(row).includes(word)));
        if (section && section.hidden) continue;
        all += 1;
        if (!row.hidden) shown += 1;
      }
    }
    output.value = shown === all ? `${all} rows` : shown ? `${shown} of ${all} rows`
      : `none of ${all} rows: clear a filter or the search`;
  }

  // ---- columns

  function showColumns() {
    if (!board) return;
    const threat = valueOf("threat");
    const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const heads = [...board.tHead.rows[0].cells];
    const hidden = heads.map((head) => {
      const chosen = wanted.has(head.dataset.key) || !boxes.some((box) => box.value === head.dataset.key);
      return !chosen || (threat !== "" && head.dataset.threat !== undefined && head.dataset.threat !== threat);
    });
    for (const row of board.rows) {
      for (let place = 0; place < hidden.length; place += 1) row.cells[place].hidden = hidden[place];
    }
    const tiers = new Set(heads.filter((head) => wanted.has(head.dataset.key) && head.dataset.tier)
      .map((head) => head.dataset.tier));
    const one = tiers.size === 1 ? [...tiers][0] : tiers.size === 3 ? "all" : "";
    choose("tier", one === "standard" ? "" : one);
  }

  function chooseTier() {
    const tier = valueOf("tier") || "standard";
    for (const box of boxes) {
      const own = headOf(board, box.value).dataset.tier;
      if (own) box.checked = tier === "all" || own === tier;
    }
  }

  // ---- order

  function sortedBy(table) {
    const head = table.tHead.querySelector("th[aria-sort]");
    return head && !(head.dataset.key === "rank" && head.ariaSort === "ascending") ? head : null;
  }

  function sortBy(table, key, order) {
    table.dispatchEvent(new CustomEvent("order-by", { detail: { key, order } }));
  }

  // ---- comparison

  const place = document.getElementById("compared");

  function addBoxes() {
    for (const row of board.tBodies[0].rows) {
      const box = document.createElement("input");
      box.type = "checkbox";
      box.className = "compare";
      box.autocomplete = "off"; // the address keeps the state, not the browser's form history
      box.setAttribute("aria-label", `Compare ${row.cells[1].textContent.trim()}`);
      row.cells[1].prepend(box);
    }
    board.addEventListener("change", (event) => {
      const row = event.target.closest("tr");
      if (event.target.checked) compared.push(row.id);
      else compared.splice(compared.indexOf(row.id), 1);
      showCompared();
      tellShown();
      write();
    });
  }

  function showCompared() {
    for (const row of board.tBodies[0].rows) {
      const box = row.querySelector("input.compare");
      box.checked = compared.includes(row.id);
      box.disabled = !box.checked && compared.length >= MOST_COMPARED;
    }
    const rows = compared.map((id) => document.getElementById(id));
    place.hidden = rows.length < 2;
    if (place.hidden) return;
    const table = document.createElement("table");
    table.className = "wide";
    const caption = table.createCaption();
    caption.textContent = "The columns that are shown in the table, each row over its own seeds. Whether two rows differ: recgauntlet compare.";
    const head = table.createTHead().insertRow();
    head.append(heading("col", "Column"), ...rows.map((row) => heading("col", row.cells[1].textContent.trim())));
    const body = table.createTBody();
    for (const [number, column] of [...board.tHead.rows[0].cells].entries()) {
      if (column.hidden || column.dataset.key === "name" || column.dataset.key === "flags") continue;
      const line = body.insertRow();
      line.append(heading("row", column.textContent.trim()));
      for (const row of rows) {
        const cell = line.insertCell();
        cell.append(...[...row.cells[number].childNodes].map((node) => node.cloneNode(true)));
      }
    }
    place.querySelector(".scroll").replaceChildren(table);
  }

  function heading(scope, text) {
    const cell = document.createElement("th");
    cell.scope = scope;
    cell.textContent = text;
    return cell;
  }

  // ---- the address

  function write() {
    const state = new URLSearchParams();
    for (const name of ["q", "task", "threat", ...filters.map((select) => select.name)]) {
      if (valueOf(name)) state.set(name, valueOf(name));
    }
    if (boxes.some((box) => box.checked !== box.defaultChecked)) {
      state.set("columns", boxes.filter((box) => box.checked).map((box) => box.value).join("."));
    }
    for (const table of tables) {
      const head = sortedBy(table);
      if (head) state.append("sort", `${table.id}.${head.dataset.key}.${head.getAttribute("aria-sort")}`);
    }
    if (compared.length) state.set("compare", compared.join("."));
    written = state.toString();
    try {
      history.replaceState(null, "", written ? `#${written}` : location.pathname + location.search);
    } catch {
      location.replace(`#${written}`); // some browsers forbid replaceState for local files
    }
  }

  function read() {
    const hash = location.hash.slice(1);
    if (hash === written) return;
    written = hash;
    const state = new URLSearchParams(hash.includes("=") ? hash : "");
    for (const box of boxes) box.checked = box.defaultChecked;
    for (const name of ["q", "task", "threat", ...filters.map((select) => select.name)]) choose(name, state.get(name) || "");
    if (state.has("columns")) {
      const wanted = state.get("columns").split(".");
      for (const box of boxes) box.checked = wanted.includes(box.value);
    }
    compared.splice(0);
    if (board && state.has("compare")) {
      const there = state.get("compare").split(".").filter((id) => board.tBodies[0].querySelector(`tr[id="${CSS.escape(id)}"]`));
      compared.push(...new Set(there.slice(0, MOST_COMPARED)));
    }
    for (const sort of state.getAll("sort")) { // last, because every sort writes the address
      const [id, key, order] = sort.split(".");
      const table = tables.find((one) => one.id === id);
      if (table && ["ascending", "descending"].includes(order)) sortBy(table, key, order);
    }
    show();
  }

  function show() {
    filterRows();
    showColumns();
    if (!board) return;
    showCompared();
    tellShown();
  }

  function tellShown() {
    const rows = [...board.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.id);
    document.dispatchEvent(new CustomEvent("rows-shown", { detail: compared.length > 1 ? compared : rows }));
  }

  // ---- listening

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    const name = event.target.name;
    if (name === "sort") {
      const [key, order] = event.target.value ? [event.target.value, "descending"] : ["rank", "ascending"];
      for (const table of tables) sortBy(table, key, order);
      return;
    }
    if (name === "tier") chooseTier();
    if (["tier", "threat", "column"].includes(name)) showColumns();
    else filterRows();
    if (board) { showCompared(); tellShown(); }
    write();
  });
  form.addEventListener("reset", () => setTimeout(() => {
    compared.splice(0);
    for (const table of tables) sortBy(table, "rank", "ascending");
    show();
    write();
  }));
  document.addEventListener("ordered", write);
  window.addEventListener("hashchange", read);
  if (board) {
    addBoxes();
    place.querySelector("button").addEventListener("click", () => { compared.splice(0); showCompared(); tellShown(); write(); });
  }
  form.hidden = false;
  written = "\u0000";
  read();
})();
