// One neuron, ŷ = φ(wx + b) with x = 1: every field is a function of z = w + b, as in stages/surfaces.py.

/** σ(z), without overflow. @param {number} z */
const sigmoid = (z) => (1 + Math.tanh(z / 2)) / 2;

/** ln(1 + eᶻ), without overflow. @param {number} z */
const softplus = (z) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));

/** Output, losses and gradients ∂loss/∂w = ∂loss/∂z. @type {Record<string, (z: number, y: number) => number>} */
const FIELDS = {
  sigmoid,
  l2: (z, y) => (sigmoid(z) - y) ** 2,
  l2_grad: (z, y) => 2 * (sigmoid(z) - y) * sigmoid(z) * (1 - sigmoid(z)),
  ce: (z, y) => y * softplus(-z) + (1 - y) * softplus(z),
  ce_grad: (z, y) => sigmoid(z) - y,
  relu: (z) => Math.max(z, 0),
  relu_l2: (z, y) => (Math.max(z, 0) - y) ** 2,
  relu_l2_grad: (z, y) => (z > 0 ? 2 * (z - y) : 0),
};

/**
 * z after 0, 1, … steps of gradient descent on a sigmoid neuron's loss, until |ŷ - y| ≤ tolerance.
 * Weight and bias have the same gradient, so z moves twice as far as each of them.
 * @param {"l2" | "ce"} loss
 * @param {number} z
 * @param {{target: number, lr: number, tolerance: number, steps: number}} settings
 */
function descend(loss, z, { target, lr, tolerance, steps }) {
  const path = [z];
  while (Math.abs(sigmoid(z) - target) > tolerance && path.length <= steps) {
    z -= 2 * lr * FIELDS[`${loss}_grad`](z, target);
    path.push(z);
  }
  return path;
}

/** Minimum and maximum of a field for |z| ≤ limit; each range includes 0. */
function findRange(name, limit, target) {
  const values = Array.from({ length: 961 }, (_, k) => FIELDS[name]((k / 480 - 1) * limit, target));
  return [Math.min(0, ...values), Math.max(0, ...values)];
}
