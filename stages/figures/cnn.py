"""Figures of the convolutional network."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator, PercentFormatter

from common.statistics import surest_mistakes

SPLITS = {"train": ("C0", "training"), "val": ("C1", "validation"), "test": ("C2", "test")}


def draw_history(history, name):
    """Loss and accuracy per epoch, each with all splits in one chart."""
    figure, (losses, accuracies) = plt.subplots(1, 2, figsize=(9.6, 3.7))
    for split, (color, label) in SPLITS.items():
        if history[f"{split}_loss"].notna().any():
            look = {"color": color, "label": label, "marker": "o", "markersize": 4}
            losses.plot(history["epoch"], history[f"{split}_loss"], **look)
            accuracies.plot(history["epoch"], history[f"{split}_acc"], **look)
    last = history.iloc[-1]
    for axes in (losses, accuracies):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    losses.set(xlabel="epoch", ylabel="cross-entropy", yscale="log")
    losses.set_title(
        f"Test loss {last['test_loss']:.4f} at the end, training {last['train_loss']:.4f}"
    )
    accuracies.set(xlabel="epoch", ylabel="accuracy")
    accuracies.yaxis.set_major_formatter(PercentFormatter(1))
    accuracies.set_title(
        f"Test accuracy {last['test_acc']:.2%} at the end, training {last['train_acc']:.2%}"
    )
    accuracies.legend(loc="lower right")
    figure.suptitle(f"Learning {name}, epoch by epoch", x=0.01, ha="left")
    return figure


def draw_confusion(predictions, classes, name):
    """How often each class was taken for each other, on a logarithmic scale."""
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (predictions["actual"], predictions["predicted"]), 1)
    figure, axes = plt.subplots(figsize=(7, 6.2))
    image = axes.imshow(np.where(counts, counts, np.nan), norm=LogNorm(1, counts.max()))
    for actual, predicted in np.argwhere(counts):
        count = counts[actual, predicted]
        light = np.mean(image.to_rgba(count)[:3]) > 0.55
        color = "0.1" if light else "white"
        axes.text(predicted, actual, count, ha="center", va="center", fontsize=8, color=color)
    label_classes(axes.xaxis, classes)
    label_classes(axes.yaxis, classes)
    axes.set(xlabel="predicted", ylabel="actual")
    axes.grid(visible=False)
    figure.colorbar(image, label="images (logarithmic)", shrink=0.8)
    errors = counts.sum() - counts.trace()
    axes.set_title(f"{name}: {errors} of {counts.sum():,} test images off the diagonal")
    return figure


def label_classes(axis, classes):
    """A tick for each class; slanted where the names are words."""
    words = max(map(len, classes)) > 2
    turn = {"rotation": 45, "ha": "right"} if words and axis.axis_name == "x" else {}
    axis.set_ticks(range(len(classes)), classes, **turn)


def draw_recall(recall, interval, classes, name):
    """Recall of each class, with the accuracy over all of them and its interval."""
    figure, axes = plt.subplots(figsize=(7, 4.2))
    accuracy, low, high = interval
    axes.axvspan(low, high, color="C2", alpha=0.15, linewidth=0, label="95% interval")
    axes.axvline(accuracy, color="C2", label=f"accuracy {accuracy:.2%}")
    axes.hlines(
        range(len(classes)), min(recall), recall, color=plt.rcParams["grid.color"], linewidth=1
    )
    axes.plot(recall, range(len(classes)), "o", color="C0", markersize=7)
    label_classes(axes.yaxis, classes)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.set(xlabel="recall: share of the class that was recognised", ylabel="class")
    worst = int(np.argmin(recall))
    missed = f"class {classes[worst]} is missed most, {1 - recall[worst]:.2%} of it"
    axes.set_title(f"{name}: {missed if recall[worst] < 1 else 'every image was recognised'}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure


def draw_mistakes(images, predictions, classes, name, count):
    """The mistakes made with the greatest confidence, each with both classes and its p."""
    wrong = (predictions["actual"] != predictions["predicted"]).sum()
    worst = surest_mistakes(predictions, count)
    columns = 8
    rows = max(1, -(-len(worst) // columns))
    figure, grid = plt.subplots(rows, columns, figsize=(10, 1.6 * rows + 0.4), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (index, row) in zip(grid.flat, worst.iterrows(), strict=False):
        axes.imshow(images[index], cmap="gray_r")
        actual, predicted = classes[int(row["actual"])], classes[int(row["predicted"])]
        title = f"{actual} taken for {predicted}\np = {row['probability']:.3f}"
        axes.set_title(title, fontsize=8, fontweight="normal", loc="center")
    shown = f"the {len(worst)} surest of" if len(worst) < wrong else "all"
    figure.suptitle(f"{name}: {shown} {wrong} mistakes on the test set")
    return figure


def draw_filters(weights, name):
    """The 32 filters (32, 1, 5, 5) of the first layer, all on one scale."""
    figure, grid = plt.subplots(4, 8, figsize=(9, 4.6))
    largest = abs(weights).max()
    for axes, kernel in zip(grid.flat, weights[:, 0], strict=True):
        image = axes.imshow(kernel, cmap="coolwarm", vmin=-largest, vmax=largest)
        axes.set_axis_off()
    figure.colorbar(image, ax=grid, label="weight", shrink=0.8)
    figure.suptitle(f"The 32 filters of the first layer, learned from {name}")
    return figure
