// The rotatable surfaces of one neuron, with descent paths on them.

/** What the surfaces show. `paths` holds, per field, lines of (w, b) with a colour and a label. */
const scene = {
  target: data.surfaces.target,
  sameScale: false,
  /** @type {Record<string, {colour: string, points: [number, number][], stops: number[], label: string}[]>} */
  paths: {},
  /** @type {(w: number, b: number) => void} */
  pick() {},
};

/** Draw all surfaces in the next frame; or only their paths, where nothing else changed. */
let drawSurfaces;
let drawPaths;
{
  const { extent, points: n, colours } = data.surfaces;
  const canvases = [...document.querySelectorAll("canvas[data-field]")];
  const turn = document.getElementById("turn"); // degrees around the vertical axis
  const tilt = document.getElementById("tilt"); // degrees above the plane
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const COMPARED = { l2: "ce", ce: "l2", l2_grad: "ce_grad", ce_grad: "l2_grad" };
  const dot = (p, q) => p[0] * q[0] + p[1] * q[1] + p[2] * q[2];

  /** The camera's axes for the view at hand; a point p is seen at (p · right, p · up). */
  function camera() {
    const [a, e] = [turn, tilt].map((input) => (Number(input.value) * Math.PI) / 180);
    return {
      right: [-Math.sin(a), Math.cos(a), 0],
      up: [-Math.sin(e) * Math.cos(a), -Math.sin(e) * Math.sin(a), Math.cos(e)],
      toward: [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)],
    };
  }

  /** The range of a field's vertical axis, and a colour for each value. */
  function scaleOf(name) {
    const names = scene.sameScale && name in COMPARED ? [name, COMPARED[name]] : [name];
    const ranges = names.map((each) => findRange(each, 2 * extent, scene.target));
    const low = Math.min(...ranges.map((range) => range[0]));
    const high = Math.max(...ranges.map((range) => range[1]));
    const map = colours[name.endsWith("grad") ? "coolwarm" : "viridis"];
    const largest = Math.max(-low, high);
    const faint = dark.matches ? 0.22 : 0; // the darkest viridis vanishes on a dark page
    const shade = name.endsWith("grad")
      ? (value) => (value / largest + 1) / 2
      : (value) => faint + ((1 - faint) * (value - low)) / (high - low);
    const colour = (value) => map[Math.round(shade(value) * (map.length - 1))];
    return { low, high, colour };
  }

  /** Draw one field over weight and bias in its box, and keep the picture for drawPath. */
  function drawSurface(canvas) {
    const [width, height, ratio] = [canvas.clientWidth, canvas.clientHeight, window.devicePixelRatio || 1];
    if (!width) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const backdrop = document.createElement("canvas");
    backdrop.width = canvas.width;
    backdrop.height = canvas.height;
    const pen = backdrop.getContext("2d");
    pen.scale(ratio, ratio);
    const look = getComputedStyle(canvas);

    // The box: weight and bias from -1 to 1, the field from -0.6 to 0.6.
    const field = FIELDS[canvas.dataset.field];
    const { low, high, colour } = scaleOf(canvas.dataset.field);
    const { right, up, toward } = camera();
    const rise = Math.sqrt(2) * toward[2] + 0.6 * up[2]; // half of the box's height, as seen
    const scale = Math.min((width - 54) / 2.85, (height - 44) / (2.1 * rise));
    const see = (p) => {
      const near = 10 / (10 - dot(p, toward)); // a little perspective
      return [width / 2 + 12 + scale * near * dot(p, right), height / 2 - 6 - scale * near * dot(p, up)];
    };
    const tall = (value) => (1.2 * (value - low)) / (high - low) - 0.6;
    const draw = (...line) => {
      pen.beginPath();
      line.map(see).forEach(([x, y]) => pen.lineTo(x, y));
      pen.stroke();
    };

    // Floor, the two walls behind, and lines at the ticks of the vertical axis.
    const front = [Math.sign(toward[0]) || 1, Math.sign(toward[1]) || 1];
    const ticks = niceTicks(low, high).map((value) => ({ value, z: tall(value) }));
    pen.strokeStyle = look.getPropertyValue("--rule");
    for (const k of [-1, -0.5, 0, 0.5, 1]) {
      draw([k, -1, -0.6], [k, 1, -0.6]);
      draw([-1, k, -0.6], [1, k, -0.6]);
    }
    for (const { z } of ticks) draw([front[0], -front[1], z], [-front[0], -front[1], z], [-front[0], front[1], z]);

    // Each cell is two triangles, cut along a line of equal w + b: the ridges run that way.
    const axis = Array.from({ length: n }, (_, k) => (2 * k) / (n - 1) - 1);
    const values = Array.from({ length: 2 * n - 1 }, (_, k) => field(2 * extent * (k / (n - 1) - 1), scene.target));
    const corners = axis.map((w, i) => axis.map((b, j) => {
      const p = [w, b, tall(values[i + j])];
      return { w, b, depth: dot(p, toward), at: see(p) };
    }));
    const faces = [];
    for (let i = 0; i + 1 < n; i += 1) {
      for (let j = 0; j + 1 < n; j += 1) {
        for (const k of [0, 1]) {
          const face = [corners[i + k][j + k], corners[i + 1][j], corners[i][j + 1]];
          const mean = (values[i + j + 2 * k] + 2 * values[i + j + 1]) / 3;
          faces.push({ face, depth: face[0].depth + face[1].depth + face[2].depth, colour: colour(mean) });
        }
      }
    }
    faces.sort((one, other) => one.depth - other.depth); // the nearest is painted last
    pen.lineJoin = "round";
    pen.lineWidth = 0.8;
    for (const { face, colour } of faces) {
      pen.beginPath();
      for (const { at } of face) pen.lineTo(at[0], at[1]);
      pen.closePath();
      pen.fillStyle = pen.strokeStyle = colour; // the stroke closes the hairlines between faces
      pen.fill();
      pen.stroke();
    }

    // The vertical axis stands at the leftmost edge of the box.
    pen.font = `11px ${look.fontFamily}`;
    pen.fillStyle = pen.strokeStyle = look.color;
    pen.textBaseline = "middle";
    const edges = [[-1, -1], [-1, 1], [1, -1], [1, 1]];
    const edge = edges.reduce((best, each) => (dot([...each, 0], right) < dot([...best, 0], right) ? each : best));
    draw([...edge, -0.6], [...edge, 0.6]);
    pen.textAlign = "right";
    for (const { value, z } of ticks) {
      const [x, y] = see([...edge, z]);
      pen.fillRect(x - 4, y - 0.5, 4, 1);
      pen.fillText(round(value), x - 6, y);
    }

    // Weight and bias are named along the two edges of the floor that are nearest, outside of it.
    const [cx, cy] = see([0, 0, -0.6]);
    for (const [name, at] of [
      [width < 230 ? "w" : "weight w", (k) => [k, front[1], -0.6]],
      [width < 230 ? "b" : "bias b", (k) => [front[0], k, -0.6]],
    ]) {
      const [from, middle, to] = [-0.95, 0, 0.95].map((k) => see(at(k)));
      const away = Math.hypot(middle[0] - cx, middle[1] - cy) || 1;
      const [ox, oy] = [(middle[0] - cx) / away, (middle[1] - cy) / away + 0.7];
      const far = 13 / Math.hypot(ox, oy);
      pen.textAlign = Math.abs(ox) < 0.5 ? "center" : ox < 0 ? "right" : "left";
      const write = (text, [x, y]) => pen.fillText(text, x + far * ox, y + far * oy);
      const short = Math.hypot(to[0] - from[0], to[1] - from[1]) < 70; // no room for more than the name
      write(name, middle);
      if (!short) write(round(-extent), from);
      if (!short) write(round(extent), to);
    }

    const lift = (w, b) => [w / extent, b / extent, tall(field(w + b, scene.target))];
    /** Whether the surface itself hides one of its points: whether the line to the eye passes below it. */
    const hidden = (p) =>
      Array.from({ length: 24 }, (_, k) => 0.02 + 0.12 * k).some((far) => {
        const [w, b, z] = p.map((value, axis) => value + far * toward[axis]);
        return Math.max(Math.abs(w), Math.abs(b)) <= 1 && z < tall(field((w + b) * extent, scene.target)) - 0.02;
      });
    canvas.drawn = { backdrop, faces, see, lift, hidden, ratio, font: pen.font };
  }

  /** Show the picture of a surface with its paths: steps as dots, the last one with its label. */
  function drawPath(canvas) {
    if (!canvas.drawn) return;
    const { backdrop, see, lift, hidden, ratio, font } = canvas.drawn;
    const pen = canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(backdrop, 0, 0);
    pen.scale(ratio, ratio);
    const look = getComputedStyle(canvas);
    const [ink, card] = ["--ink", "--card"].map((name) => look.getPropertyValue(name));
    for (const { colour, points, stops, label } of scene.paths[canvas.dataset.field] ?? []) {
      const inside = points.filter((point) => Math.max(...point.map(Math.abs)) <= extent * 1.001);
      const line = inside.map((point) => lift(...point)).map((p) => ({ at: see(p), hidden: hidden(p) }));
      if (!line.length) continue;
      const fill = look.getPropertyValue(colour);
      for (const [style, thickness] of [[card, 5], [fill, 2.5]]) {
        pen.strokeStyle = style;
        pen.lineWidth = thickness;
        for (let k = 1; k < line.length; k += 1) {
          pen.globalAlpha = line[k].hidden ? 0.25 : 1;
          pen.beginPath();
          pen.moveTo(...line[k - 1].at);
          pen.lineTo(...line[k].at);
          pen.stroke();
        }
      }
      const mark = (at, radius, inner, outer = card) => {
        pen.beginPath();
        pen.arc(...at, radius, 0, 7);
        pen.fillStyle = inner;
        pen.strokeStyle = outer;
        pen.lineWidth = 1.4;
        pen.fill();
        pen.stroke();
      };
      let last = [-99, -99];
      for (const k of stops) {
        if (k >= line.length || Math.hypot(line[k].at[0] - last[0], line[k].at[1] - last[1]) < 6) continue;
        pen.globalAlpha = line[k].hidden ? 0.25 : 1;
        mark(line[k].at, 3, fill);
        last = line[k].at;
      }
      pen.globalAlpha = 1;
      mark(line[0].at, 4, card, fill);
      const [x, y] = line.at(-1).at;
      mark([x, y], 5, fill);
      pen.font = `600 ${font}`;
      pen.textBaseline = "bottom";
      pen.textAlign = x > canvas.clientWidth * 0.7 ? "right" : x < canvas.clientWidth * 0.3 ? "left" : "center";
      pen.strokeStyle = card;
      pen.lineWidth = 4;
      pen.lineJoin = "round";
      pen.strokeText(label, x, y - 7);
      pen.fillStyle = ink;
      pen.fillText(label, x, y - 7);
    }
  }

  // Only what is on the screen or next to it is drawn, and at most once a frame.
  const seen = new Set();
  let waiting = null;
  const request = (all) => {
    if (waiting) waiting.all ||= all;
    else {
      waiting = { all };
      requestAnimationFrame(() => {
        if (waiting.all) seen.forEach(drawSurface);
        seen.forEach(drawPath);
        waiting = null;
        for (const input of [turn, tilt]) {
          input.setAttribute("aria-valuetext", `${Math.round(input.value)} degrees`);
        }
      });
    }
  };
  drawSurfaces = () => request(true);
  drawPaths = () => request(false);
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) seen[isIntersecting ? "add" : "delete"](target);
    drawSurfaces();
  }, { rootMargin: "100%" }); // a screen ahead

  /** The weight and bias of the surface's nearest point under a place on the canvas, if there is one. */
  function findPoint(canvas, x, y) {
    for (const { face } of canvas.drawn.faces.toReversed()) {
      const [[x0, y0], [x1, y1], [x2, y2]] = face.map(({ at }) => at);
      const area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0);
      const s = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area;
      const t = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area;
      if (s >= 0 && t >= 0 && s + t <= 1) {
        const mix = (name) => face[0][name] * (1 - s - t) + face[1][name] * s + face[2][name] * t;
        return [extent * mix("w"), extent * mix("b")];
      }
    }
    return null;
  }

  let from = null; // where the pointer was, and how far it has come
  for (const canvas of canvases) {
    watcher.observe(canvas);
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      from = { x: event.clientX, y: event.clientY, moved: 0 };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from || !canvas.hasPointerCapture(event.pointerId)) return;
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      from = { x: event.clientX, y: event.clientY, moved: from.moved + Math.abs(dx) + Math.abs(dy) };
      if (from.moved < 5) return;
      turn.value = ((Number(turn.value) - dx / 2 + 540) % 360) - 180;
      tilt.value = Number(tilt.value) + dy / 2; // kept in its range
      drawSurfaces();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!from || from.moved >= 5) return;
      const box = canvas.getBoundingClientRect();
      const point = findPoint(canvas, event.clientX - box.left, event.clientY - box.top);
      if (point) scene.pick(...point);
    });
  }
  [turn, tilt].forEach((input) => input.addEventListener("input", drawSurfaces));
  window.addEventListener("resize", drawSurfaces);
  dark.addEventListener("change", drawSurfaces);
  drawSurfaces();
}
