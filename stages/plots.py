"""Draw every figure from what the other stages computed.

reads   params.yaml: plots
        data/surfaces.npz, data/xor.npz, data/cnn/history.csv, data/cnn/model.pth,
        data/predictions.csv, data/mnist/test.npz, reports/metrics/{surfaces,xor,evaluate}.json
writes  reports/figures/*.png
"""

import json
from io import BytesIO
from pathlib import Path
from typing import Annotated

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image
from pydantic import Field

from common.files import read_arrays, read_state, write_bytes
from common.mnist import TEST
from common.params import run
from figures import cnn, surfaces, xor

TITLES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "digits": "Digits",
}


def read_metrics(stage):
    """The metrics of a stage, name to number."""
    return json.loads(Path(f"reports/metrics/{stage}.json").read_text(encoding="utf-8"))


def png(figure, dpi):
    """The figure as the bytes of a PNG, equal for equal figures."""
    figure.set_dpi(2 * dpi)
    figure.canvas.draw()
    drawn = Image.fromarray(np.asarray(figure.canvas.buffer_rgba()))
    plt.close(figure)
    # Four pixels become one: smooth edges. 256 colours make the file a third of the size; they are
    # chosen for coverage, as Pillow's default, the median cut, repaints the rare ends of a scale.
    colours = drawn.convert("RGB").reduce(2).quantize(256, Image.Quantize.MAXCOVERAGE)
    buffer = BytesIO()
    colours.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def main(
    dpi: Annotated[int, Field(ge=20, le=600)],
    elevation: Annotated[float, Field(ge=-90, le=90)],
    azimuth: Annotated[float, Field(ge=-360, le=360)],
    mistakes: Annotated[int, Field(ge=1, le=200)],
):
    matplotlib.use("Agg")
    plt.style.use(Path(__file__).with_name("figures.mplstyle"))
    view = {"elev": elevation, "azim": azimuth}

    fields, neuron = read_arrays("data/surfaces.npz"), read_metrics("surfaces")
    perceptron, solving = read_arrays("data/xor.npz"), read_metrics("xor")
    history, predictions = pd.read_csv("data/cnn/history.csv"), pd.read_csv("data/predictions.csv")
    test, scores = read_arrays(TEST), read_metrics("evaluate")
    name, classes = TITLES[str(test["dataset"])], test["classes"].tolist()
    recall = [scores[f"recall_{c}"] for c in range(len(classes))]
    interval = scores["accuracy"], scores["low"], scores["high"]
    filters = read_state("data/cnn/model.pth")["conv1.weight"].numpy()

    figures = {
        "sigmoid": surfaces.draw_sigmoid(fields, neuron, view),
        "relu": surfaces.draw_relu(fields, neuron, view),
        "xor_snapshots": xor.draw_snapshots(perceptron, solving),
        "xor_losses": xor.draw_losses(perceptron, solving),
        "history": cnn.draw_history(history, name),
        "confusion": cnn.draw_confusion(predictions, classes, name),
        "recall": cnn.draw_recall(recall, interval, classes, name),
        "mistakes": cnn.draw_mistakes(test["images"], predictions, classes, name, mistakes),
        "filters": cnn.draw_filters(filters, name),
    }
    for file, figure in figures.items():
        write_bytes(f"reports/figures/{file}.png", png(figure, dpi))
    print(f"{len(figures)} figures in reports/figures/")


if __name__ == "__main__":
    run(main, section="plots")
