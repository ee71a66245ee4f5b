// Random starts trained together, each shown as a small hidden plane.
{
  const list = document.getElementById("starts");
  const button = document.getElementById("starts-run");
  const [status, loaded] = ["starts-status", "starts-loaded"].map((id) => document.getElementById(id));
  const count = Math.min(64, data.xor.starts);
  let first = 0; // index of the first start shown
  let step = 0;
  /** @type {Float64Array[]} */ let networks = [];
  button.textContent = `Train ${count} starts`;
  document.getElementById("starts-other").hidden = count === data.xor.starts;

  const drawStarts = () => randomStarts(data.xor.starts, data.xor.seed, first, first + count);
  const cells = Array.from({ length: count }, (_, k) => {
    const label = list.appendChild(document.createElement("label"));
    const radio = label.appendChild(document.createElement("input"));
    const canvas = label.appendChild(document.createElement("canvas"));
    Object.assign(radio, { type: "radio", name: "start", autocomplete: "off" });
    canvas.setAttribute("aria-hidden", "true");
    radio.addEventListener("change", () => {
      showStart(`Start ${first + k + 1}`, drawStarts()[k]);
      loaded.textContent = `Start ${first + k + 1} is loaded above.`;
    });
    return { label, radio, canvas };
  });

  /** Draw all networks and mark the solved ones; after the last step mark the level of the others. */
  function draw() {
    const { tanh, steps } = xorSettings;
    const tally = new Map();
    let solved = 0;
    networks.forEach((p, k) => drawPlane(cells[k].canvas, describeHidden(p, tanh)));
    networks.forEach((p, k) => { // after drawing all planes, because each new mark invalidates the layout
      const { label, radio } = cells[k];
      const isSolved = countCorrect(p, tanh) === 4;
      solved += isSolved;
      const isStalled = step >= steps && !isSolved;
      const level = isStalled ? levelOf(xorLoss(p, tanh))?.name : "";
      const place = level ? `near ${level}` : "at another loss";
      if (isStalled) tally.set(place, (tally.get(place) ?? 0) + 1);
      label.dataset.mark = isSolved ? "✓" : { "2 ln 2": "½", "3 ln 3 − 2 ln 2": "⅓" }[level] ?? "";
      label.classList.toggle("rare", isStalled && level !== "2 ln 2");
      const state = isSolved ? "solved" : isStalled ? `not solved, ${place}` : "not solved";
      radio.setAttribute("aria-label", `Start ${first + k + 1}: ${state}`);
    });
    const stalled = [...tally].map(([place, number]) => `${number} ${place}`);
    status.textContent = `Step ${formatCount(step)}: ${[`${solved} of ${count} solved`, ...stalled].join(", ")}.`;
  }

  function restart() {
    stop();
    step = 0;
    networks = drawStarts();
    draw();
  }

  let position = 0; // steps since the start of the run, with fractions
  const stop = makePlayer(button, {
    start() {
      if (step === xorSettings.steps) restart();
      position = step;
    },
    advance(milliseconds) { // five seconds in total; a frame trains at most as long as the previous frame took
      const { lr, tanh, steps } = xorSettings;
      position = Math.min(steps, position + (milliseconds * steps) / 5000);
      const until = performance.now() + Math.min(50, Math.max(20, milliseconds));
      while (step < Math.floor(position) && performance.now() < until) {
        for (const p of networks) stepXor(p, lr, tanh);
        step += 1;
      }
      position = Math.min(position, step + 1);
      if (milliseconds < Infinity || step === steps) draw();
      return step === steps;
    },
    status,
  });
  const unselect = () => {
    for (const { radio } of cells) radio.checked = false;
    loaded.textContent = "";
  };
  document.getElementById("starts-other").addEventListener("click", () => {
    const last = data.xor.starts - count;
    first = first < last ? Math.min(first + count, last) : 0;
    unselect();
    restart();
  });
  const form = document.getElementById("xor-form");
  for (const example of document.querySelectorAll("button[data-start]")) {
    example.addEventListener("click", () => {
      const index = Number(example.dataset.start) - 1;
      unselect();
      showStart(`Start ${index + 1}`, randomStarts(data.xor.starts, data.xor.seed, index, index + 1)[0], xorSettings.steps);
      form.scrollIntoView({ block: "center" });
    });
  }
  xorSettings.changed = restart;
  xorSettings.seeded = unselect;
  window.addEventListener("resize", draw);
  darkMode.addEventListener("change", draw);
  restart();
}
