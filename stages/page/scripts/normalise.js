// Normalise a drawing like MNIST's images.

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
