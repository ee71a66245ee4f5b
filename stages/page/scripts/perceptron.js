// The 2-2-1 perceptron of stages/xor_train.py in double precision, with hand-written gradients.

const XOR_INPUTS = [[0, 0], [0, 1], [1, 0], [1, 1]];
const XOR_TARGETS = [0, 1, 1, 0];

/**
 * Parameters θ = (W row-major, b, v, c), nine numbers.
 * @typedef {Float64Array} Parameters
 */

/** h = φ(Wx + b) and the logit z = v·h + c. @param {Parameters} p */
function xorForward(p, [x1, x2], tanh) {
  const phi = tanh ? Math.tanh : (a) => a;
  const h = [phi(p[0] * x1 + p[1] * x2 + p[4]), phi(p[2] * x1 + p[3] * x2 + p[5])];
  return { h, z: p[6] * h[0] + p[7] * h[1] + p[8] };
}

/** L(θ), summed over the four points. @param {Parameters} p */
const xorLoss = (p, tanh) =>
  XOR_INPUTS.reduce((sum, x, k) => sum + FIELDS.ce(xorForward(p, x, tanh).z, XOR_TARGETS[k]), 0);

/** Number of points with the output on the correct side of ½. @param {Parameters} p */
const countCorrect = (p, tanh) =>
  XOR_INPUTS.filter((x, k) => xorForward(p, x, tanh).z > 0 === (XOR_TARGETS[k] === 1)).length;

/** θ ← θ - η ∇L(θ), in place. @param {Parameters} p */
function stepXor(p, lr, tanh) {
  const gradient = new Float64Array(9);
  for (let k = 0; k < 4; k += 1) {
    const x = XOR_INPUTS[k];
    const { h, z } = xorForward(p, x, tanh);
    const dz = sigmoid(z) - XOR_TARGETS[k]; // ∂L/∂z
    for (let i = 0; i < 2; i += 1) {
      const da = dz * p[6 + i] * (tanh ? 1 - h[i] * h[i] : 1); // ∂L/∂(Wx + b)ᵢ
      gradient[2 * i] += da * x[0];
      gradient[2 * i + 1] += da * x[1];
      gradient[4 + i] += da;
      gradient[6 + i] += dz * h[i];
    }
    gradient[8] += dz;
  }
  for (let i = 0; i < 9; i += 1) p[i] -= lr * gradient[i];
}

/** One training run: parameters and losses after 0, 1, … steps. @param {Parameters} start */
function trainXor(start, { lr, steps, tanh }) {
  const p = Float64Array.from(start);
  const run = { parameters: [p.slice()], losses: [xorLoss(p, tanh)] };
  for (let step = 0; step < steps; step += 1) {
    stepXor(p, lr, tanh);
    run.parameters.push(p.slice());
    run.losses.push(xorLoss(p, tanh));
  }
  return run;
}

/**
 * PyTorch's CPU generator, MT19937 (Matsumoto and Nishimura, 1998): a function that returns the next
 * number of torch.rand in float32.
 * @param {number} seed below 2³²
 */
function torchRandom(seed) {
  const state = new Uint32Array(624);
  state[0] = seed;
  for (let i = 1; i < 624; i += 1) {
    state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  }
  let i = 0;
  return () => {
    const next = (i + 1) % 624;
    const bits = (state[i] & 0x80000000) | (state[next] & 0x7fffffff);
    state[i] = state[(i + 397) % 624] ^ (bits >>> 1) ^ (bits & 1 ? 0x9908b0df : 0);
    let y = state[i];
    i = next;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    y ^= y >>> 18;
    return (y & 0xffffff) / 2 ** 24; // the low 24 bits
  };
}

/** `count` random numbers as in the stage: uniform in ±1/√2, rounded to float32. */
const drawUniform = (random, count) =>
  Float32Array.from({ length: count }, () => (random() * 2 - 1) / Math.SQRT2);

/** The parameters of two nn.Linear layers after torch.manual_seed(seed). */
const oneStart = (seed) => Float64Array.from(drawUniform(torchRandom(seed), 9));

/** Random starts `from` to `to` - 1 of the stage, which draws all W, then all b, v and c. */
function randomStarts(starts, seed, from, to) {
  const random = torchRandom(seed);
  const drawn = [4, 2, 2, 1].map((size) => [size, drawUniform(random, starts * size)]);
  return Array.from({ length: to - from }, (_, k) =>
    Float64Array.from(
      drawn.flatMap(([size, all]) => [...all.subarray((from + k) * size, (from + k + 1) * size)]),
    ),
  );
}
