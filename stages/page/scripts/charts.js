// Line charts with values on hover and by keyboard.

/** An SVG element. @param {string} name */
function createSvg(name, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  set(element, attributes);
  element.textContent = text;
  return element;
}

/** About `count` round numbers from low to high. */
function niceTicks(low, high, count = 4) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw * (1 - 1e-9));
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-3); // a range up to 0.9999 has a tick at 1
  return Array.from({ length: last - first + 1 }, (_, k) => (first + k) * step);
}

/** Axis limits for values, with a margin of 5%, or of 10% on a logarithmic axis. @param {number[]} values */
function limits(values, log = false) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = 0.05 * (high - low) || 0.01;
  return log ? { low: low / 1.1, high: high * 1.1 } : { low: low - margin, high: high + margin };
}

/**
 * @typedef {{label: string, low: number, high: number, log?: boolean, format?: (value: number) => string, tick?: (value: number) => string}} Axis
 * @typedef {{name: string, colour: string, points: [number, number][]}} Series
 * @typedef {{label: string, x: Axis, y: Axis, series: Series[], marks?: {y: number, name: string}[], now?: number}} Chart
 */

/**
 * Make a line chart inside `host`. Returns a function that draws it with new data. The cursor
 * follows the pointer and the arrow keys; the legend shows the values under it.
 * @param {HTMLElement} host
 * @returns {(chart: Chart) => void}
 */
function makeChart(host) {
  const legend = host.appendChild(document.createElement("p"));
  legend.className = "legend";
  const picture = host.appendChild(createSvg("svg", { role: "slider", tabindex: 0, class: "chart" }));
  const [left, right, top, bottom, height] = [44, 14, 12, 40, 240];
  /** @type {Chart} */ let chart;
  let cursor = -1; // index into the longest series, -1 for none
  let xs = [];

  const scale = (axis, from, to) => {
    const map = axis.log ? Math.log10 : (value) => value;
    const [low, high] = [map(axis.low), map(axis.high)];
    return (value) => from + ((map(value) - low) / (high - low)) * (to - from);
  };
  const nearest = (values, x) =>
    values.reduce((best, value, k) => (Math.abs(value - x) < Math.abs(values[best] - x) ? k : best), 0);
  const show = (axis, value) => (axis.format ?? round)(value);

  function draw() {
    const { width } = picture.getBoundingClientRect();
    if (!width || !chart) return;
    const { x, y, series, marks = [] } = chart;
    const across = scale(x, left, width - right);
    const down = scale(y, height - bottom, top);
    const parts = [];
    const add = (...description) => parts.push(createSvg(...description));
    const ticks = x.log
      ? niceTicks(Math.log10(x.low), Math.log10(x.high), 5).filter(Number.isInteger).map((k) => 10 ** k)
      : niceTicks(x.low, x.high, width < 500 ? 3 : 5);
    const powers = [-4, -3, -2, -1, 0, 1, 2].flatMap((k) => [1, 2, 5].map((digit) => digit * 10 ** k));
    const marked = y.log ? powers.filter((tick) => tick >= y.low && tick <= y.high) : [];
    const levels = marked.length > 1 ? marked : niceTicks(y.low, y.high);
    for (const tick of levels) {
      add("line", { class: "grid", x1: left, x2: width - right, y1: down(tick), y2: down(tick) });
      add("text", { x: left - 6, y: down(tick) + 4, "text-anchor": "end" }, (y.tick ?? round)(tick));
    }
    for (const tick of ticks) {
      const text = tick.toLocaleString("en");
      const anchor = across(tick) > width - 30 && text.length > 4 ? "end" : "middle"; // no room on the right
      add("text", { x: across(tick), y: height - bottom + 17, "text-anchor": anchor }, text);
    }
    add("text", { x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle" }, x.label);
    for (const mark of marks) {
      const at = down(mark.y);
      add("line", { class: "mark", x1: left, x2: width - right, y1: at, y2: at });
      add("text", { class: "halo", x: width - right, y: at - 5, "text-anchor": "end" }, mark.name);
    }
    for (const { points, colour } of series) {
      const line = points.map(([a, b]) => `${across(a).toFixed(1)},${down(b).toFixed(1)}`);
      add("polyline", { points: line.join(" "), stroke: colour });
      if (points.length === 1) add("circle", { cx: across(points[0][0]), cy: down(points[0][1]), r: 3, fill: colour });
    }
    const focus = cursor < 0 ? chart.now : xs[cursor];
    const values = series.map(({ points }) =>
      focus === undefined ? points.at(-1) : points[nearest(points.map(([a]) => a), focus)]);
    if (focus !== undefined) {
      add("line", { class: "cursor", x1: across(focus), x2: across(focus), y1: top, y2: height - bottom });
      values.forEach(([a, b], k) =>
        add("circle", { cx: across(a), cy: down(b), r: 4.5, fill: series[k].colour }));
    }
    picture.replaceChildren(...parts);

    const last = focus ?? xs.at(-1);
    const texts = series.map(({ name }, k) => `${name} ${show(y, values[k][1])}`);
    legend.replaceChildren(`${x.label} ${show(x, last)}`, ...series.map(({ colour }, k) => {
      const entry = document.createElement("span");
      entry.textContent = texts[k];
      entry.style.setProperty("--colour", colour);
      return entry;
    }));
    const valuetext = `${x.label} ${show(x, last)}: ${texts.join(", ")}`;
    set(picture, {
      viewBox: `0 0 ${width} ${height}`,
      "aria-label": chart.label,
      "aria-valuemin": x.low,
      "aria-valuemax": x.high,
      "aria-valuenow": last,
      "aria-valuetext": valuetext,
    });
  }

  function move(to) {
    cursor = to;
    draw();
  }
  for (const name of ["pointerdown", "pointermove"]) {
    picture.addEventListener(name, (event) => {
      const box = picture.getBoundingClientRect();
      move(nearest(xs.map(scale(chart.x, left, box.width - right)), event.clientX - box.left));
    });
  }
  picture.addEventListener("pointerleave", ({ pointerType }) => { // a finger leaves at the end of a tap
    if (pointerType === "mouse" && document.activeElement !== picture) move(-1);
  });
  for (const name of ["blur", "pointercancel"]) picture.addEventListener(name, () => move(-1)); // or a finger scrolls
  picture.addEventListener("keydown", (event) => {
    const here = cursor < 0 ? nearest(xs, chart.now ?? xs.at(-1)) : cursor;
    const far = Math.max(1, Math.round(xs.length / 10));
    const to = {
      ArrowLeft: here - 1, ArrowDown: here - 1, ArrowRight: here + 1, ArrowUp: here + 1,
      PageDown: here - far, PageUp: here + far, Home: 0, End: xs.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    move(Math.min(xs.length - 1, Math.max(0, to)));
  });
  new ResizeObserver(draw).observe(host);
  return (next) => {
    chart = next;
    xs = chart.series.map(({ points }) => points.map(([a]) => a)).reduce((a, b) => (b.length > a.length ? b : a));
    cursor = Math.min(cursor, xs.length - 1);
    draw();
  };
}
