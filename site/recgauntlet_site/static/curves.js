"use strict";
// A plot of the security curves that can be zoomed, of the rows shown in the table: drag to zoom, double-click to reset.
// The table below it has the same numbers.
(() => {
  const island = document.getElementById("curves-data");
  const box = document.getElementById("zoom");
  if (!island || !box) return;
  const { threats, names, colours } = JSON.parse(island.textContent);
  const choice = box.querySelector("select");
  const place = box.querySelector(".zoomed");
  const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3]];
  let shown = Object.keys(names);
  let drawn = null;

  function draw() {
    if (drawn) drawn.destroy();
    drawn = null;
    if (!box.open) return;
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const threat = threats[Number(choice.value)];
    const rows = shown.filter((id) => threat.rows[id]);
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule") } };
    drawn = new uPlot({
      width: place.clientWidth,
      height: 360,
      scales: { x: { time: false }, y: { range: (plot, low, high) => [Math.max(0, low - 2), Math.min(100, high + 2)] } },
      axes: [{ ...axis, label: threat.axis }, { ...axis, label: "accuracy, %" }],
      cursor: { drag: { x: true, y: true, uni: 20 } },
      series: [{ label: threat.axis }, ...rows.map((id, number) => ({
        label: names[id],
        stroke: colour(`--s${number % colours}`),
        dash: DASHES[Math.floor(number / colours) % DASHES.length],
        width: 2,
        points: { size: 6 },
        value: (plot, value) => (value === null ? "–" : value.toFixed(1)),
      }))],
    }, [threat.amounts, ...rows.map((id) => threat.rows[id])], place);
  }

  document.addEventListener("rows-shown", (event) => { shown = event.detail; draw(); });
  choice.addEventListener("input", draw);
  box.addEventListener("toggle", draw);
  window.addEventListener("resize", draw);
  box.hidden = false;
})();
