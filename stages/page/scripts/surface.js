// One field of the neuron as a surface over weight and bias, drawn on a canvas.
// It lies in a box: weight and bias from -1 to 1, the field from -0.6 to 0.6.

const COMPARED = { l2: "ce", ce: "l2", l2_grad: "ce_grad", ce_grad: "l2_grad" };
const dot = (p, q) => p[0] * q[0] + p[1] * q[1] + p[2] * q[2];

/**
 * @typedef {{turn: number, tilt: number, target: number, sameScale: boolean, points: number}} View
 *   camera angles in degrees, target y, one vertical scale for both losses, lines along each axis
 * @typedef {{w: number, b: number, at: [number, number]}} Corner  in the box and in pixels
 */

/** The camera's axes. @param {View} view */
function makeCamera({ turn, tilt }) {
  const [a, e] = [turn, tilt].map((degrees) => (degrees * Math.PI) / 180);
  return {
    right: [-Math.sin(a), Math.cos(a), 0],
    up: [-Math.sin(e) * Math.cos(a), -Math.sin(e) * Math.sin(a), Math.cos(e)],
    toward: [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)],
  };
}

/** Return a function from a point of the box to pixels, with slight perspective. */
function makeProjection({ right, up, toward }, width, height) {
  const rise = Math.SQRT2 * toward[2] + 0.6 * up[2]; // half of the box's height on the screen
  const scale = Math.min((width - 54) / 2.85, (height - 44) / (2.1 * rise));
  return (p) => {
    const near = (10 * scale) / (10 - dot(p, toward));
    return [width / 2 + 12 + near * dot(p, right), height / 2 - 6 - near * dot(p, up)];
  };
}

/** A field's vertical axis: its range, height in the box and colour of a value. @param {View} view */
function makeScale(name, { target, sameScale }) {
  const names = sameScale && name in COMPARED ? [name, COMPARED[name]] : [name];
  const ranges = names.map((each) => findRange(each, 2 * data.surfaces.extent, target));
  const low = Math.min(...ranges.map((range) => range[0]));
  const high = Math.max(...ranges.map((range) => range[1]));
  const signed = name.endsWith("grad");
  const colours = data.surfaces.colours[signed ? "coolwarm" : "viridis"];
  const largest = Math.max(-low, high);
  const darkest = darkMode.matches ? 0.22 : 0; // the darkest viridis colours are invisible on a dark page
  const shade = (value) =>
    signed ? (value / largest + 1) / 2 : darkest + ((1 - darkest) * (value - low)) / (high - low);
  return {
    ticks: niceTicks(low, high),
    rise: (value) => (1.2 * (value - low)) / (high - low) - 0.6,
    colour: (value) => colours[Math.round(shade(value) * (colours.length - 1))],
  };
}

/** The surface as triangles, farthest first. Each has three corners and a colour. */
function makeFaces(field, { rise, colour }, project, toward, { target, points: n }) {
  const { extent } = data.surfaces;
  const axis = Array.from({ length: n }, (_, k) => (2 * k) / (n - 1) - 1);
  const values = Array.from({ length: 2 * n - 1 }, (_, k) => field(2 * extent * (k / (n - 1) - 1), target));
  const corners = axis.map((w, i) => axis.map((b, j) => {
    const p = [w, b, rise(values[i + j])];
    return { w, b, depth: dot(p, toward), at: project(p) };
  }));
  const faces = [];
  for (let i = 0; i + 1 < n; i += 1) {
    for (let j = 0; j + 1 < n; j += 1) {
      for (const k of [0, 1]) { // cells are cut along a line of equal w + b, the direction of the ridges
        const face = [corners[i + k][j + k], corners[i + 1][j], corners[i][j + 1]];
        const mean = (values[i + j + 2 * k] + 2 * values[i + j + 1]) / 3;
        faces.push({ face, depth: face[0].depth + face[1].depth + face[2].depth, colour: colour(mean) });
      }
    }
  }
  return faces.toSorted((one, other) => one.depth - other.depth);
}

/** @param {CanvasRenderingContext2D} pen */
function paintFaces(pen, faces) {
  pen.lineJoin = "round";
  pen.lineWidth = 0.8;
  for (const { face, colour } of faces) {
    pen.beginPath();
    for (const { at } of face) pen.lineTo(at[0], at[1]);
    pen.closePath();
    pen.fillStyle = pen.strokeStyle = colour; // the stroke covers hairline gaps between faces
    pen.fill();
    pen.stroke();
  }
}

/** @param {CanvasRenderingContext2D} pen @param {number[][]} points of the box */
function drawEdges(pen, project, points) {
  pen.beginPath();
  for (const [x, y] of points.map(project)) pen.lineTo(x, y);
  pen.stroke();
}

/** The floor, and lines at the ticks on the two walls behind. @param {CanvasRenderingContext2D} pen */
function drawWalls(pen, project, front, { ticks, rise }) {
  for (const k of [-1, -0.5, 0, 0.5, 1]) {
    drawEdges(pen, project, [[k, -1, -0.6], [k, 1, -0.6]]);
    drawEdges(pen, project, [[-1, k, -0.6], [1, k, -0.6]]);
  }
  for (const z of ticks.map(rise)) {
    drawEdges(pen, project, [[front[0], -front[1], z], [-front[0], -front[1], z], [-front[0], front[1], z]]);
  }
}

/** The vertical axis at the box's leftmost edge; names and limits of weight and bias. @param {CanvasRenderingContext2D} pen */
function drawAxes(pen, project, front, { ticks, rise }, right, width) {
  const { extent } = data.surfaces;
  const edges = [[-1, -1, 0], [-1, 1, 0], [1, -1, 0], [1, 1, 0]];
  const [w, b] = edges.reduce((best, edge) => (dot(edge, right) < dot(best, right) ? edge : best));
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  drawEdges(pen, project, [[w, b, -0.6], [w, b, 0.6]]);
  let last = Infinity;
  for (const value of ticks) {
    const [x, y] = project([w, b, rise(value)]);
    if (last - y < 10) continue; // the axis is too short when seen from above
    last = y;
    pen.fillRect(x - 4, y - 0.5, 4, 1);
    pen.fillText(round(value), x - 6, y);
  }

  pen.textAlign = "center";
  const [cx, cy] = project([0, 0, -0.6]);
  for (const [name, at] of [
    [width < 230 ? "w" : "weight w", (k) => [k, front[1], -0.6]],
    [width < 230 ? "b" : "bias b", (k) => [front[0], k, -0.6]],
  ]) {
    const [from, middle, to] = [-0.95, 0, 0.95].map((k) => project(at(k)));
    const away = Math.hypot(middle[0] - cx, middle[1] - cy);
    const [ox, oy] = [(middle[0] - cx) / away, (middle[1] - cy) / away + 0.7]; // outward, and below the edge
    const far = 13 / Math.hypot(ox, oy);
    const side = Math.abs(ox) < 0.5 ? 0 : Math.sign(ox);
    const write = (text, [x, y]) => {
      const half = pen.measureText(text).width / 2;
      const centre = x + far * ox + side * half;
      pen.fillText(text, Math.max(half, Math.min(width - half, centre)), y + far * oy);
    };
    write(name, middle);
    if (Math.hypot(to[0] - from[0], to[1] - from[1]) < 70) continue; // no room for the limits
    write(round(-extent), from);
    write(round(extent), to);
  }
}

/**
 * Draw a field over weight and bias. Returns null while the canvas is hidden, else the data for
 * paths and clicks: the picture, the faces, a projection of (w, b), and a test for hidden points.
 * @param {HTMLCanvasElement} canvas @param {View} view
 */
function drawSurface(canvas, view) {
  const [width, height, ratio] = [canvas.clientWidth, canvas.clientHeight, window.devicePixelRatio];
  if (!width) return null;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const picture = document.createElement("canvas");
  picture.width = canvas.width;
  picture.height = canvas.height;
  const pen = picture.getContext("2d");
  pen.scale(ratio, ratio);
  const style = getComputedStyle(canvas);

  const name = canvas.dataset.field;
  const { extent } = data.surfaces;
  const { right, up, toward } = makeCamera(view);
  const project = makeProjection({ right, up, toward }, width, height);
  const scale = makeScale(name, view);
  const front = [Math.sign(toward[0]) || 1, Math.sign(toward[1]) || 1];
  const faces = makeFaces(FIELDS[name], scale, project, toward, view);
  pen.strokeStyle = style.getPropertyValue("--rule");
  drawWalls(pen, project, front, scale);
  paintFaces(pen, faces);
  pen.font = `11px ${style.fontFamily}`;
  pen.fillStyle = pen.strokeStyle = style.color;
  drawAxes(pen, project, front, scale, right, width);

  const heightAt = (w, b) => scale.rise(FIELDS[name](w + b, view.target));
  const lift = ([w, b]) => [w / extent, b / extent, heightAt(w, b)];
  /** Whether the surface hides one of its points: the line of sight to the camera passes below it. */
  const isHidden = (point) =>
    Array.from({ length: 24 }, (_, k) => 0.02 + 0.12 * k).some((far) => {
      const [w, b, z] = lift(point).map((value, k) => value + far * toward[k]);
      return Math.max(Math.abs(w), Math.abs(b)) <= 1 && z < heightAt(w * extent, b * extent) - 0.02;
    });
  return { picture, faces, ratio, font: pen.font, project: (point) => project(lift(point)), isHidden };
}
