// XOR, trained in the page: one start step by step.

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

/** The settings that single run and random starts share; `changed` callbacks follow them. */
const xorSettings = { lr: data.xor.lr, tanh: true, steps: data.xor.steps, changed: [] };

/** Load the start of another network, with its name, into the single run. */
let showStart;
{
  const form = document.getElementById("xor-form");
  const { seed, "xor-rate": rate, tanh, "xor-step": slider } = form.elements;
  const planes = ["input-plane", "hidden-plane"].map((id) => document.getElementById(id));
  const run = document.getElementById("xor-run");
  const says = document.getElementById("xor-says");
  const drawChart = makeChart(document.getElementById("xor-chart"));
  let start = { name: "", parameters: Float64Array.from(data.xor.initial) };
  /** @type {{parameters: Float64Array[], losses: number[]}} */
  let trained;

  /** Show the network after the slider's step. */
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
    const text = `step ${step.toLocaleString("en")}: loss ${loss.toFixed(4)}, ${correct} of 4 points correct`;
    says.textContent = `${start.name}, ${text}${level ? `, near ${level.name}` : ""}`;
    slider.setAttribute("aria-valuetext", text);
    document.getElementById("xor-step-value").textContent = step.toLocaleString("en");
    const every = Math.max(1, Math.floor(xorSettings.steps / 400));
    const points = trained.losses.map((value, k) => [k, value]);
    drawChart({
      label: "The loss of this run, step by step",
      x: { label: "step", low: 0, high: xorSettings.steps, format: (k) => k.toLocaleString("en") },
      y: { label: "loss", low: 0, high: 1.05 * Math.max(3, ...points.filter(([k]) => k % every === 0).map(([, value]) => value)) },
      marks: LEVELS.slice(0, 2).map(({ name, loss }) => ({ y: loss, name })),
      series: [{ name: "loss", colour: "var(--line)", points: points.filter(([k]) => k % every === 0 || k === step) }],
      now: step,
    });
  }

  let playing = 0;
  function stop() {
    cancelAnimationFrame(playing);
    playing = 0;
    run.textContent = "Run";
    says.setAttribute("aria-live", "polite");
  }
  function goTo(step) {
    slider.value = step;
    show();
  }

  /** Train from the current start with the current settings. */
  function retrain() {
    stop();
    Object.assign(xorSettings, { lr: Number((10 ** rate.value).toPrecision(3)), tanh: tanh.checked });
    trained = trainXor(start.parameters, xorSettings);
    const text = round(xorSettings.lr);
    rate.setAttribute("aria-valuetext", text);
    document.getElementById("xor-rate-value").textContent = text;
    goTo(0);
  }
  showStart = (name, parameters) => {
    start = { name, parameters };
    retrain();
  };
  const showSeed = () => {
    const chosen = Math.floor(Number(seed.value));
    if (seed.value === "" || !(chosen >= 0 && chosen < 2 ** 32)) return;
    showStart(`Seed ${chosen}`, chosen === data.xor.seed ? data.xor.initial : oneStart(chosen));
  };

  run.addEventListener("click", () => {
    if (playing) return stop();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (slider.value === slider.max) slider.value = 0;
    run.textContent = "Pause";
    says.setAttribute("aria-live", "off"); // a screen reader cannot keep up
    const began = performance.now();
    const from = Number(slider.value);
    const frame = (now) => {
      const share = still ? 1 : Math.max(0, now - began) / 6000; // the whole run takes six seconds
      goTo(from + Math.ceil(share * xorSettings.steps));
      if (slider.value === slider.max) stop();
      else playing = requestAnimationFrame(frame);
    };
    playing = requestAnimationFrame(frame);
  });
  document.getElementById("xor-one").addEventListener("click", () => {
    stop();
    goTo(Number(slider.value) + 1);
  });
  document.getElementById("xor-back").addEventListener("click", () => {
    stop();
    goTo(0);
  });
  slider.addEventListener("input", () => {
    stop();
    show();
  });
  seed.addEventListener("input", showSeed);
  for (const input of [rate, tanh]) {
    input.addEventListener("input", () => {
      retrain();
      xorSettings.changed.forEach((change) => change());
    });
  }
  form.addEventListener("reset", () => setTimeout(() => { // the fields change after the event
    showSeed();
    xorSettings.changed.forEach((change) => change());
  }));
  new ResizeObserver(show).observe(planes[0]);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  showSeed();
}
