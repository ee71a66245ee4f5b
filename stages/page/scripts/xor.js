// XOR trained in the page, step by step from a single start.

/** Losses at which gradient descent on XOR stalls. */
const LEVELS = [
  { name: "4 ln 2", loss: 4 * Math.log(2) },
  { name: "2 ln 2", loss: 2 * Math.log(2) },
  { name: "3 ln 3 − 2 ln 2", loss: 3 * Math.log(3) - 2 * Math.log(2) },
];
const levelOf = (loss) => LEVELS.find((level) => Math.abs(loss - level.loss) < 0.05);

/** The hidden plane of a network, for drawPlane. @param {Parameters} p */
function describeHidden(p, tanh) {
  const points = XOR_INPUTS.map((x) => xorForward(p, x, tanh).h);
  const high = tanh ? 1.25 : Math.max(1.25, ...points.flat().map((value) => 1.3 * Math.abs(value)));
  return { low: -high, high, points, logit: (h1, h2) => p[6] * h1 + p[7] * h2 + p[8] };
}

/** Settings shared by the single run and the random starts; callbacks for a change and for a run from a seed. */
const xorSettings = { lr: data.xor.lr, tanh: true, steps: data.xor.steps, changed() {}, seeded() {} };

/** Load another network into the single run. @type {(name: string, parameters: Parameters, step?: number) => void} */
let showStart;
{
  const form = document.getElementById("xor-form");
  const { seed, "xor-rate": rate, tanh, "xor-step": slider } = form.elements;
  const planes = ["input-plane", "hidden-plane"].map((id) => document.getElementById(id));
  const status = document.getElementById("xor-status");
  const drawChart = makeChart(document.getElementById("xor-chart"));
  /** @type {{name: string, parameters: Parameters}} */ let start;
  /** @type {{parameters: Float64Array[], losses: number[]}} */
  let trained;

  /** Show the network after the slider's number of steps. */
  function show() {
    const step = Number(slider.value);
    const p = trained.parameters[step];
    const loss = trained.losses[step];
    drawPlane(planes[0], {
      low: -0.4, high: 1.4, points: XOR_INPUTS, axes: ["x₁", "x₂"],
      logit: (x1, x2) => xorForward(p, [x1, x2], xorSettings.tanh).z,
    });
    drawPlane(planes[1], { ...describeHidden(p, xorSettings.tanh), axes: ["h₁", "h₂"] });
    const correct = countCorrect(p, xorSettings.tanh);
    const level = correct < 4 && levelOf(loss);
    const value = Number.isFinite(loss) ? `loss ${loss.toFixed(4)}` : "diverged";
    const text = `${start.name}, step ${formatCount(step)}: ${value}, ${correct} of 4 points classified correctly`;
    status.textContent = level ? `${text}, near ${level.name}` : text;
    showValue(slider, formatCount(step));
    const every = Math.max(1, Math.floor(xorSettings.steps / 400));
    const points = trained.losses
      .map((each, k) => [k, each])
      .filter(([k, each]) => Number.isFinite(each) && (k % every === 0 || k === step));
    drawChart({
      label: "Loss of this run by step",
      x: { label: "step", low: 0, high: xorSettings.steps, format: formatCount },
      y: { label: "loss", low: 0, high: 1.05 * Math.max(3, ...points.map(([, each]) => each)) },
      marks: LEVELS.map((each) => ({ y: each.loss, name: each.name })),
      series: [{ name: "loss", colour: "var(--line)", points }],
      now: step,
    });
  }

  function goTo(step) {
    stop();
    slider.value = step;
    show();
  }

  /** Train from the current start with the current settings; show the network after a step. */
  function retrain(step = 0) {
    Object.assign(xorSettings, { lr: readRate(rate, data.xor.lr), tanh: tanh.checked });
    trained = trainXor(start.parameters, xorSettings);
    showValue(rate, String(xorSettings.lr));
    goTo(step);
  }
  showStart = (name, parameters, step) => {
    seed.value = "";
    start = { name, parameters };
    retrain(step);
  };
  const showSeed = () => {
    if (seed.value === "" || !seed.reportValidity()) return;
    const chosen = Number(seed.value);
    start = { name: `Seed ${chosen}`, parameters: chosen === data.xor.seed ? data.xor.initial : oneStart(chosen) };
    xorSettings.seeded();
    retrain();
  };

  let position = 0; // steps since the start of the run, with fractions
  const stop = makePlayer(document.getElementById("xor-run"), {
    start() {
      position = slider.value === slider.max ? 0 : Number(slider.value);
    },
    advance(milliseconds) { // the whole run takes six seconds
      position = Math.min(xorSettings.steps, position + (milliseconds * xorSettings.steps) / 6000);
      slider.value = Math.floor(position);
      show();
      return position === xorSettings.steps;
    },
    status,
  });
  document.getElementById("xor-one").addEventListener("click", () => goTo(Number(slider.value) + 1));
  document.getElementById("xor-back").addEventListener("click", () => goTo(0));
  slider.addEventListener("input", () => goTo(Number(slider.value)));
  seed.addEventListener("input", showSeed);
  for (const input of [rate, tanh]) {
    input.addEventListener("input", () => {
      retrain();
      xorSettings.changed();
    });
  }
  form.addEventListener("reset", () => setTimeout(() => { // the fields change after the event
    showSeed();
    xorSettings.changed();
  }));
  new ResizeObserver(show).observe(planes[0]);
  window.addEventListener("resize", show); // zooming may keep the planes' size
  darkMode.addEventListener("change", show);
  showSeed();
}
