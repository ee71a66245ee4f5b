"""Draw all figures from the results of the other stages.

reads   params.yaml: plots
        data/surfaces.npz, data/xor.npz, data/network/history.csv, data/network/weights.npz,
        data/predictions.csv, data/mnist/test.npz, reports/metrics/*.json
writes  reports/figures/*.png       for light pages and print
        data/plots_dark/*.png       dark versions of some figures of the page
        reports/metrics/plots.json  their provenance
"""

import os
from io import BytesIO
from pathlib import Path
from typing import Annotated

# Before the import, which fails if a notebook configured a backend that is not installed.
os.environ |= {"MPLBACKEND": "Agg", "MATPLOTLIBRC": os.devnull}

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image
from pydantic import Field

from common.files import read_arrays, write_bytes
from common.mnist import TEST, read_names
from common.results import read_metrics
from common.stage import run
from figures import cnn, surfaces, xor

DARK = ("cut", "xor_losses", "confusion", "filters")  # figures with a dark version


def png(figure, dpi):
    """Render a figure as PNG; equal figures give equal bytes."""
    figure.set_dpi(2 * dpi)
    figure.canvas.draw()
    drawn = Image.fromarray(np.asarray(figure.canvas.buffer_rgba()))
    plt.close(figure)
    # Averaging 2 × 2 pixels smooths edges. A palette of 256 colours makes the file a third of the
    # size. Pillow's default, median cut, distorts rare colours at the ends of a scale; maximum
    # coverage does not. k-means keeps greys grey.
    colours = drawn.convert("RGB").reduce(2).quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1)
    buffer = BytesIO()
    colours.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def main(
    dpi: Annotated[int, Field(ge=20, le=600)],
    elevation: Annotated[float, Field(ge=-90, le=90)],
    azimuth: Annotated[float, Field(ge=-360, le=360)],
    errors: Annotated[int, Field(ge=1, le=200)],
):
    view = {"elev": elevation, "azim": azimuth}
    fields, neuron = read_arrays("data/surfaces.npz"), read_metrics("surfaces")
    perceptron, training = read_arrays("data/xor.npz"), read_metrics("xor")
    history = pd.read_csv("data/network/history.csv")
    predictions = pd.read_csv("data/predictions.csv")
    test = read_arrays(TEST)
    name, classes = read_names(test)
    filters = read_arrays("data/network/weights.npz")["conv1.weight"]

    figures = {
        "sigmoid": lambda: surfaces.draw_sigmoid(fields, view),
        "relu": lambda: surfaces.draw_relu(fields, view),
        "cut": lambda: surfaces.draw_cut(fields),
        "descents": lambda: surfaces.draw_descents(fields, neuron),
        "xor_snapshots": lambda: xor.draw_snapshots(perceptron, training),
        "xor_losses": lambda: xor.draw_losses(perceptron),
        "history": lambda: cnn.draw_history(history, name),
        "confusion": lambda: cnn.draw_confusion(predictions, classes, name),
        "recall": lambda: cnn.draw_recall(predictions, classes, name),
        "errors": lambda: cnn.draw_errors(test["images"], predictions, classes, name, errors),
        "filters": lambda: cnn.draw_filters(filters, name),
    }
    here = Path(__file__).parent
    plt.switch_backend("Agg")  # even if Matplotlib was imported before this file
    plt.style.use(["default", here / "figures.mplstyle"])
    for file, draw in figures.items():
        write_bytes(f"reports/figures/{file}.png", png(draw(), dpi))
    with plt.style.context(here / "figures_dark.mplstyle"):
        for file in DARK:
            write_bytes(f"data/plots_dark/{file}.png", png(figures[file](), dpi))
    print(f"{len(figures)} figures in reports/figures/")
    return {}


if __name__ == "__main__":
    run(main, section="plots")
