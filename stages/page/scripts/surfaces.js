// All surfaces: rotation, selection of a point, and descent paths.

/**
 * The state shown on all surfaces, set in descent.js. `paths` holds, per field, lines of (w, b) with a colour and a label.
 * @type {{target: number, sameScale: boolean, pick: (w: number, b: number) => void,
 *   paths: Record<string, {colour: string, points: [number, number][], stops: number[], label: string}[]>}}
 */
const scene = {};

/** A point of a path: a disc with a rim. @param {CanvasRenderingContext2D} pen */
function markPoint(pen, [x, y], radius, fill, rim) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 7);
  pen.fillStyle = fill;
  pen.strokeStyle = rim;
  pen.lineWidth = 1.4;
  pen.fill();
  pen.stroke();
}

/** Draw a path with a dot for each step far enough from the previous dot; hidden parts are faint. */
function drawPath(pen, { project, isHidden, font }, { points, stops, label }, { fill, ink, card }, width) {
  const isInside = (point) => Math.max(...point.map(Math.abs)) <= data.surfaces.extent * 1.001;
  const line = points.map((point) => ({ at: project(point), alpha: !isInside(point) ? 0 : isHidden(point) ? 0.25 : 1 }));
  for (const [colour, thickness] of [[card, 5], [fill, 2.5]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = thickness;
    for (let k = 1; k < line.length; k += 1) {
      if (!line[k - 1].alpha || !line[k].alpha) continue;
      pen.globalAlpha = line[k].alpha;
      pen.beginPath();
      pen.moveTo(...line[k - 1].at);
      pen.lineTo(...line[k].at);
      pen.stroke();
    }
  }
  let last = [-99, -99];
  for (const { at, alpha } of stops.map((k) => line[k])) {
    if (!alpha || Math.hypot(at[0] - last[0], at[1] - last[1]) < 6) continue;
    pen.globalAlpha = alpha;
    markPoint(pen, at, 3, fill, card);
    last = at;
  }
  pen.globalAlpha = 1;
  markPoint(pen, line[0].at, 4, card, fill);
  if (!line.at(-1).alpha) return; // the path ends outside the surface
  const [x, y] = line.at(-1).at;
  markPoint(pen, [x, y], 5, fill, card);
  pen.font = `600 ${font}`;
  pen.textBaseline = "bottom";
  pen.textAlign = x > width * 0.7 ? "right" : x < width * 0.3 ? "left" : "center";
  pen.strokeStyle = card;
  pen.lineWidth = 4;
  pen.lineJoin = "round";
  pen.strokeText(label, x, y - 7);
  pen.fillStyle = ink;
  pen.fillText(label, x, y - 7);
}

/** Weight and bias at a point of the canvas, on the nearest face; null if there is none. */
function findPoint(faces, x, y) {
  for (const { face } of faces.toReversed()) {
    const [[x0, y0], [x1, y1], [x2, y2]] = face.map(({ at }) => at);
    const area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0);
    const s = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area;
    const t = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area;
    if (s < 0 || t < 0 || s + t > 1) continue;
    const mix = (name) => face[0][name] * (1 - s - t) + face[1][name] * s + face[2][name] * t;
    return [data.surfaces.extent * mix("w"), data.surfaces.extent * mix("b")];
  }
  return null;
}

/** Redraw all surfaces in the next frame, or only their paths if nothing else changed. */
let drawSurfaces;
let drawPaths;
{
  const [turn, tilt] = ["turn", "tilt"].map((id) => document.getElementById(id));
  const visible = new Set(); // canvases on the screen or next to it
  const drawn = new Map(); // canvas to the result of drawSurface

  /** Draw a surface with its paths. */
  function showPaths(canvas) {
    const surface = drawn.get(canvas);
    if (!surface) return;
    const pen = canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(surface.picture, 0, 0);
    pen.scale(surface.ratio, surface.ratio);
    const style = getComputedStyle(canvas);
    const [ink, card] = ["--ink", "--card"].map((name) => style.getPropertyValue(name));
    for (const path of scene.paths[canvas.dataset.field] ?? []) {
      const fill = style.getPropertyValue(path.colour);
      drawPath(pen, surface, path, { fill, ink, card }, canvas.clientWidth);
    }
  }

  let from = null; // the pointer that turns a surface: its last position, the distance it has moved, and the view before
  let waiting = null; // for the next frame
  let slow = false; // whether the last full drawing took more than two frames
  const request = (all) => {
    if (waiting) waiting.all ||= all;
    else {
      waiting = { all };
      requestAnimationFrame((now) => {
        const coarse = slow && from?.moved >= 5; // fewer lines while a surface is turned
        const points = coarse ? Math.ceil(data.surfaces.points / 2) : data.surfaces.points;
        const view = { ...scene, turn: Number(turn.value), tilt: Number(tilt.value), points };
        if (waiting.all) for (const canvas of visible) drawn.set(canvas, drawSurface(canvas, view));
        if (waiting.all && !coarse) slow = performance.now() - now > 33;
        visible.forEach(showPaths);
        waiting = null;
        for (const input of [turn, tilt]) showValue(input, `${Math.round(input.value)}°`.replace("-", "−"));
      });
    }
  };
  drawSurfaces = () => request(true);
  drawPaths = () => request(false);

  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) visible[isIntersecting ? "add" : "delete"](target);
    drawSurfaces();
  }, { rootMargin: "100%" }); // one screen in advance
  for (const canvas of document.querySelectorAll("canvas[data-field]")) {
    watcher.observe(canvas);
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      from = { id: event.pointerId, x: event.clientX, y: event.clientY, moved: 0, view: [turn.value, tilt.value] };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (from?.id !== event.pointerId) return;
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      from = { ...from, x: event.clientX, y: event.clientY, moved: from.moved + Math.abs(dx) + Math.abs(dy) };
      if (from.moved < 5) return; // a click
      turn.value = ((Number(turn.value) - dx / 2 + 540) % 360) - 180;
      tilt.value = Number(tilt.value) + dy / 2; // the input clamps it to its range
      drawSurfaces();
    });
    canvas.addEventListener("pointercancel", () => { // the fingers scroll or zoom the page
      if (from) [turn.value, tilt.value] = from.view;
      from = null;
      drawSurfaces(); // with all lines
    });
    canvas.addEventListener("pointerup", (event) => {
      const isClick = from?.moved < 5;
      from = null;
      if (!isClick || !drawn.get(canvas)) return drawSurfaces();
      const box = canvas.getBoundingClientRect();
      const point = findPoint(drawn.get(canvas).faces, event.clientX - box.left, event.clientY - box.top);
      if (point) scene.pick(...point);
    });
  }
  for (const input of [turn, tilt]) input.addEventListener("input", drawSurfaces);
  window.addEventListener("resize", drawSurfaces);
  darkMode.addEventListener("change", drawSurfaces);
}
