// Planes coloured by a network's output, with the line where the output is ½.

/**
 * The line where a field sampled on an n × n grid is zero, as segments, by marching squares.
 * @param {Float64Array} values row by row; sample (i, j) lies at ((i + ½) / n, (j + ½) / n)
 * @returns {[[number, number], [number, number]][]} ends within the unit square
 */
function traceZero(values, n) {
  const segments = [];
  for (let j = 0; j + 1 < n; j += 1) {
    for (let i = 0; i + 1 < n; i += 1) {
      const above = [0, 1, n, n + 1].filter((k) => values[j * n + i + k] > 0).length;
      if (above % 4 === 0) continue; // all corners on one side
      const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
      const crossings = corners.flatMap(([x0, y0], k) => {
        const [x1, y1] = corners[(k + 1) % 4];
        const [a, b] = [values[y0 * n + x0], values[y1 * n + x1]];
        if (a > 0 === b > 0) return [];
        const t = a / (a - b);
        return [[(x0 + t * (x1 - x0) + 0.5) / n, (y0 + t * (y1 - y0) + 0.5) / n]];
      });
      for (let k = 0; k < crossings.length; k += 2) segments.push([crossings[k], crossings[k + 1]]);
    }
  }
  return segments;
}

const shades = document.createElement("canvas");

/**
 * Draw the square from (low, low) to (high, high): σ(logit) as colour, the line where it is ½, and
 * XOR's four points. With `axes`, the points and axes are labelled.
 * @param {HTMLCanvasElement} canvas
 * @param {{low: number, high: number, logit: (x: number, y: number) => number, points: [number, number][], axes?: [string, string]}} plane
 */
function drawPlane(canvas, { low, high, logit, points, axes }) {
  const [size, ratio] = [canvas.clientWidth, window.devicePixelRatio];
  if (!size) return;
  const pixels = Math.round(size * ratio);
  if (canvas.width !== pixels) canvas.width = canvas.height = pixels;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, size, size);
  const look = getComputedStyle(canvas);
  const [zero, one, ink, card] = ["--zero", "--one", "--ink", "--card"].map((name) => look.getPropertyValue(name));
  const [left, top] = axes ? [26, 6] : [0, 0];
  const side = size - left - top;
  const across = (x) => left + ((x - low) / (high - low)) * side;
  const down = (y) => top + ((high - y) / (high - low)) * side;

  const n = axes ? 64 : 14;
  shades.width = shades.height = n;
  const image = new ImageData(n, n);
  const rgb = [zero, one].map((hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16)));
  const values = new Float64Array(n * n);
  const at = (index) => low + ((index + 0.5) / n) * (high - low);
  for (let k = 0; k < n * n; k += 1) {
    values[k] = logit(at(k % n), at(n - 1 - Math.floor(k / n)));
    const output = sigmoid(values[k]);
    const colour = rgb[values[k] > 0 ? 1 : 0];
    for (let c = 0; c < 3; c += 1) image.data[4 * k + c] = colour[c];
    image.data[4 * k + 3] = 30 + 220 * Math.abs(output - 0.5); // opacity grows with confidence
  }
  shades.getContext("2d").putImageData(image, 0, 0);
  pen.drawImage(shades, left, top, side, side);
  pen.strokeStyle = ink;
  pen.lineWidth = axes ? 2 : 1;
  pen.beginPath();
  for (const ends of traceZero(values, n)) {
    const [[x0, y0], [x1, y1]] = ends.map(([x, y]) => [left + x * side, top + y * side]);
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
  }
  pen.stroke();

  const radius = axes ? 7 : Math.max(2.5, size / 18);
  const places = points.map(([x, y]) => [across(x), down(y)]);
  places.forEach(([x, y], k) => {
    const above = places.slice(k + 1).filter(([u, v]) => Math.hypot(u - x, v - y) < radius / 2).length;
    const shown = radius * (1 + 0.4 * above); // coinciding points are all visible
    pen.beginPath();
    if (XOR_TARGETS[k]) pen.rect(x - shown * 0.9, y - shown * 0.9, shown * 1.8, shown * 1.8);
    else pen.arc(x, y, shown, 0, 7);
    pen.fillStyle = XOR_TARGETS[k] ? one : zero;
    pen.strokeStyle = "#000000"; // light rims would have little contrast with orange
    pen.lineWidth = axes ? 1.5 : 0.8;
    pen.fill();
    pen.stroke();
  });
  if (!axes) return;

  pen.font = `${size < 220 ? 11 : 12}px ${look.fontFamily}`;
  pen.lineJoin = "round";
  pen.textBaseline = "middle";
  const write = (text, x, y, align, halo) => {
    pen.textAlign = align;
    pen.strokeStyle = card;
    pen.lineWidth = 4;
    if (halo) pen.strokeText(text, x, y);
    pen.fillStyle = halo ? ink : look.color;
    pen.fillText(text, x, y);
  };
  const labels = []; // each above or below its point, wherever it fits
  const neighbours = places.map(([px, py]) => places.map(([x, y]) => Math.hypot(x - px, y - py) < 22));
  const long = (k) => neighbours[k].filter(Boolean).length;
  for (const k of [...places.keys()].toSorted((a, b) => long(b) - long(a))) {
    const [[px, py], near] = [places[k], neighbours[k]];
    if (near.indexOf(true) < k) continue; // shares the label of a point at the same position
    const text = XOR_INPUTS.filter((_, other) => near[other]).map(([a, b]) => `(${a}, ${b})`).join(" ");
    const half = pen.measureText(text).width / 2;
    const x = Math.min(left + side - half - 4, Math.max(left + half + 4, px));
    const isFree = (y) =>
      y > top + 8 && y < top + side - 8 &&
      labels.every((other) => Math.abs(other.x - x) > other.half + half + 4 || Math.abs(other.y - y) > 15);
    const y = [-18, 18, -34, 34].map((shift) => py + shift).find(isFree) ?? py - 18;
    labels.push({ x, y, half });
    write(text, x, y, "center", true);
  }
  const ticks = niceTicks(low, high, 3);
  const between = (ticks[0] + ticks[1]) / 2;
  for (const tick of ticks) {
    write(round(tick), across(tick), top + side + 10, "center");
    write(round(tick), left - 5, down(tick), "right");
  }
  write(axes[0], across(between), top + side + 10, "center");
  pen.translate(left - 14, down(between));
  pen.rotate(-Math.PI / 2);
  write(axes[1], 0, 0, "center");
}
