"use strict";
// Values under the pointer, and at the arrow keys. Without this script the charts can still be seen.
for (const figure of document.querySelectorAll("figure.chart")) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const svg = figure.querySelector("svg");
  const tip = figure.querySelector(".tip");
  const rule = figure.querySelector(".rule");
  const width = svg.viewBox.baseVal.width;
  const all = data.series.flatMap((line) => line.points);
  const places = [...new Set(all.map((point) => point[0]))].sort((a, b) => a - b);
  let shown = -1;

  const nearest = (points, x, y) => points.reduce((best, point) => {
    const distance = Math.hypot(point[0] - x, data.near === "both" ? point[1] - y : 0);
    return distance < best.distance ? { point, distance } : best;
  }, { point: null, distance: Infinity });

  const show = (x, y) => {
    const found = nearest(all, x, y).point;
    shown = places.indexOf(found[0]);
    rule.setAttribute("x1", found[0]);
    rule.setAttribute("x2", found[0]);
    tip.replaceChildren(Object.assign(document.createElement("b"), {
      textContent: `${data.x} ${found[2]}`,
    }));
    for (const line of data.series) {
      const { point, distance } = nearest(line.points, found[0], found[1]);
      if (!point || distance > width / 20) continue;
      const row = document.createElement("span");
      row.className = `key c${line.colour}`;
      const at = point[2] === found[2] ? "" : ` (${data.x} ${point[2]})`;
      row.textContent = `${line.name}: ${point[3]}${at}`;
      tip.append(row);
    }
    figure.classList.add("on");
    const left = (found[0] / width) * svg.clientWidth + svg.offsetLeft;
    const free = figure.clientWidth - tip.offsetWidth;
    const beside = found[0] > width / 2 ? left - tip.offsetWidth - 10 : left + 10;
    tip.style.left = `${Math.max(0, Math.min(beside, free))}px`;
  };
  const hide = () => figure.classList.remove("on");

  const onPointer = (event) => {
    const box = svg.getBoundingClientRect();
    const scale = width / box.width;
    show((event.clientX - box.left) * scale, (event.clientY - box.top) * scale);
  };
  svg.addEventListener("pointermove", onPointer);
  svg.addEventListener("pointerdown", onPointer);
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -places.length, End: places.length }[event.key];
    if (event.key === "Escape") hide();
    if (step === undefined) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(places.length - 1, shown + step));
    const point = all.find((each) => each[0] === places[next]);
    show(point[0], point[1]);
  });
}
// What does not scroll need not be reached with the Tab key.
const markScrolling = () => {
  for (const wide of document.querySelectorAll(".wide")) {
    if (wide.scrollWidth > wide.clientWidth) wide.setAttribute("tabindex", "0");
    else wide.removeAttribute("tabindex");
  }
};
markScrolling();
addEventListener("resize", markScrolling);
document.addEventListener("toggle", markScrolling, true);
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
