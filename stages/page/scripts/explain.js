// How one value of a layer is computed from the previous layer.

/** The layer before each layer. */
const SOURCES = {
  conv1: "input", relu1: "conv1", pool1: "relu1",
  conv2: "pool1", relu2: "conv2", pool2: "relu2",
  conv3: "pool2", relu3: "conv3", pool3: "relu3",
  linear1: "pool3", relu4: "linear1", linear2: "relu4",
};

/**
 * Number of channels and side length of a layer's output; a vector is a row of 1 × 1 maps.
 * @param {string} layer
 */
function mapShape(layer) {
  if (layer === "input") return { channels: 1, size: 28 };
  const kind = layer.slice(0, -1);
  if (kind === "conv") return { channels: network[layer].shape[0], size: mapShape(SOURCES[layer]).size };
  if (kind === "linear") return { channels: network[layer].shape[0], size: 1 };
  const { channels, size } = mapShape(SOURCES[layer]);
  return { channels, size: kind === "pool" ? size >> 1 : size };
}

/**
 * The side × side values around a pixel of one channel, row by row; zeros outside of the map.
 * @param {Float32Array} output @param {number} size @param {number} channel @param {number} top @param {number} left @param {number} side
 */
function cutPatch(output, size, channel, top, left, side) {
  return Array.from({ length: side * side }, (_, k) => {
    const [y, x] = [top + Math.floor(k / side), left + (k % side)];
    const inside = y >= 0 && y < size && x >= 0 && x < size;
    return inside ? output[(channel * size + y) * size + x] : 0;
  });
}

/**
 * How a layer computes one value of its output: the patch and kernel of every input channel, the
 * sum of their products, the bias. A pooling layer's kernel is ¼ for its own channel; a linear
 * layer's patches are whole maps; a ReLU is explained together with the previous layer.
 * @param {Outputs} outputs @param {string} layer @param {number} channel @param {number} y @param {number} x
 */
function explain(outputs, layer, channel, y, x) {
  const rectified = layer.startsWith("relu");
  const name = rectified ? SOURCES[layer] : layer;
  const source = SOURCES[name];
  const { channels, size } = mapShape(source);
  const kind = name.slice(0, -1);
  const side = { conv: network[name]?.shape.at(-1), linear: size, pool: 2 }[kind];
  const border = side >> 1;
  const [top, left] = { conv: [y - border, x - border], linear: [0, 0], pool: [2 * y, 2 * x] }[kind];
  const used = kind === "pool" ? [channel] : [...Array(channels).keys()];
  const parts = used.map((from) => {
    const patch = cutPatch(outputs[source], size, from, top, left, side);
    const at = (channel * channels + from) * side * side;
    const kernel = kind === "pool" ? [0.25, 0.25, 0.25, 0.25] : [...network[name].weight.subarray(at, at + side * side)];
    const sum = patch.reduce((total, value, k) => total + value * kernel[k], 0);
    return { channel: from, patch, kernel, sum };
  });
  const sum = parts.reduce((total, part) => total + part.sum, 0);
  const bias = kind === "pool" ? null : network[name].bias[channel];
  const value = rectified ? Math.max(0, sum + bias) : sum + bias;
  return { source, top, left, side, parts, sum, bias, rectified, value };
}
