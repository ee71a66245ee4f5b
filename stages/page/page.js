// What moves on the page: surfaces that can be turned, XOR's training as a film.
"use strict";

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const set = (element, attributes) =>
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
const round = (value) => String(Number(value.toFixed(4))).replace("-", "−");

// ---- Surfaces -------------------------------------------------------------------------------

const surfaces = read("surfaces-data");
const film = read("film-data");
document.documentElement.classList.replace("still", "live"); // all that can fail is read
const canvases = [...document.querySelectorAll("canvas[data-field]")];
const turn = document.getElementById("turn"); // degrees around the vertical axis
const tilt = document.getElementById("tilt"); // degrees above the plane

/** The camera's axes for the view at hand; a point p is seen at (p · right, p · up). */
function camera() {
  const [a, e] = [turn, tilt].map((input) => (Number(input.value) * Math.PI) / 180);
  return {
    right: [-Math.sin(a), Math.cos(a), 0],
    up: [-Math.sin(e) * Math.cos(a), -Math.sin(e) * Math.sin(a), Math.cos(e)],
    toward: [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)],
  };
}

const dot = (p, q) => p[0] * q[0] + p[1] * q[1] + p[2] * q[2];

/** Draw one field, (n, n) over weight and bias, with the floor under it and its two extremes. */
function drawSurface(canvas) {
  const name = canvas.dataset.field;
  const field = surfaces.fields[name];
  const n = field.length;
  const [low, high] = surfaces.extremes[name];
  const signed = name.endsWith("grad");
  const colours = surfaces.colours[signed ? "coolwarm" : "viridis"];
  const largest = Math.max(-low, high);
  const shade = (value) => (signed ? (value / largest + 1) / 2 : (value - low) / (high - low || 1));

  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width) return;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const look = getComputedStyle(canvas);

  // The box: weight and bias from -1 to 1, the field from -0.6 to 0.6.
  const { right, up, toward } = camera();
  const rise = Math.sqrt(2) * toward[2] + 0.6 * up[2]; // half of the box's height, as seen
  const scale = Math.min(width / 3.3, height / (2.3 * rise + 0.45));
  const see = (p) => {
    const near = 10 / (10 - dot(p, toward)); // a little perspective
    return [width / 2 + scale * near * dot(p, right), height / 2 - scale * near * dot(p, up)];
  };
  const extent = surfaces.axis.at(-1);
  const at = (k) => surfaces.axis[k] / extent;
  const tall = (value) => (1.2 * (value - low)) / (high - low || 1) - 0.6;
  const points = field.map((row, i) => row.map((value, j) => [at(i), at(j), tall(value)]));
  const trace = (corners) => {
    pen.beginPath();
    corners.map(see).forEach(([x, y]) => pen.lineTo(x, y));
  };

  pen.strokeStyle = look.getPropertyValue("--rule");
  for (const k of [-1, -0.5, 0, 0.5, 1]) {
    for (const line of [[[k, -1, -0.6], [k, 1, -0.6]], [[-1, k, -0.6], [1, k, -0.6]]]) {
      trace(line);
      pen.stroke();
    }
  }

  const faces = [];
  for (let i = 0; i + 1 < n; i += 1) {
    for (let j = 0; j + 1 < n; j += 1) {
      // Two triangles, cut along a line of equal w + b: the ridges run that way.
      for (const k of [0, 1]) {
        const at = [[i + k, j + k], [i + 1, j], [i, j + 1]];
        const corners = at.map(([a, b]) => points[a][b]);
        const mean = at.reduce((sum, [a, b]) => sum + field[a][b], 0) / 3;
        const depth = corners.reduce((sum, corner) => sum + dot(corner, toward), 0);
        faces.push({ corners, depth, colour: colours[Math.round(shade(mean) * (colours.length - 1))] });
      }
    }
  }
  faces.sort((one, other) => one.depth - other.depth); // the nearest is painted last
  pen.lineJoin = "round";
  pen.lineWidth = 0.8;
  for (const { corners, colour } of faces) {
    trace(corners);
    pen.closePath();
    pen.fillStyle = pen.strokeStyle = colour; // the stroke closes the hairlines between faces
    pen.fill();
    pen.stroke();
  }

  // The axes are named along the two edges of the floor that are nearest.
  pen.fillStyle = look.color;
  pen.font = `12px ${look.fontFamily}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  const front = [Math.sign(toward[0]) || 1, Math.sign(toward[1]) || 1];
  const write = (text, p) => pen.fillText(text, ...see(p));
  for (const k of [-1, 0, 1]) {
    const value = round(k * extent);
    write(k ? value : "weight w", [k * 0.95, front[1] * (k ? 1.16 : 1.3), -0.6]);
    write(k ? value : "bias b", [front[0] * (k ? 1.16 : 1.3), k * 0.95, -0.6]);
  }
  pen.textAlign = "left";
  pen.fillText(`${round(low)} to ${round(high)}`, 6, 12);
}

// Only what is on the screen or next to it is drawn, and at most once a frame.
const seen = new Set();
let waiting = false;
function drawSurfaces() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    seen.forEach(drawSurface);
    for (const input of [turn, tilt]) {
      input.setAttribute("aria-valuetext", `${Math.round(input.value)} degrees`);
    }
  });
}
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) seen[isIntersecting ? "add" : "delete"](target);
  drawSurfaces();
}, { rootMargin: "100%" }); // a screen ahead

let from = null; // where the pointer was, while it drags
for (const canvas of canvases) {
  watcher.observe(canvas);
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    from = [event.clientX, event.clientY];
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!from || !canvas.hasPointerCapture(event.pointerId)) return;
    const turned = Number(turn.value) - (event.clientX - from[0]) / 2;
    turn.value = ((turned + 540) % 360) - 180;
    tilt.value = Number(tilt.value) + (event.clientY - from[1]) / 2; // kept in its range
    from = [event.clientX, event.clientY];
    drawSurfaces();
  });
}
[turn, tilt].forEach((input) => input.addEventListener("input", drawSurfaces));

// ---- XOR ------------------------------------------------------------------------------------

const frame = document.getElementById("frame");
const play = document.getElementById("play");
const plane = document.getElementById("plane");
const curve = document.getElementById("curve");
const says = document.getElementById("says");
const answers = [0, 1, 1, 0]; // to (0, 0), (0, 1), (1, 0), (1, 1)

const highest = Math.max(...film.loss);
const lossAt = (loss) => 190 - (170 * loss) / highest;
const stepAt = (step) => 40 + (250 * step) / film.step.at(-1);

/** Show frame k: where the points are, on which side of the line, and how large the loss is. */
function showFrame(k) {
  const [v1, v2, c] = film.line[k];
  const length = Math.hypot(v1, v2) || 1;
  const [nx, ny] = [v1 / length, v2 / length];
  const [fx, fy] = [(-c * nx) / length, (-c * ny) / length]; // the line's point next to the origin
  const far = 9;
  const ends = [1, -1].map((way) => [fx - way * far * ny, fy + way * far * nx]);
  const side = (way) =>
    [...ends, ...[...ends].reverse().map(([x, y]) => [x + way * far * nx, y + way * far * ny])]
      .map(([x, y]) => `${x},${-y}`)
      .join(" ");
  set(plane.querySelector(".one"), { points: side(1) });
  set(plane.querySelector(".zero"), { points: side(-1) });
  const [[x1, y1], [x2, y2]] = ends;
  set(plane.querySelector(".line"), { x1, y1: -y1, x2, y2: -y2 });

  let right = 0;
  film.hidden[k].forEach(([x, y], p) => {
    right += v1 * x + v2 * y + c > 0 === (answers[p] === 1);
    set(plane.querySelectorAll(".point")[p], { transform: `translate(${x} ${-y})` });
    // Two points of a class can end in one place: the first is named beside it, the second above.
    const beside = p < 2;
    set(plane.querySelectorAll(".name")[p], {
      x: x + (beside ? (x > -0.6 ? -0.1 : 0.1) : 0),
      y: -y + (beside ? 0.03 : y > 0 ? 0.19 : -0.1),
      "text-anchor": beside ? (x > -0.6 ? "end" : "start") : "middle",
    });
  });
  set(curve.querySelector("circle"), { cx: stepAt(film.step[k]), cy: lossAt(film.loss[k]) });
  const text = `step ${film.step[k].toLocaleString("en")}: loss ${film.loss[k].toFixed(4)}, ${right} of 4 points right`;
  says.textContent = text;
  frame.setAttribute("aria-valuetext", text);
}

let timer = null;
function pause() {
  clearInterval(timer);
  timer = null;
  play.textContent = "Play";
  says.setAttribute("aria-live", "polite");
}
play.addEventListener("click", () => {
  if (timer) return pause();
  if (frame.value === frame.max) frame.value = 0;
  play.textContent = "Pause";
  says.setAttribute("aria-live", "off"); // a reader cannot keep up with the film
  timer = setInterval(() => {
    frame.value = Number(frame.value) + 1;
    showFrame(Number(frame.value));
    if (frame.value === frame.max) pause();
  }, 40);
});
frame.addEventListener("input", () => {
  pause();
  showFrame(Number(frame.value));
});

const path = film.loss.map((loss, k) => `${stepAt(film.step[k])},${lossAt(loss)}`);
set(curve.querySelector(".loss"), { points: path.join(" ") });
const floor = lossAt(4 * Math.log(2));
set(curve.querySelector(".floor"), { y1: floor, y2: floor });
set(curve.querySelector(".floor-name"), { y: floor - 5 });
showFrame(Number(frame.value));

// ---- The page -------------------------------------------------------------------------------

/** What is wider than the screen scrolls; by keyboard too, where it does. */
function reachScrollers() {
  for (const box of document.querySelectorAll(".scroll, math[display=block], pre")) {
    const wide = box.scrollWidth > box.clientWidth;
    const label = box.localName === "div" ? { role: "group", "aria-label": "Scrolls sideways" } : {};
    const reachable = { tabindex: 0, ...label };
    if (wide) set(box, reachable);
    else Object.keys(reachable).forEach((name) => box.removeAttribute(name));
  }
}
window.addEventListener("resize", reachScrollers);
document.querySelector("details").addEventListener("toggle", reachScrollers);
window.addEventListener("resize", drawSurfaces);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSurfaces);
reachScrollers();
drawSurfaces();
