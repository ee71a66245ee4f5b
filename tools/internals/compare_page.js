// Comparison of experiments: a sortable table, curves, parameters, and images with different predictions.
const LIMIT = 6; // coloured runs
const { runs, images, parameters, base } = data;
const percent = (value) => `${(100 * value).toFixed(2)}%`;
const colours = Array(LIMIT).fill(null); // run index per colour
const colourOf = (run) => (colours.includes(run) ? `var(--run${colours.indexOf(run)})` : "");
const redraws = [];

/** @param {string} name @param {Record<string, string | number>} [attributes] @param {string} [text] */
function createElement(name, attributes = {}, text = "") {
  const element = document.createElement(name);
  set(element, attributes);
  element.textContent = text;
  return element;
}

/** Add a checkbox and a colour per run, and a sort button per column. */
function makeTable() {
  const table = document.getElementById("runs");
  const body = table.tBodies[0];
  const boxes = [...body.rows].map((row, run) => {
    const label = createElement("label");
    const box = createElement("input", { type: "checkbox", autocomplete: "off" });
    label.append(box, createElement("span", { class: "swatch" }), runs[run].name);
    row.cells[0].replaceChildren(label);
    box.addEventListener("change", () => choose(run, box.checked));
    return box;
  });
  function choose(run, chosen) {
    colours[colours.indexOf(chosen ? null : run)] = chosen ? run : null;
    boxes.forEach((box, k) => {
      box.checked = colours.includes(k);
      box.disabled = !box.checked && !colours.includes(null);
      box.parentElement.style.setProperty("--colour", colourOf(k) || "transparent");
    });
    redraws.forEach((redraw) => redraw());
  }
  for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
    const button = createElement("button", { type: "button" }, head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const empty = (text) => ["", "None", "nan"].includes(text);
      const rows = [...body.rows].sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        if (empty(a) || empty(b)) return empty(a) - empty(b); // empty cells stay at the end
        const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
        return descending ? -order : order;
      });
      body.append(...rows);
    });
  }
  const first = [...new Set([base, ...runs.keys()])].slice(0, LIMIT);
  for (const run of first) choose(run, true);
}

/** Curves of the chosen runs. @param {string} id @param {"loss" | "accuracies"} values */
function drawCurves(id, values, axis) {
  const host = document.getElementById(id);
  const draw = makeChart(host);
  redraws.push(() => {
    const chosen = colours.filter((run) => run !== null);
    host.parentElement.hidden = !chosen.length;
    if (!chosen.length) return;
    const series = chosen.map((run) => ({
      name: runs[run].name,
      colour: colourOf(run),
      points: runs[run][values].map((value, k) => [runs[run].epochs[k], value]),
    }));
    const epochs = chosen.flatMap((run) => runs[run].epochs);
    const all = chosen.flatMap((run) => runs[run][values]);
    const x = { label: "epoch", low: 0.9, high: Math.max(2, ...epochs) };
    draw({ label: `${axis.label} by epoch`, x, y: { ...limits(all, axis.log), ...axis }, series });
  });
}

/** Accuracy of every run against one parameter. @param {string} name @param {unknown[]} values */
function makeScatter(name, values) {
  const host = document.getElementById("parameters").appendChild(createElement("figure"))
    .appendChild(createElement("div", { class: "chart-box" }));
  const legend = host.appendChild(createElement("p", { class: "legend" }));
  const picture = host.appendChild(createSvg("svg", { role: "slider", tabindex: 0, class: "chart" }));
  const [left, right, top, bottom, height] = [52, 24, 12, 40, 220];
  const numeric = values.every((value) => typeof value === "number");
  const kinds = [...new Set(values)].sort((a, b) => (numeric ? a - b : String(a).localeCompare(String(b))));
  const ordinal = !numeric || kinds.length <= 6; // few values are spaced evenly
  const log = !ordinal && kinds[0] > 0 && kinds.at(-1) / kinds[0] >= 100;
  const place = (value) => (ordinal ? kinds.indexOf(value) : log ? Math.log10(value) : value);
  const x = limits(values.map(place));
  const y = limits(runs.map(({ accuracy }) => accuracy));
  const order = [...runs.keys()].sort((a, b) => place(values[a]) - place(values[b]) || runs[a].accuracy - runs[b].accuracy);
  let cursor = -1; // index into order
  const across = (value, width) => left + ((place(value) - x.low) / (x.high - x.low)) * (width - left - right);
  const down = (value) => height - bottom - ((value - y.low) / (y.high - y.low)) * (height - bottom - top);
  /** All runs at the place of a run, which one point shows. */
  const describe = (run) => {
    const here = order.filter((k) => values[k] === values[run] && runs[k].accuracy === runs[run].accuracy);
    return `${here.map((k) => runs[k].name).join("; ")}: ${name} ${values[run]}, ${percent(runs[run].accuracy)}`;
  };

  function draw() {
    const { width } = picture.getBoundingClientRect();
    if (!width) return;
    const parts = [];
    const add = (...description) => parts.push(createSvg(...description));
    for (const tick of niceTicks(y.low, y.high)) {
      add("line", { class: "grid", x1: left, x2: width - right, y1: down(tick), y2: down(tick) });
      add("text", { x: left - 6, y: down(tick) + 4, "text-anchor": "end" }, `${round(100 * tick)}%`);
    }
    const powers = Array.from({ length: 40 }, (_, k) => 10 ** (k - 20));
    const numbers = log ? powers.filter((tick) => Math.log10(tick) >= x.low && Math.log10(tick) <= x.high) : niceTicks(x.low, x.high, 3);
    for (const tick of ordinal ? kinds : numbers) {
      const text = typeof tick === "number" ? String(Number(tick.toPrecision(6))) : String(tick ?? "none");
      add("text", { x: across(tick, width), y: height - bottom + 17, "text-anchor": "middle" }, text);
    }
    add("text", { x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle" }, name);
    const focus = order[cursor];
    for (const run of [...order].sort((a, b) => (a === focus) - (b === focus))) {
      const point = createSvg("circle", {
        class: `point${colourOf(run) && " chosen"}`, cx: across(values[run], width), cy: down(runs[run].accuracy), r: run === focus ? 7 : 4.5,
      });
      point.style.setProperty("--colour", colourOf(run));
      parts.push(point);
    }
    picture.replaceChildren(...parts);
    legend.textContent = focus === undefined ? `${runs.length} runs` : describe(focus);
    set(picture, {
      viewBox: `0 0 ${width} ${height}`, "aria-label": `Accuracy against ${name}`, "aria-valuemin": 1, "aria-valuemax": runs.length,
      "aria-valuenow": Math.max(cursor, 0) + 1, "aria-valuetext": legend.textContent,
    });
  }
  const move = (to) => {
    cursor = to;
    draw();
  };
  const follow = (event) => {
    const box = picture.getBoundingClientRect();
    const distance = (run) =>
      Math.hypot(across(values[run], box.width) + box.left - event.clientX, down(runs[run].accuracy) + box.top - event.clientY);
    move(order.reduce((best, run, k) => (distance(run) < distance(order[best]) ? k : best), 0));
  };
  for (const type of ["pointerdown", "pointermove"]) picture.addEventListener(type, follow);
  picture.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && move(-1));
  for (const name of ["blur", "pointercancel"]) picture.addEventListener(name, () => move(-1)); // or a finger scrolls
  picture.addEventListener("keydown", (event) => {
    const to = {
      ArrowLeft: cursor - 1, ArrowDown: cursor - 1, ArrowRight: cursor + 1, ArrowUp: cursor + 1,
      Home: 0, End: order.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    move(Math.min(order.length - 1, Math.max(0, to)));
  });
  new ResizeObserver(draw).observe(host);
  redraws.push(draw);
}

/** Test images on which the base and another run, or any two runs, disagree. */
function showImages() {
  const list = document.getElementById("images");
  if (!list) return;
  const select = document.getElementById("other");
  select.append(createElement("option", { value: -1 }, "any run"));
  runs.forEach(({ name }, run) => run !== base && select.append(createElement("option", { value: run }, name)));
  const draw = () => {
    const other = Number(select.value);
    const shown = images.filter(({ predicted }) =>
      other < 0 || (predicted[other] !== null && predicted[other] !== predicted[base]));
    list.replaceChildren(...shown.map(({ index, image, label, predicted }) => {
      const item = createElement("li");
      if (image) item.append(createElement("img", { src: image, alt: `Test image ${index}, label ${label}` }));
      item.append(createElement("span", {}, `label ${label}`), createElement("span", { class: "note" }, `test image ${index}`));
      const classes = new Map(); // predicted class to run names
      predicted.forEach((found, run) => {
        if (found !== null && (other < 0 || run === other || run === base)) classes.set(found, [...(classes.get(found) ?? []), runs[run].name]);
      });
      for (const [found, names] of [...classes].sort((one, two) => two[1].length - one[1].length)) {
        const entry = createElement(names.length > 2 ? "details" : "span", { class: "note" }, names.join(", "));
        const head = names.length > 2 ? createElement("summary", {}, `${found}: ${names.length} runs`) : `${found}: `;
        entry.prepend(head);
        item.append(entry);
      }
      return item;
    }));
    document.getElementById("count").textContent = `${shown.length} image${shown.length === 1 ? "" : "s"}`;
  };
  select.addEventListener("change", draw);
  draw();
}

drawCurves("loss", "loss", { label: "cross-entropy", log: true, format: (value) => value.toFixed(4) });
drawCurves("accuracy", "accuracies", { label: "accuracy", format: percent, tick: (value) => `${round(100 * value)}%` });
for (const [name, values] of Object.entries(parameters)) makeScatter(name, values);
makeTable();
showImages();
