// Gradient descent of one neuron from any point, under both losses at once.
{
  const { extent, tolerance, steps, target: quoted } = data.surfaces;
  const form = document.getElementById("descent");
  const { weight, bias, target, rate, progress } = form.elements;
  const play = document.getElementById("descend");
  const arrival = document.getElementById("arrival");
  const drawChart = makeChart(document.getElementById("descent-chart"));
  const LOSSES = {
    ce: { name: "Cross-entropy", colour: "--ce" },
    l2: { name: "L2", colour: "--l2" },
  };
  /** z after 0, 1, … steps under each loss. @type {Record<string, number[]>} */
  let paths = {};
  const stepsOf = (count) => `${count.toLocaleString("en")} ${count === 1 ? "step" : "steps"}`;
  const lr = () => Number((10 ** rate.value).toPrecision(3));
  const longest = () => Math.max(...Object.values(paths).map((path) => path.length - 1));
  /** The progress slider counts steps on a logarithmic scale. */
  const shownSteps = () => Math.round(Math.expm1(progress.value * Math.log1p(longest())));
  const arrived = (z) => Math.abs(sigmoid(z) - Number(target.value)) <= tolerance;

  /** The polyline of a path up to a step: (w, b) close enough to lie on the surface, and which are steps. */
  function tracePath(path, count) {
    const [w, b] = [Number(weight.value), Number(bias.value)];
    const points = [[w, b]];
    const stops = [];
    let last = path[0];
    for (let k = 1; k <= count; k += 1) {
      if (k < count && Math.abs(path[k] - last) < extent / 50) continue; // too close to tell apart
      const parts = Math.min(40, Math.ceil((Math.abs(path[k] - last) * 10) / extent));
      for (let part = 1; part <= parts; part += 1) {
        const moved = (last + ((path[k] - last) * part) / parts - path[0]) / 2;
        points.push([w + moved, b + moved]);
      }
      stops.push(points.length - 1);
      last = path[k];
    }
    return { points, stops };
  }

  /** Show both descents after the chosen number of steps. */
  function showProgress() {
    const shown = shownSteps();
    scene.paths = { sigmoid: [] };
    for (const [loss, { name, colour }] of Object.entries(LOSSES)) {
      const path = paths[loss];
      const count = Math.min(shown, path.length - 1);
      const line = { ...tracePath(path, count), colour, label: stepsOf(count) };
      scene.paths[loss] = scene.paths[`${loss}_grad`] = [line];
      scene.paths.sigmoid.push({ ...line, label: "" });
      const z = path[count];
      const row = document.querySelector(`tr[data-loss=${loss}]`);
      const state = arrived(z) ? " ✓" : "";
      const value = FIELDS[loss](z, Number(target.value));
      const cells = [name, count.toLocaleString("en") + state, sigmoid(z).toFixed(4), value.toFixed(4)];
      [...row.cells].forEach((cell, k) => (cell.textContent = cells[k]));
    }
    progress.setAttribute("aria-valuetext", stepsOf(shown));
    document.getElementById("progress-value").textContent = shown.toLocaleString("en");
    drawPaths();
    const logarithmic = (path) => {
      const last = path.length - 1;
      const chosen = Array.from({ length: 201 }, (_, k) => Math.round(last ** (k / 200)));
      return [...new Set(chosen)].filter((k) => k <= last && k > 0).map((k) => [k, sigmoid(path[k])]);
    };
    drawChart({
      label: "Output ŷ against the gradient step, for both losses",
      x: { label: "step", low: 1, high: Math.max(10, longest()), log: true, format: (k) => k.toLocaleString("en") },
      y: { label: "output ŷ", low: 0, high: 1, format: (value) => value.toFixed(4) },
      marks: [{ y: Number(target.value), name: "target" }],
      series: Object.entries(LOSSES).map(([loss, { name, colour }]) => ({
        name: `${name} ŷ`,
        colour: `var(${colour})`,
        points: paths[loss].length > 1 ? logarithmic(paths[loss]) : [[1, sigmoid(paths[loss][0])]],
      })),
      now: progress.value < 1 && shown > 0 ? shown : undefined,
    });
  }

  /** Descend from the chosen point and show where both losses arrive. */
  function restart() {
    stop();
    scene.target = Number(target.value);
    scene.sameScale = form.elements["same-scale"].checked;
    const settings = { target: scene.target, lr: lr(), tolerance, steps };
    const ends = Object.entries(LOSSES).map(([loss, { name }]) => {
      paths[loss] = descend(loss, Number(weight.value) + Number(bias.value), settings);
      const taken = stepsOf(paths[loss].length - 1);
      return arrived(paths[loss].at(-1)) ? `${name} arrives after ${taken}` : `${name} is not there after ${taken}`;
    });
    arrival.textContent = `${ends.join("; ")}.`;
    for (const [input, text] of [
      [weight, round(Number(weight.value))],
      [bias, round(Number(bias.value))],
      [target, round(scene.target)],
      [rate, round(lr())],
    ]) {
      document.getElementById(`${input.name}-value`).textContent = text;
      input.setAttribute("aria-valuetext", text);
    }
    progress.value = 1;
    drawSurfaces();
    showProgress();
  }

  let playing = 0;
  function stop() {
    cancelAnimationFrame(playing);
    playing = 0;
    play.textContent = "Play";
  }
  play.addEventListener("click", () => {
    if (playing) return stop();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const from = Number(progress.value) < 1 ? Number(progress.value) : 0;
    const began = performance.now();
    play.textContent = "Pause";
    const frame = (now) => {
      progress.value = still ? 1 : Math.min(1, from + Math.max(0, now - began) / 6000);
      showProgress();
      if (Number(progress.value) < 1) playing = requestAnimationFrame(frame);
      else stop();
    };
    playing = requestAnimationFrame(frame);
  });
  progress.addEventListener("input", (event) => {
    event.stopPropagation();
    stop();
    showProgress();
  });
  form.addEventListener("input", restart);
  form.addEventListener("reset", () => setTimeout(restart)); // the fields change after the event
  scene.pick = (w, b) => {
    weight.value = w;
    bias.value = b;
    restart();
  };
  target.value = quoted;
  restart();
}
