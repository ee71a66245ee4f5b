// Gradient descent of one neuron from any point, on both losses.

/**
 * A path on the surface up to a step, as a polyline, and the indices of its points that are steps.
 * Steps too short to see are skipped; long ones are subdivided, so the line lies on the surface. Of a
 * path that oscillates for many steps, only the beginning and the last step are drawn.
 * @param {number[]} path z after 0, 1, … steps @param {[number, number]} start weight and bias
 */
function tracePath(path, count, [w, b]) {
  const { extent } = data.surfaces;
  const points = [[w, b]];
  const stops = [];
  let last = path[0];
  for (let k = 1; k <= count; k += 1) {
    if (k < count && (points.length > 2000 || Math.abs(path[k] - last) < extent / 50)) continue;
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

/**
 * About 200 steps, evenly spaced on a logarithmic axis, each followed by the next one if that reverses
 * its direction. @param {number[]} path
 */
function sampleSteps(path) {
  const last = path.length - 1;
  const steps = Array.from({ length: 201 }, (_, k) => Math.round(last ** (k / 200)));
  const reverses = (k) => k > 0 && k < last && (path[k + 1] - path[k]) * (path[k] - path[k - 1]) < 0;
  return steps.flatMap((k) => (reverses(k) ? [k, k + 1] : [k]));
}

{
  const { tolerance, steps } = data.surfaces;
  const form = document.getElementById("descent");
  const { weight, bias, target, rate, progress } = form.elements;
  const arrival = document.getElementById("arrival");
  const drawChart = makeChart(document.getElementById("descent-chart"));
  const LOSSES = {
    ce: { name: "Cross-entropy", colour: "--ce" },
    l2: { name: "L2", colour: "--l2" },
  };
  /** z after 0, 1, … steps on each loss. @type {Record<string, number[]>} */
  const paths = {};
  const formatSteps = (count) => `${formatCount(count)} ${count === 1 ? "step" : "steps"}`;
  const lr = () => readRate(rate, data.surfaces.lr);
  const longest = () => Math.max(...Object.values(paths).map((path) => path.length - 1));
  /** The progress slider has a logarithmic scale of steps. */
  const shownSteps = () => Math.round(Math.expm1(progress.value * Math.log1p(longest())));
  const error = (z) => sigmoid(z) - Number(target.value);
  const hasConverged = (z) => Math.abs(error(z)) <= tolerance;
  const oscillates = (path) => path.length > 2 && error(path.at(-1)) * error(path.at(-2)) < 0;

  /** Show both descents after the chosen number of steps. */
  function showProgress() {
    const shown = shownSteps();
    const start = [Number(weight.value), Number(bias.value)];
    scene.paths = { sigmoid: [] };
    for (const [loss, { name, colour }] of Object.entries(LOSSES)) {
      const path = paths[loss];
      const count = Math.min(shown, path.length - 1);
      const line = { ...tracePath(path, count, start), colour, label: formatSteps(count) };
      scene.paths[loss] = scene.paths[`${loss}_grad`] = [line];
      scene.paths.sigmoid.push({ ...line, label: "" });
      const z = path[count];
      const state = hasConverged(z) ? "\u00a0✓" : count < steps ? "" : oscillates(path) ? "\u00a0✗ oscillates" : "\u00a0✗";
      const value = FIELDS[loss](z, Number(target.value));
      const cells = [name, formatCount(count) + state, sigmoid(z).toFixed(4), value.toFixed(4)];
      const { cells: row } = document.querySelector(`tr[data-loss=${loss}]`);
      cells.forEach((text, k) => (row[k].textContent = text));
    }
    showValue(progress, formatCount(shown));
    drawPaths();
    const sampled = [...new Set([shown, ...Object.values(paths).flatMap(sampleSteps)])].toSorted((a, b) => a - b);
    const outputsOf = (path) => path.length === 1
      ? [[1, sigmoid(path[0])]] // the logarithmic axis has no step 0
      : sampled.filter((k) => k > 0 && k < path.length).map((k) => [k, sigmoid(path[k])]);
    drawChart({
      label: "Output ŷ by gradient step, for both losses",
      x: { label: "step", low: 1, high: Math.max(10, longest()), log: true, format: (step) => formatCount(Math.min(step, longest())) },
      y: { label: "output ŷ", low: 0, high: 1, format: (value) => value.toFixed(4) },
      marks: [{ y: Number(target.value), name: "target" }],
      series: Object.entries(LOSSES).map(([loss, { name, colour }]) => ({
        name: `${name} ŷ`,
        colour: `var(${colour})`,
        points: outputsOf(paths[loss]),
      })),
      now: progress.value < 1 && shown > 0 ? shown : undefined,
    });
  }

  /** Run both descents from the selected point and show where they end. */
  function restart() {
    stop();
    scene.target = Number(target.value);
    scene.sameScale = form.elements["same-scale"].checked;
    const settings = { target: scene.target, lr: lr(), tolerance, steps };
    const ends = Object.entries(LOSSES).map(([loss, { name }]) => {
      paths[loss] = descend(loss, Number(weight.value) + Number(bias.value), settings);
      const count = formatSteps(paths[loss].length - 1);
      if (hasConverged(paths[loss].at(-1))) return `${name} converges after ${count}`;
      return `${name} ${oscillates(paths[loss]) ? "oscillates and " : ""}has not converged after ${count}`;
    });
    arrival.textContent = `${ends.join("; ")}.`;
    for (const input of [weight, bias, target]) showValue(input, round(Number(input.value)));
    showValue(rate, String(lr()));
    progress.value = 1;
    drawSurfaces();
    showProgress();
  }

  const stop = makePlayer(document.getElementById("descend"), {
    start() {
      if (Number(progress.value) === 1) progress.value = 0;
    },
    advance(milliseconds) {
      progress.value = Math.min(1, Number(progress.value) + milliseconds / 6000);
      showProgress();
      return Number(progress.value) === 1;
    },
  });
  progress.addEventListener("input", () => {
    stop();
    showProgress();
  });
  for (const input of [weight, bias, target, rate, form.elements["same-scale"]]) {
    input.addEventListener("input", restart);
  }
  form.addEventListener("reset", () => setTimeout(restart)); // the fields change after the event
  scene.pick = (w, b) => {
    weight.value = w;
    bias.value = b;
    restart();
  };
  restart();
}
