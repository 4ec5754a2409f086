"use strict";
// How long ago a release was frozen: pages are the same on every day, so the reader's clock says it.
for (const time of document.querySelectorAll("time.age")) {
  const days = Math.floor((Date.now() - Date.parse(time.dateTime)) / 86400000);
  const ago = days < 1 ? "today" : days < 2 ? "1 day ago" : days < 60 ? `${days} days ago` : `${Math.round(days / 30.44)} months ago`;
  if (days >= 0) time.insertAdjacentText("afterend", ` (${ago})`);
}
// Sorts a table by a column when its head is pressed. A cell's `data-sort` counts before its text; empty values come last.
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
      sort(table, head, head.getAttribute("aria-sort") === first ? other : first);
    });
    table.addEventListener("order-by", (event) => {
      const head = table.tHead.rows[0].querySelector(`th[data-key="${CSS.escape(event.detail.key)}"]`);
      if (head) sort(table, head, event.detail.order);
    });
  }

  function sort(table, head, direction) {
    for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction);
    const body = table.tBodies[0];
    const value = (row) => row.cells[head.cellIndex].getAttribute("data-sort") ?? row.cells[head.cellIndex].textContent.trim();
    const numeric = ![...body.rows].some((row) => Number.isNaN(Number(value(row))));
    const compare = (a, b) => (numeric ? a - b : a.localeCompare(b));
    const sign = direction === "ascending" ? 1 : -1;
    body.append(...[...body.rows].sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      return (a === "") - (b === "") || sign * compare(a, b);
    }));
    table.dispatchEvent(new Event("ordered", { bubbles: true }));
  }
})();
