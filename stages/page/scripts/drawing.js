// The drawing pad and the prediction for it.

/** Draw one piece of a stroke, or a dot if it has no length. @param {CanvasRenderingContext2D} pen @param {number[]} from @param {number[]} to @param {number} width */
function drawLine(pen, from, to, width) {
  pen.lineWidth = width;
  pen.lineCap = "round";
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(to[0] + 0.01, to[1]); // canvases do not draw lines without length
  pen.stroke();
}

{
  const find = (id) => document.getElementById(id);
  const [board, input, choice, centred] = ["drawing", "input", "choice", "centred"].map(find);
  const [eraser, width, result, hint] = ["eraser", "pen-width", "prediction", "pad-hint"].map(find);
  const back = find("pad-back"); // to the errors
  const pen = board.getContext("2d", { willReadFrequently: true });
  const size = board.width;
  const bars = [...document.querySelectorAll("#bars li")];
  /** The test image on the pad. The first stroke of the pen replaces an example, but draws over an error. */
  let shown;

  const percent = (probability) => `${(100 * probability).toFixed(1)}%`;

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
      const probability = blank ? 0 : outputs.probabilities[c];
      bar.classList.toggle("best", !blank && c === best);
      bar.querySelector(".fill").style.width = percent(probability);
      bar.querySelector(".probability").textContent = percent(probability);
    });
    const { classes } = data.network;
    const truth = shown.image ? `, label: ${classes[shown.image.label]}` : "";
    result.textContent = blank ? "Nothing drawn yet" : `Prediction: ${classes[best]}${truth}`;
    centred.disabled = Boolean(shown.image); // test images are centred
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
    eraser.checked = false;
    back.hidden = true;
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

  let last = null; // previous position of the pen
  let pointer = null; // the pointer that draws; others, such as a resting palm, are ignored
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
    if (event.button || last) return;
    if (shown.example && !eraser.checked) clear();
    shown.example = false;
    hint.textContent = "";
    board.setPointerCapture(event.pointerId);
    pointer = event.pointerId;
    last = where(event);
    draw(event);
  });
  board.addEventListener("pointermove", (event) => {
    if (last && event.pointerId === pointer) (event.getCoalescedEvents?.() ?? [event]).forEach(draw);
  });
  board.addEventListener("lostpointercapture", (event) => event.pointerId === pointer && (last = null));

  const startDrawing = () => {
    clear();
    hint.textContent = "Draw here.";
    classify();
  };
  find("clear").addEventListener("click", startDrawing);
  centred.addEventListener("change", classify);
  choice.addEventListener("change", () => (choice.value ? load(Number(choice.value)) : startDrawing()));
  let origin = null; // the selected error's button
  back.addEventListener("click", () => {
    origin.scrollIntoView({ block: "center" });
    origin.focus({ preventScroll: true });
  });
  for (const button of document.querySelectorAll("button[data-input]")) {
    button.addEventListener("click", () => {
      load(Number(button.dataset.input));
      back.hidden = false;
      origin = button;
      find("pad").scrollIntoView({ block: "center" });
      board.focus({ preventScroll: true });
    });
  }
  load(0, true);
}
