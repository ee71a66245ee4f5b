// The rotatable surfaces of one neuron.
{
  const { surfaces } = data;
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
  window.addEventListener("resize", drawSurfaces);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSurfaces);
  drawSurfaces();
}
