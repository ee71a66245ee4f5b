"""The trained network on the page: weights for the browser, layers for the table."""

from base64 import b64encode

import numpy as np

from page.typeset import embed_digit

# Each layer with weights and the BatchNorm after it, in the order of DigitClassification.forward.
BLOCKS = {"conv1": "bn1", "conv2": "bn2", "conv3": "bn3", "linear1": "bn4", "linear2": None}
LAYERS = (
    *(f"{layer}{k}" for k in (1, 2, 3) for layer in ("conv", "bn", "relu", "pool")),
    *("linear1", "bn4", "relu4", "linear2"),
)
EPSILON = 1e-5  # of torch.nn.BatchNorm2d


def fold_batch_norm(state):
    """Name to (weight, bias) of each layer, with the BatchNorm after it folded into both.

    In eval mode γ (Wx + b - μ) / √(σ² + ε) + β is again affine in x.
    """
    for layer, norm in BLOCKS.items():
        weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
        if norm:
            scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + EPSILON)
            weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
            bias = (bias - state[f"{norm}.running_mean"]) * scale + state[f"{norm}.bias"]
        yield layer, weight, bias


def pack_weights(state):
    """The folded weights as base64, and the shape of each layer's weight.

    Each layer's weight comes before its bias, little-endian.
    """
    shapes, arrays = {}, []
    for layer, weight, bias in fold_batch_norm(state):
        if layer.startswith("conv"):
            assert len(weight) % 4 == 0  # network.js computes four channels at once
        shapes[layer] = [*weight.shape]
        arrays += [weight.ravel(), bias]
    packed = np.concatenate(arrays).astype("<f4").tobytes()
    return {"shapes": shapes, "weights": b64encode(packed).decode()}


def list_layers(state):
    """Every layer in order: name, operation, shape of its output, number of parameters, and the
    layer whose maps show it.
    """
    shape = [1, 28, 28]
    for name in LAYERS:
        kind, weight = name.rstrip("1234"), state.get(f"{name}.weight")
        if kind == "conv":
            shape = [len(weight), *shape[1:]]
            what = f"{weight.shape[2]} × {weight.shape[3]} convolution, same padding"
        elif kind == "pool":
            shape = [shape[0], shape[1] // 2, shape[2] // 2]
            what = "2 × 2 average pooling"
        elif kind == "linear":
            shape = [len(weight)]
            what = f"linear, {weight.shape[1]} inputs"
        else:
            what = {"bn": "batch normalisation", "relu": "ReLU"}[kind]
        parameters = 0 if weight is None else weight.size + state[f"{name}.bias"].size
        if kind != "bn":  # folded into the previous layer, whose maps are shown
            shown = name
        row = {"name": name, "what": what, "shape": shape, "parameters": parameters}
        yield row | {"shown": shown}


def list_inputs(rows, images, classes):
    """Test images as inputs of the network: index, classes, and pixels as base64."""
    for index, row in rows.iterrows():
        yield row.to_dict() | {
            "index": index,
            "image": embed_digit(images[index]),
            "pixels": b64encode(images[index].tobytes()).decode(),
            "label": int(row["actual"]),
            "actual": classes[int(row["actual"])],
            "predicted": classes[int(row["predicted"])],
        }
