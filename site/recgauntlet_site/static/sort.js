"use strict";
// Orders a table by a column when its head is pressed. Every value is read once: a comparison that reads cells is too slow
// for thousands of rows. Rows move one by one, which is faster than all at once or out of the page.
(() => {
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sorter";
      button.append(...head.childNodes);
      head.append(button);
    }
    table.tHead.addEventListener("click", (event) => {
      const head = event.target.closest("th");
      const first = head.hasAttribute("data-ascending") ? "ascending" : "descending";
      const other = first === "ascending" ? "descending" : "ascending";
      order(table, head, head.getAttribute("aria-sort") === first ? other : first);
    });
    table.addEventListener("order-by", (event) => {
      const head = table.tHead.rows[0].querySelector(`th[data-key="${CSS.escape(event.detail.key)}"]`);
      if (head) order(table, head, event.detail.order);
    });
  }

  function order(table, head, direction) {
    for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction);
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const column = head.cellIndex;
    const texts = rows.map((row) => row.children[column]).map((cell) => cell.getAttribute("data-sort") ?? cell.textContent.trim());
    const numbers = texts.map(Number);
    const numeric = !numbers.some(Number.isNaN);
    const compare = (a, b) => (numeric ? numbers[a] - numbers[b] : texts[a].localeCompare(texts[b]));
    const sign = direction === "ascending" ? 1 : -1;
    const places = rows.map((row, place) => place);
    places.sort((a, b) => (texts[a] === "") - (texts[b] === "") || sign * compare(a, b)); // what is empty comes last
    const move = body.moveBefore ?? body.insertBefore; // the first spares what is undone and done again for a new row
    for (const place of places) move.call(body, rows[place], null);
    table.dispatchEvent(new Event("ordered", { bubbles: true }));
  }
})();
