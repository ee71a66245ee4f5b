"""The network in the page agrees with evaluate and PyTorch, and classifies drawings."""

import gzip
import json
from base64 import b64encode

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from browsing import CHROMIUM
from workspaces import ROOT

from common.mnist import read_images
from common.model import DigitClassification, scale

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")
TOLERANCE = 1e-5  # of probabilities; the page computes in float32
COMMITTED = ROOT / "reports/index.html"
MNIST = ROOT.parent / "shared/mnist/t10k-images-idx3-ubyte.gz"

CLASSIFY = """pixels => {
  const bytes = decodeBytes(pixels);
  return Array.from({ length: bytes.length / 784 }, (_, k) =>
    forward(network, Float32Array.from(bytes.subarray(784 * k, 784 * (k + 1)))).probabilities);
}"""


def classify(page, images):
    """The page's probabilities (n, 10) for images (n, 28, 28) uint8."""
    return np.array(page.evaluate(CLASSIFY, b64encode(images.tobytes()).decode()))


@pytest.mark.slow
def test_every_layer_output_agrees_with_pytorch(page, page_path):
    folder = page_path.parent.parent
    model = DigitClassification().eval()
    model.load_state_dict(torch.load(folder / "data/network/model.pth", weights_only=True))
    images, _ = read_images(folder / "data/mnist/test.npz")
    expected, x = {}, scale(torch.from_numpy(images[:1]))
    with torch.no_grad():
        for name, module in model.named_children():
            x = module(x.flatten(1) if name == "linear1" else x.clone())  # ReLU works in place
            kind, number = name[:-1], name[-1]  # the page folds BatchNorm into the previous layer
            expected["linear1" if name == "bn4" else f"conv{number}" if kind == "bn" else name] = x
    outputs = page.evaluate(
        """pixels => Object.fromEntries(Object.entries(
            forward(network, Float32Array.from(decodeBytes(pixels)))
        ).map(([name, output]) => [name, [...output]]))""",
        b64encode(images[0].tobytes()).decode(),
    )
    assert {*outputs} == {*expected, "input", "probabilities"}
    for name, output in expected.items():
        np.testing.assert_allclose(outputs[name], output.flatten(), rtol=0.01, atol=0.01)


def test_the_probabilities_on_the_page_agree_with_evaluate(page, page_path):
    folder = page_path.parent.parent
    images, _ = read_images(folder / "data/mnist/test.npz")
    probabilities = classify(page, images)
    predictions = pd.read_csv(folder / "data/predictions.csv")
    assert (probabilities.argmax(1) == predictions["predicted"]).mean() == 1
    rows = np.arange(len(probabilities))
    for column, classes in (("probability", "predicted"), ("probability_actual", "actual")):
        difference = probabilities[rows, predictions[classes]] - predictions[column]
        assert abs(difference).max() < TOLERANCE


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.exists(), reason="no mirror of MNIST beside the checkout")
def test_the_committed_page_reproduces_the_predictions_of_the_committed_network(open_page):
    rows = json.loads((ROOT / "reports/plots/predictions.json").read_text())["rows"]
    predictions = pd.DataFrame(rows)
    images = np.frombuffer(gzip.decompress(MNIST.read_bytes()), np.uint8, offset=16)
    images = images.reshape(-1, 28, 28)
    errors = predictions.index[predictions["actual"] != predictions["predicted"]]
    others = np.random.default_rng(0).choice(predictions.index.difference(errors), 500, False)
    sample = np.concatenate([errors, others])
    probabilities = classify(open_page(file=COMMITTED), images[sample])
    assert (probabilities.argmax(1) == predictions["predicted"][sample]).all()
    details = ROOT / "data/predictions.csv"  # probabilities, not tracked by Git
    if details.exists():
        expected = pd.read_csv(details)["probability"][sample]
        assert abs(probabilities.max(1) - expected).max() < TOLERANCE


EXPLAIN_ALL = """() => {
  const pixels = decodeBytes(data.network.inputs[0].pixels);
  const outputs = forward(network, Float32Array.from(pixels));
  return Object.keys(SOURCES).map((layer) => {
    const { size } = mapShape(layer);
    return Math.max(...Array.from(outputs[layer], (value, k) => {
      if (k % 7) return 0;
      const [c, y, x] = [Math.floor(k / size ** 2), Math.floor(k / size) % size, k % size];
      return Math.abs(explain(outputs, layer, c, y, x).value - value);
    }));
  });
}"""


@pytest.mark.slow
def test_the_explanation_of_a_pixel_sums_to_its_value(page):
    differences = page.evaluate(EXPLAIN_ALL)
    assert len(differences) == 12
    assert max(differences) < 1e-4


NORMALISE = """({ strokes, width, centred = true }) => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 280;
  const pen = canvas.getContext("2d");
  for (const points of strokes) {
    points.slice(1).forEach((point, k) => drawLine(pen, points[k], point, width));
  }
  const ink = readInk(pen);
  const cells = centred ? locateDrawing(ink, 280) : { left: 0, top: 0, side: 10 };
  return [...averageCells(ink, 280, cells)];
}"""


def normalise(page, **drawing):
    """A drawing normalised to an input of the network, (28, 28) uint8."""
    pixels = page.evaluate(NORMALISE, drawing)
    return np.rint(pixels).astype(np.uint8).reshape(28, 28)


@pytest.mark.slow
def test_the_network_classifies_drawn_digits_of_many_styles(open_page):
    page = open_page(file=COMMITTED)
    digits = yaml.safe_load((ROOT / "tests/digits.yaml").read_text())
    images = [normalise(page, strokes=d["strokes"], width=d["width"]) for d in digits]
    predicted_digits = classify(page, np.array(images)).argmax(1)
    errors = [
        f"{digit['digit']} ({digit['note']}) classified as {predicted}"
        for digit, predicted in zip(digits, predicted_digits, strict=True)
        if predicted != digit["digit"]
    ]
    assert len(digits) == 20
    assert len(errors) <= 1, errors


@pytest.mark.slow
def test_a_drawing_is_scaled_to_20_pixels_and_centred_by_mass(open_page):
    page = open_page()
    triangle = [[[20, 30], [60, 30], [20, 90], [20, 30]]]
    image = normalise(page, strokes=triangle, width=4).astype(float)
    rows, columns = np.nonzero(image)
    assert rows.max() - rows.min() + 1 in (20, 21)  # 20 pixels can touch 21 rows
    assert columns.max() - columns.min() + 1 < 20
    for axis in (0, 1):
        centre = (image.sum(1 - axis) * (np.arange(28) + 0.5)).sum() / image.sum()
        assert abs(centre - 14) < 0.05
    unscaled = normalise(page, strokes=triangle, width=4, centred=False)
    assert np.nonzero(unscaled)[0].min() == 2  # ink starts at 28 of 280 pixels
    moved = [[[x + 150, y + 120] for x, y in points] for points in triangle]
    assert abs(normalise(page, strokes=moved, width=4) - image).max() <= 1
