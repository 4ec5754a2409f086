"use strict";
// Sorting is a convenience: without this script the tables stand in the order of their ranks.
for (const head of document.querySelectorAll("table.board th[data-sort]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const table = head.closest("table");
    const column = [...head.parentNode.children].indexOf(head);
    const first = head.dataset.sort === "down" ? "descending" : "ascending";
    const other = first === "descending" ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    for (const each of head.parentNode.children) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const key = (body) => {
      const cell = body.rows[0].cells[column];
      if (head.dataset.sort === "text") return cell.textContent.trim();
      return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    };
    const compare = (one, two) => {
      const a = key(one), b = key(two);
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (typeof a === "string" ? a.localeCompare(b, "en") : a - b);
    };
    table.append(...[...table.tBodies].sort(compare));
  });
}
