"use strict";
// Shows the values of curves under the pointer, hides curves by their legend, opens all details for
// printing. The page is complete without it. Texts go into the page as textContent only.
(() => {
  const svgName = document.documentElement.querySelector("svg")?.namespaceURI;

  const make = (parent, tag, attributes = {}) => {
    const node = document.createElementNS(svgName, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    parent.append(node);
    return node;
  };

  const element = (parent, tag, text, className) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    parent.append(node);
    return node;
  };

  // The place of the x nearest to wanted, in a rising list.
  const nearest = (x, wanted) => {
    let low = 0, high = x.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (x[middle] < wanted) low = middle; else high = middle;
    }
    return high >= 0 && Math.abs(x[high] - wanted) < Math.abs(x[low] - wanted) ? high : low;
  };

  const place = (value, [low, high], log) =>
    log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);

  const number = (value, percent) =>
    value === null ? "–"
    : percent ? (100 * value).toFixed(2) + " %"
    : value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e7) ? String(Number(value.toPrecision(3)))
    : Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en-US")
    : String(Number(value.toPrecision(5)));

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.svg = figure.querySelector("svg");
      this.data = JSON.parse(figure.querySelector("script.data").textContent);
      this.groups = [...this.svg.querySelectorAll(".series")];
      this.svg.addEventListener("pointermove", (event) => this.show(event));
      this.svg.addEventListener("pointerleave", () => this.hide());
      const legend = figure.querySelector(".legend");
      legend.classList.add("live");
      for (const entry of legend.children)
        entry.addEventListener("click", () => this.toggle(entry));
    }

    toggle(entry) {
      const off = entry.classList.toggle("off");
      for (const group of this.groups)
        if (group.dataset.group === entry.dataset.group) group.classList.toggle("off", off);
    }

    hide() {
      this.tip?.remove();
      this.cursor?.remove();
      this.tip = this.cursor = null;
    }

    // The points nearest to x of all curves that are shown, no further than the nearest of them by
    // more than a hundredth of the range: curves need not reach as far as others.
    points(x) {
      const { series, x: range } = this.data;
      const found = [];
      series.forEach((one, s) => {
        if (this.groups[s].classList.contains("off") || !one.x.length) return;
        const at = nearest(one.x, x);
        if (one.y[at] !== null) found.push({ one, at, distance: Math.abs(one.x[at] - x) });
      });
      const least = Math.min(...found.map((point) => point.distance));
      return found.filter((point) => point.distance <= least + (range[1] - range[0]) / 100);
    }

    show(event) {
      const { plot: [left, right, top, bottom], x: xs, y: ys, log, percent } = this.data;
      const box = this.svg.getBoundingClientRect();
      const scale = box.width / this.svg.viewBox.baseVal.width;
      const px = Math.min(right, Math.max(left, (event.clientX - box.left) / scale));
      const points = this.points(xs[0] + (px - left) / (right - left) * (xs[1] - xs[0]));
      this.hide();
      if (!points.length) return;
      const x = points.reduce((a, b) => (b.distance < a.distance ? b : a));
      const at = left + place(x.one.x[x.at], xs, false) * (right - left);
      this.cursor = make(this.svg, "g", { class: "cursor" });
      make(this.cursor, "line", { x1: at, x2: at, y1: top, y2: bottom });
      this.tip = element(this.figure, "div", undefined, "tip");
      element(this.tip, "small", this.data.xTitle.replace(/s$/, "") + " " + Math.round(x.one.x[x.at]).toLocaleString("en-US"));
      for (const { one, at: i } of points) {
        const y = bottom - place(one.y[i], ys, log) * (bottom - top);
        if (y >= top - 4 && y <= bottom + 4)
          make(this.cursor, "circle", {
            class: "c" + one.colour, r: 3.5, cy: y,
            cx: left + place(one.x[i], xs, false) * (right - left),
          });
        const row = element(this.tip, "div");
        element(row, "i", undefined, "c" + one.colour);
        element(row, "span", one.name);
        element(row, "b", number(one.y[i], percent) +
          (one.low ? ` (${number(one.low[i], percent)} to ${number(one.high[i], percent)})` : ""));
      }
      this.put(box, at * scale);
    }

    // Beside the pointer's line, on the side where there is room.
    put(box, x) {
      const frame = this.figure.getBoundingClientRect();
      const line = box.left - frame.left + x;
      const width = this.tip.offsetWidth;
      const left = line + 14 + width < frame.width ? line + 14 : line - 14 - width;
      this.tip.style.left = Math.max(0, left) + "px";
      this.tip.style.top = box.top - frame.top + 8 + "px";
    }
  }

  for (const figure of document.querySelectorAll("figure.chart")) new Chart(figure);

  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
