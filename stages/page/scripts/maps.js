// The feature maps of the current image, and how one of their pixels is computed.
{
  const find = (id) => document.getElementById(id);
  const [figure, grid, inputMap, outputMap] = ["maps", "grid", "input-map", "output-map"].map(find);
  const [layer, channel, row, column, part] = ["layer", "channel", "row", "column", "part"].map(find);
  let outputs = null; // of the current image
  const number = (value) => String(Number(value.toPrecision(3))).replace("-", "−");

  const short = (value) => value.toFixed(2).replace("-0.00", "0.00").replace("-", "−").replace(/^(−?)0\./, "$1.");

  const palettes = Object.fromEntries(
    Object.entries(data.surfaces.colours).map(([name, colours]) => [
      name,
      colours.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16))),
    ]),
  );

  /** Colour of a value: viridis, or blue to red if some values are negative. */
  function makeShade(values, signed = values.some((value) => value < 0)) {
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
    const colours = palettes[signed ? "coolwarm" : "viridis"];
    return (value) => {
      const fraction = signed ? (value / largest + 1) / 2 : value / largest;
      return colours[Math.round(fraction * (colours.length - 1))];
    };
  }

  const tile = document.createElement("canvas"); // one map at its original size
  function paintMap(pen, values, size, c, shade, x, y, side) {
    tile.width = tile.height = size;
    const image = new ImageData(size, size);
    for (let k = 0; k < size * size; k += 1) {
      image.data.set([...shade(values[c * size * size + k]), 255], 4 * k);
    }
    tile.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(tile, x, y, side, side);
  }

  const columnsOf = (channels) => Math.min(channels, grid.clientWidth < 600 ? 8 : 16);

  /** Draw all maps of the layer. */
  function paintGrid(shade) {
    const { channels, size } = mapShape(layer.value);
    const columns = columnsOf(channels);
    const ratio = window.devicePixelRatio;
    const cell = Math.min(grid.clientWidth / columns, size === 1 ? 40 : 140);
    grid.style.height = `${Math.ceil(channels / columns) * cell}px`;
    grid.width = grid.clientWidth * ratio;
    grid.height = Math.ceil(channels / columns) * cell * ratio;
    const pen = grid.getContext("2d");
    pen.scale(ratio, ratio);
    for (let c = 0; c < channels; c += 1) {
      const [x, y] = [(c % columns) * cell, Math.floor(c / columns) * cell];
      paintMap(pen, outputs[layer.value], size, c, shade, x + 1.5, y + 1.5, cell - 3);
      if (c !== Number(channel.value)) continue;
      pen.strokeStyle = getComputedStyle(figure).getPropertyValue("--accent");
      pen.lineWidth = 3;
      pen.strokeRect(x + 1, y + 1, cell - 2, cell - 2);
    }
    grid.cell = cell;
  }

  /** Draw one enlarged map with a box around some of its pixels. */
  function paintLarge(canvas, values, size, c, shade, box) {
    const side = canvas.width / size;
    const pen = canvas.getContext("2d");
    paintMap(pen, values, size, c, shade, 0, 0, canvas.width);
    pen.lineWidth = 8;
    for (const colour of ["#ffffff", "#d0006f"]) {
      pen.strokeStyle = colour;
      pen.strokeRect(box.x * side, box.y * side, box.side * side, box.side * side);
      pen.lineWidth = 4;
    }
  }

  /** A square table of numbers, coloured by value. */
  function fillTable(id, values, shade) {
    const side = Math.sqrt(values.length);
    const rows = Array.from({ length: side }, (_, y) => {
      const line = document.createElement("tr");
      for (const value of values.slice(y * side, (y + 1) * side)) {
        const cell = line.insertCell();
        cell.textContent = short(value);
        cell.style.setProperty("--shade", `rgb(${shade(value)})`);
      }
      return line;
    });
    find(id).replaceChildren(...rows);
  }

  const keepInside = (field, most) => {
    field.max = most;
    field.value = Math.min(Math.max(Math.trunc(field.value) || 0, 0), most);
    return Number(field.value);
  };

  function update() {
    const name = layer.value;
    const { channels, size } = mapShape(name);
    const c = keepInside(channel, channels - 1);
    const [y, x] = [keepInside(row, size - 1), keepInside(column, size - 1)];
    const shade = makeShade(outputs[name]);
    paintGrid(shade);
    find("map-shape").textContent = size > 1 ? `${channels} × ${size} × ${size}` : `${channels}`;
    const { source, top, left, side, parts, sum, bias, rectified, value } = explain(outputs, name, c, y, x);
    const shown = parts[keepInside(part, parts.length - 1)];
    const from = makeShade(outputs[source]);
    const inner = mapShape(source);
    const isVector = inner.size === 1;
    inputMap.closest(".pixel").hidden = isVector;
    part.closest("label").hidden = parts.length === 1 || isVector;
    for (const field of [row, column]) field.closest("label").hidden = size === 1;
    paintLarge(inputMap, outputs[source], inner.size, shown.channel, from, { x: left, y: top, side });
    paintLarge(outputMap, outputs[name], size, c, shade, { x, y, side: 1 });
    find("input-name").textContent = inner.channels > 1 ? `${source}, channel ${shown.channel}` : source;
    find("output-name").textContent = `${name}, channel ${c}`;
    fillTable("patch", shown.patch, from);
    fillTable("kernel", shown.kernel, makeShade(shown.kernel, true));
    const steps = isVector ? [`Σ input × weight over ${parts.length} inputs = ${number(sum)}`] : [`Σ patch × kernel = ${number(shown.sum)}`];
    if (parts.length > 1 && !isVector) steps.push(`over all ${parts.length} input channels ${number(sum)}`);
    if (bias !== null) steps.push(`plus bias ${number(bias)} = ${number(sum + bias)}`);
    if (rectified) steps.push(`ReLU → ${number(value)}`);
    if (name === "linear2") {
      steps.push(`softmax over all classes → ${data.network.classes[c]}: ${(100 * outputs.probabilities[c]).toFixed(1)}%`);
    }
    find("steps").textContent = steps.join("; ");
  }

  /** Select the layer's largest value. */
  function selectLargest() {
    const { size } = mapShape(layer.value);
    const values = outputs[layer.value];
    const k = values.indexOf(values.reduce((one, other) => Math.max(one, other)));
    channel.value = Math.floor(k / (size * size));
    row.value = Math.floor(k / size) % size;
    column.value = k % size;
    const { parts } = explain(outputs, layer.value, Number(channel.value), Number(row.value), Number(column.value));
    part.value = parts.reduce((best, { sum }, at) => (sum > parts[best].sum ? at : best), 0);
    update();
  }

  let near = false;
  let stale = true;
  new IntersectionObserver(([entry]) => {
    near = entry.isIntersecting;
    if (near && stale) refresh();
  }, { rootMargin: "50%" }).observe(figure);
  function refresh() {
    stale = !near;
    if (near) update();
  }
  document.addEventListener("classified", ({ detail }) => {
    const first = !outputs;
    outputs = detail;
    if (first) selectLargest();
    else refresh();
  });
  window.addEventListener("resize", refresh);
  darkMode.addEventListener("change", refresh);
  for (const field of [channel, row, column, part]) field.addEventListener("input", update);
  layer.addEventListener("change", selectLargest);
  for (const link of document.querySelectorAll("a[data-layer]")) {
    link.addEventListener("click", () => {
      layer.value = link.dataset.layer;
      selectLargest();
    });
  }
  grid.addEventListener("click", (event) => {
    const { channels, size } = mapShape(layer.value);
    const [u, v] = [event.offsetX / grid.cell, event.offsetY / grid.cell];
    const columns = columnsOf(channels);
    if (u >= columns || Math.floor(v) * columns + Math.floor(u) >= channels) return;
    channel.value = Math.floor(v) * columns + Math.floor(u);
    [row.value, column.value] = [Math.floor((v % 1) * size), Math.floor((u % 1) * size)];
    update();
  });
  outputMap.addEventListener("click", (event) => {
    const { size } = mapShape(layer.value);
    row.value = Math.floor((event.offsetY / outputMap.clientHeight) * size);
    column.value = Math.floor((event.offsetX / outputMap.clientWidth) * size);
    update();
  });
}
