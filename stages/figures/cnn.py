"""Figures of the convolutional network."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from common.statistics import most_confident_errors, recall_by_class

SPLITS = {
    "train": ("C0", "training, in train mode", "o"),
    "val": ("C1", "validation", "s"),
    "test": ("C2", "test", "^"),
}


def draw_history(history, name):
    """Loss and accuracy of all splits per epoch."""
    figure, (losses, accuracies) = plt.subplots(1, 2, figsize=(9.6, 3.7))
    for split, (color, label, marker) in SPLITS.items():
        if history[f"{split}_loss"].notna().any():
            look = {"color": color, "label": label, "marker": marker, "markersize": 5}
            losses.plot(history["epoch"], history[f"{split}_loss"], **look)
            accuracies.plot(history["epoch"], history[f"{split}_acc"], **look)
    for axes in (losses, accuracies):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
    losses.set(ylabel="cross-entropy", yscale="log")
    losses.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    losses.yaxis.set_major_formatter("{x:g}")
    losses.yaxis.set_minor_formatter(NullFormatter())
    accuracies.set_ylabel("accuracy")
    accuracies.yaxis.set_major_formatter(PercentFormatter(1))
    last = history.iloc[-1]
    other = "train" if np.isnan(last["val_loss"]) else "val"
    label = SPLITS[other][1].split(",")[0]
    loss, accuracy = last[f"{other}_loss"], last[f"{other}_acc"]
    losses.set_title(f"Final loss: test {last['test_loss']:.4f}, {label} {loss:.4f}")
    accuracies.set_title(f"Final accuracy: test {last['test_acc']:.2%}, {label} {accuracy:.2%}")
    accuracies.legend(loc="lower right")
    figure.suptitle(f"Training on {name}", x=0.01, ha="left")
    return figure


def draw_confusion(predictions, classes, name):
    """The confusion matrix; only errors are coloured."""
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (predictions["actual"], predictions["predicted"]), 1)
    figure, axes = plt.subplots(figsize=(6.6, 6.2))
    errors = np.where(np.eye(len(classes)), 0, counts)
    most = max(1, errors.max())
    axes.imshow(np.where(errors, errors, np.nan), cmap="Oranges", vmin=0, vmax=1.5 * most)
    for actual, predicted in np.argwhere(counts):
        look = {"ha": "center", "va": "center", "fontsize": 8, "color": "black"}
        if actual == predicted:
            look |= {"color": plt.rcParams["text.color"], "fontweight": "bold"}
        axes.text(predicted, actual, f"{counts[actual, predicted]:,}", **look)
    label_classes(axes.xaxis, classes)
    label_classes(axes.yaxis, classes)
    axes.set(xlabel="predicted", ylabel="actual")
    axes.grid(visible=False)
    edges = np.arange(len(classes) + 1) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor")
    axes.tick_params(which="minor", length=0)
    axes.set_title(f"{name}: {errors.sum():,} of {counts.sum():,} test images misclassified")
    return figure


def label_classes(axis, classes):
    """One tick per class; long names on the x-axis are rotated."""
    words = max(map(len, classes)) > 2
    turn = {"rotation": 45, "ha": "right"} if words and axis.axis_name == "x" else {}
    axis.set_ticks(range(len(classes)), classes, **turn)


def draw_recall(predictions, classes, name):
    """Recall of each class with its 95% interval, and the overall accuracy."""
    overall = (predictions["actual"] == predictions["predicted"]).mean()
    table = recall_by_class(predictions)
    recall, low, high = table["recall"], table["low"], table["high"]
    figure, axes = plt.subplots(figsize=(7, 4.2))
    axes.axvline(overall, color="C2", label=f"overall accuracy, {overall:.2%}")
    axes.errorbar(
        recall,
        table.index,
        xerr=[abs(recall - low), abs(high - recall)],  # rounding may make the differences -1e-17
        fmt="o",
        markersize=6,
        elinewidth=1.4,
        label="recall with 95% interval",
    )
    label_classes(axes.yaxis, classes)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.set(xlabel="recall: correct fraction of the class", ylabel="class")
    within = ((low <= overall) & (overall <= high)).sum()
    outcome = "every class" if within == len(classes) else f"{within} of {len(classes)} classes"
    axes.set_title(f"{name}: overall accuracy inside the interval of {outcome}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure


def draw_errors(images, predictions, classes, name, count):
    """The most confident errors, each with its classes and the predicted one's probability."""
    total = (predictions["actual"] != predictions["predicted"]).sum()
    worst = most_confident_errors(predictions, count)
    columns = 8
    rows = max(1, -(-len(worst) // columns))
    figure, grid = plt.subplots(rows, columns, figsize=(10, 1.6 * rows + 0.4), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (index, row) in zip(grid.flat, worst.iterrows(), strict=False):
        axes.imshow(images[index], cmap="gray_r")
        actual, predicted = classes[int(row["actual"])], classes[int(row["predicted"])]
        title = f"{actual} → {predicted}\np = {row['probability']:.3f}"
        axes.set_title(title, fontsize=8, fontweight="normal", loc="center")
    shown = f"the {len(worst)} most confident of {total}" if len(worst) < total else "all"
    title = f"{name}: {shown if total else 'no'} errors on the test set (label → prediction)"
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def draw_filters(weights, name):
    """The filters (32, 1, 5, 5) of the first layer, each with its own scale."""
    largest = abs(weights).max((2, 3), keepdims=True).clip(min=1e-30)
    framed = np.pad((weights / largest)[:, 0], ((0, 0), (1, 0), (1, 0)), constant_values=np.nan)
    mosaic = framed.reshape(4, 8, 6, 6).swapaxes(1, 2).reshape(4 * 6, 8 * 6)[1:, 1:]
    figure, axes = plt.subplots(figsize=(8, 4.4))
    axes.imshow(mosaic, cmap="coolwarm", vmin=-1, vmax=1)
    axes.set_axis_off()
    title = f"The 32 filters of the first layer, trained on {name}; blue is negative"
    figure.suptitle(title, x=0.01, ha="left")
    return figure
