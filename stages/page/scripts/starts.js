// Sixty-four random starts of the study at once, each a small hidden plane.
{
  const list = document.getElementById("starts");
  const button = document.getElementById("starts-run");
  const summary = document.getElementById("starts-says");
  const count = Math.min(64, data.xor.starts);
  let first = 0; // number of the first start shown
  let step = 0;
  /** @type {Float64Array[]} */ let networks = [];

  const cells = Array.from({ length: count }, (_, k) => {
    const label = list.appendChild(document.createElement("label"));
    const radio = label.appendChild(document.createElement("input"));
    const canvas = label.appendChild(document.createElement("canvas"));
    Object.assign(radio, { type: "radio", name: "start", autocomplete: "off" });
    canvas.setAttribute("aria-hidden", "true");
    radio.addEventListener("change", () => {
      showStart(`Start ${first + k + 1}`, drawStarts()[k]);
      document.getElementById("starts-loaded").textContent = `Start ${first + k + 1} is loaded above.`;
    });
    return { label, radio, canvas };
  });
  const drawStarts = () => randomStarts(data.xor.starts, data.xor.seed, first, first + count);

  /** Draw all networks, mark the solved ones, and at the end name the level of the others. */
  function draw() {
    const { tanh, steps } = xorSettings;
    const done = step === steps;
    const tally = new Map();
    let solved = 0;
    networks.forEach((p, k) => drawPlane(cells[k].canvas, describeHidden(p, tanh)));
    networks.forEach((p, k) => { // after all planes: each change of a mark outdates the styles
      const { label, radio } = cells[k];
      const right = countCorrect(p, tanh) === 4;
      solved += right;
      const level = done && !right ? levelOf(xorLoss(p, tanh))?.name ?? "other" : "";
      if (level) tally.set(level, (tally.get(level) ?? 0) + 1);
      label.dataset.mark = right ? "✓" : { "2 ln 2": "½", "3 ln 3 − 2 ln 2": "⅓" }[level] ?? "";
      label.classList.toggle("rare", level !== "" && level !== "2 ln 2");
      const state = right ? "solved" : level ? `stalled, ${level}` : "not solved";
      radio.setAttribute("aria-label", `Start ${first + k + 1}: ${state}`);
    });
    const stalled = [...tally].map(([level, number]) => `${number} ${level === "other" ? "elsewhere" : `near ${level}`}`);
    const text = [`${solved} of ${count} solved`, ...stalled].join(", ");
    summary.textContent = `Step ${step.toLocaleString("en")}: ${text}.`;
  }

  let playing = 0;
  function stop() {
    cancelAnimationFrame(playing);
    playing = 0;
    button.textContent = `Train ${count} starts`;
    summary.setAttribute("aria-live", "polite");
  }
  function restart() {
    stop();
    step = 0;
    networks = drawStarts();
    draw();
  }

  /** Train all in about five seconds; a slow machine takes longer, since no frame trains for more than 20 ms. */
  let before = 0;
  function frame(now) {
    const { lr, tanh, steps } = xorSettings;
    const last = Math.min(steps, step + Math.ceil((steps * Math.max(0, now - before)) / 5000));
    before = now;
    const until = performance.now() + 20;
    while (step < last && performance.now() < until) {
      for (const p of networks) stepXor(p, lr, tanh);
      step += 1;
    }
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!still || step === steps) draw();
    if (step === steps) stop();
    else playing = requestAnimationFrame(frame);
  }
  button.addEventListener("click", () => {
    if (playing) return stop();
    if (step === xorSettings.steps) restart();
    button.textContent = "Pause";
    summary.setAttribute("aria-live", "off"); // a screen reader cannot keep up
    before = performance.now();
    playing = requestAnimationFrame(frame);
  });
  document.getElementById("starts-other").addEventListener("click", () => {
    first = first + 2 * count <= data.xor.starts ? first + count : 0;
    for (const { radio } of cells) radio.checked = false;
    document.getElementById("starts-loaded").textContent = "";
    restart();
  });
  xorSettings.changed.push(restart);
  window.addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  restart();
}
