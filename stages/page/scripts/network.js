// The trained network: weights and forward pass. Activations are float32, sums float64.

/**
 * @typedef {{weight: Float32Array, bias: Float32Array, shape: number[], interleaved: Float64Array}} Layer
 * @typedef {Record<string, Float32Array>} Outputs  name of a layer to its output, channel by channel
 */

/** Decode base64 to bytes. @param {string} text */
function decodeBytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/**
 * Weight and bias of each layer, BatchNorm folded in.
 * @param {{shapes: Record<string, number[]>, weights: string}} packed
 * @returns {Record<string, Layer>}
 */
function unpackNetwork(packed) {
  const values = new Float32Array(decodeBytes(packed.weights).buffer); // little-endian, like all browsers
  const layers = {};
  let at = 0;
  for (const [name, shape] of Object.entries(packed.shapes)) {
    const size = shape.reduce((product, length) => product * length);
    const weight = values.subarray(at, at + size);
    const bias = values.subarray(at + size, at + size + shape[0]);
    layers[name] = { weight, bias, shape, interleaved: interleave(weight, shape) };
    at += size + shape[0];
  }
  return layers;
}

/**
 * A convolution's weight in the order in which convolve reads it, [outputs / 4][tap][4], as float64
 * to avoid a conversion for every product.
 * @param {Float32Array} weight @param {number[]} shape
 */
function interleave(weight, [, ...kernel]) {
  const taps = kernel.reduce((product, length) => product * length);
  return Float64Array.from(weight, (_, k) => {
    const [block, tap, lane] = [Math.floor(k / (4 * taps)), (k >> 2) % taps, k & 3];
    return weight[(4 * block + lane) * taps + tap];
  });
}

/** Each channel with a border of zeros. @param {Float32Array} input @param {number} size @param {number} border */
function pad(input, size, border) {
  const wide = size + 2 * border + 1; // one extra column, because columns are computed in pairs
  const channels = input.length / (size * size);
  const padded = new Float64Array(channels * wide * wide);
  for (let c = 0; c < channels; c += 1) {
    for (let y = 0; y < size; y += 1) {
      const row = input.subarray((c * size + y) * size, (c * size + y + 1) * size);
      padded.set(row, (c * wide + y + border) * wide + border);
    }
  }
  return padded;
}

/**
 * Convolution with same padding, (channels, size, size) to (outputs, size, size). Four outputs and
 * two columns are computed together, so each loaded value is used in several products.
 * @param {Float32Array} input @param {Layer} layer @param {number} size
 */
function convolve(input, { bias, shape, interleaved }, size) {
  const [outputs, channels, side] = shape;
  const padded = pad(input, size, (side - 1) / 2);
  const [wide, plane] = [size + side, size * size];
  const output = new Float32Array(outputs * plane);
  for (let o = 0; o < outputs; o += 4) {
    for (let k = 0; k < plane; k += size % 2 && (k + 1) % size === 0 ? 1 : 2) {
      const [y, x] = [Math.floor(k / size), k % size];
      let [a0, a1, a2, a3] = [bias[o], bias[o + 1], bias[o + 2], bias[o + 3]];
      let [b0, b1, b2, b3] = [a0, a1, a2, a3];
      let w = o * channels * side * side;
      for (let c = 0; c < channels; c += 1) {
        for (let dy = 0; dy < side; dy += 1) {
          let from = (c * wide + y + dy) * wide + x;
          let a = padded[from];
          for (let dx = 0; dx < side; dx += 1, w += 4) {
            const b = padded[(from += 1)];
            const w0 = interleaved[w];
            const w1 = interleaved[w + 1];
            const w2 = interleaved[w + 2];
            const w3 = interleaved[w + 3];
            a0 += a * w0;
            a1 += a * w1;
            a2 += a * w2;
            a3 += a * w3;
            b0 += b * w0;
            b1 += b * w1;
            b2 += b * w2;
            b3 += b * w3;
            a = b;
          }
        }
      }
      const to = o * plane + k;
      const [one, other] = [[a0, a1, a2, a3], [b0, b1, b2, b3]];
      for (let lane = 0; lane < 4; lane += 1) {
        output[to + lane * plane] = one[lane];
        if (x + 1 < size) output[to + lane * plane + 1] = other[lane];
      }
    }
  }
  return output;
}

/** @param {Float32Array} input */
function rectify(input) {
  return input.map((value) => Math.max(0, value));
}

/** 2 × 2 average pooling with stride 2; an odd last row and column are dropped. @param {Float32Array} input @param {number} size */
function pool(input, size) {
  const half = size >> 1;
  const channels = input.length / (size * size);
  const output = new Float32Array(channels * half * half);
  for (let k = 0; k < output.length; k += 1) {
    const [c, y, x] = [Math.floor(k / (half * half)), Math.floor(k / half) % half, k % half];
    const from = (c * size + 2 * y) * size + 2 * x;
    output[k] = (input[from] + input[from + 1] + input[from + size] + input[from + size + 1]) / 4;
  }
  return output;
}

/** @param {Float32Array} input @param {Layer} layer */
function multiply(input, { weight, bias }) {
  return bias.map((sum, o) => {
    for (let k = 0; k < input.length; k += 1) sum += input[k] * weight[o * input.length + k];
    return sum;
  });
}

/** @param {Float32Array} logits */
function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((one, other) => one + other);
  return powers.map((power) => power / sum);
}

/**
 * The output of every layer for one image.
 * @param {Record<string, Layer>} network @param {Float32Array} pixels (28, 28) from 0 to 255
 * @returns {Outputs & {probabilities: number[]}}
 */
function forward(network, pixels) {
  const outputs = { input: pixels.map((pixel) => pixel / 127.5 - 1) };
  let [last, size] = [outputs.input, 28];
  for (const k of [1, 2, 3]) {
    outputs[`conv${k}`] = convolve(last, network[`conv${k}`], size);
    outputs[`relu${k}`] = rectify(outputs[`conv${k}`]);
    last = outputs[`pool${k}`] = pool(outputs[`relu${k}`], size);
    size >>= 1;
  }
  outputs.linear1 = multiply(last, network.linear1);
  outputs.relu4 = rectify(outputs.linear1);
  outputs.linear2 = multiply(outputs.relu4, network.linear2);
  return { ...outputs, probabilities: softmax(outputs.linear2) };
}

const network = unpackNetwork(data.network);
