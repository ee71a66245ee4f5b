// The drawing pad: it normalises a drawing like MNIST and classifies it.

/** Draw one piece of a stroke. @param {CanvasRenderingContext2D} pen @param {number[]} from @param {number[]} to @param {number} width */
function drawLine(pen, from, to, width) {
  pen.lineWidth = width;
  pen.lineCap = "round";
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
}

/** The ink of a square canvas, 0 to 255, row by row. @param {CanvasRenderingContext2D} pen */
function readInk(pen) {
  const size = pen.canvas.width;
  const { data: rgba } = pen.getImageData(0, 0, size, size);
  const ink = new Float32Array(size * size);
  for (let k = 0; k < ink.length; k += 1) ink[k] = rgba[4 * k + 3];
  return ink;
}

/**
 * Average the ink over 28 × 28 square cells. Their edges may lie between pixels or outside the canvas.
 * @param {Float32Array} ink (size, size) @param {number} size
 * @param {{left: number, top: number, side: number}} cells of the first cell, in pixels
 */
function averageCells(ink, size, { left, top, side }) {
  const wide = size + 1;
  const sums = new Float64Array(wide * wide); // of all ink above and to the left
  for (let y = 0; y < size; y += 1) {
    for (let x = 0, row = 0; x < size; x += 1) {
      row += ink[y * size + x];
      sums[(y + 1) * wide + x + 1] = sums[y * wide + x + 1] + row;
    }
  }
  const clamp = (value) => Math.min(Math.max(value, 0), size);
  const sumTo = (x, y) => {
    const [i, j] = [Math.min(Math.floor(x), size - 1), Math.min(Math.floor(y), size - 1)];
    const [u, v, k] = [x - i, y - j, j * wide + i];
    const above = sums[k] * (1 - u) + sums[k + 1] * u;
    const below = sums[k + wide] * (1 - u) + sums[k + wide + 1] * u;
    return above * (1 - v) + below * v;
  };
  return Float32Array.from({ length: 28 * 28 }, (_, k) => {
    const [x0, x1] = [k % 28, (k % 28) + 1].map((x) => clamp(left + x * side));
    const [y0, y1] = [Math.floor(k / 28), Math.floor(k / 28) + 1].map((y) => clamp(top + y * side));
    const sum = sumTo(x1, y1) - sumTo(x0, y1) - sumTo(x1, y0) + sumTo(x0, y0);
    return Math.min(Math.max(sum / side ** 2, 0), 255);
  });
}

/**
 * The cells of MNIST's normalisation: the larger side of the drawing covers 20 cells, and its centre
 * of mass is the centre of the grid.
 * @param {Float32Array} ink (size, size) @param {number} size
 */
function locateDrawing(ink, size) {
  let [left, top, right, bottom] = [size, size, 0, 0];
  let [mass, massX, massY] = [0, 0, 0];
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) {
      const value = ink[y * size + x];
      if (!value) continue;
      if (x < left) left = x;
      if (x >= right) right = x + 1;
      if (y < top) top = y;
      bottom = y + 1;
      mass += value;
      massX += value * (x + 0.5);
      massY += value * (y + 0.5);
    }
  }
  if (!mass) return { left: 0, top: 0, side: size / 28 };
  const side = Math.max(right - left, bottom - top) / 20;
  return { left: massX / mass - 14 * side, top: massY / mass - 14 * side, side };
}

{
  const find = (id) => document.getElementById(id);
  const [board, input, choice, centred] = ["drawing", "input", "choice", "centred"].map(find);
  const [eraser, width, result, hint] = ["eraser", "pen-width", "prediction", "pad-hint"].map(find);
  const pen = board.getContext("2d", { willReadFrequently: true });
  const size = board.width;
  const bars = [...document.querySelectorAll("#bars li")];
  /** The test image on the pad. The first stroke replaces an example, but draws over an error. */
  let shown = { image: null, example: false };

  const percent = (share) => `${(100 * share).toFixed(1)}%`;

  /** Classify the pad's image and send all outputs to the feature maps. */
  function classify() {
    const ink = readInk(pen);
    const whole = { left: 0, top: 0, side: size / 28 };
    const cells = shown.image || !centred.checked ? whole : locateDrawing(ink, size);
    const pixels = averageCells(ink, size, cells);
    const outputs = forward(network, pixels);
    paintDigit(input, pixels);
    const blank = !ink.some(Boolean);
    const best = outputs.probabilities.indexOf(Math.max(...outputs.probabilities));
    bars.forEach((bar, c) => {
      const share = blank ? 0 : outputs.probabilities[c];
      bar.classList.toggle("best", !blank && c === best);
      bar.querySelector(".fill").style.width = percent(share);
      bar.querySelector(".share").textContent = percent(share);
    });
    const { classes } = data.network;
    const truth = shown.image ? `, labelled ${classes[shown.image.label]}` : "";
    result.textContent = blank ? "Nothing drawn yet" : `Prediction: ${classes[best]}${truth}`;
    document.dispatchEvent(new CustomEvent("classified", { detail: outputs }));
  }

  let waiting = false;
  function classifySoon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      classify();
    });
  }

  /** Draw a 28 × 28 image, dark on light. */
  function paintDigit(canvas, pixels) {
    const image = new ImageData(28, 28);
    pixels.forEach((pixel, k) => (image.data[4 * k + 3] = Math.round(pixel)));
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  function clear() {
    pen.clearRect(0, 0, size, size);
    shown = { image: null, example: false };
    choice.value = "";
  }

  /** Put a test image on the pad, pixel by pixel. @param {number} k @param {boolean} example */
  function load(k, example = false) {
    clear();
    shown = { image: data.network.inputs[k], example };
    choice.value = String(k);
    const side = size / 28;
    decodeBytes(shown.image.pixels).forEach((pixel, at) => {
      pen.fillStyle = `rgb(0 0 0 / ${pixel / 255})`;
      pen.fillRect((at % 28) * side, Math.floor(at / 28) * side, side, side);
    });
    hint.textContent = example ? "Draw here: the first stroke replaces this test image." : "Draw over the image.";
    classify();
  }

  let last = null; // previous pen position
  const where = (event) => {
    const box = board.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * size, ((event.clientY - box.top) / box.height) * size];
  };
  const draw = (event) => {
    const to = where(event);
    pen.globalCompositeOperation = eraser.checked ? "destination-out" : "source-over";
    drawLine(pen, last, to, Number(width.value));
    pen.globalCompositeOperation = "source-over";
    last = to;
    classifySoon();
  };
  board.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    if (shown.example) clear();
    hint.textContent = "";
    board.setPointerCapture(event.pointerId);
    last = where(event);
    draw(event);
  });
  board.addEventListener("pointermove", (event) => {
    if (last) (event.getCoalescedEvents?.() ?? [event]).forEach(draw);
  });
  for (const name of ["pointerup", "pointercancel"]) board.addEventListener(name, () => (last = null));

  find("clear").addEventListener("click", () => {
    clear();
    hint.textContent = "Draw here.";
    classify();
  });
  centred.addEventListener("change", classify);
  choice.addEventListener("change", () => choice.value && load(Number(choice.value)));
  for (const button of document.querySelectorAll("button[data-input]")) {
    button.addEventListener("click", () => {
      load(Number(button.dataset.input));
      find("pad").scrollIntoView({ block: "center" });
      board.focus({ preventScroll: true });
    });
  }
  load(0, true);
}
