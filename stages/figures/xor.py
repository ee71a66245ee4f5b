"""Figures of the XOR perceptron."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patheffects import withStroke

CLASSES = ["C0", "C1"]  # colours of the labels 0 and 1
POINTS = {"(0, 0)": 0, "(0, 1)": 1, "(1, 0)": 1, "(1, 1)": 0}  # input to label


def draw_hidden_plane(axes, hidden, line):
    """The hidden activations (4, 2) of the points, and the half-planes of the line (3,)."""
    h = np.linspace(-1.25, 1.25, 251)
    predicted = line[0] * h[None, :] + line[1] * h[:, None] + line[2] > 0
    edges = (h[0], h[-1], h[0], h[-1])
    regions = ListedColormap(CLASSES)
    axes.imshow(predicted, origin="lower", extent=edges, cmap=regions, vmin=0, vmax=1, alpha=0.25)
    axes.axline(*two_points(line), color=plt.rcParams["text.color"], linewidth=1.2)
    for label, (x, y) in zip(POINTS.values(), hidden, strict=True):
        look = {"markeredgecolor": plt.rcParams["axes.facecolor"], "markersize": 9}
        axes.plot(x, y, "os"[label], color=CLASSES[label], **look)
    for label, (x, y), below in place_labels(hidden):
        align = "left" if x < -0.6 else "right" if x > 0.6 else "center"
        shift = ({"left": -8, "right": 8}.get(align, 0), -8 if below else 8)
        place = {"ha": align, "va": "top" if below else "bottom", "fontsize": 7}
        text = axes.annotate(label, (x, y), shift, textcoords="offset points", **place)
        text.set_path_effects([withStroke(linewidth=2, foreground=plt.rcParams["axes.facecolor"])])
    axes.set(xlim=edges[:2], ylim=edges[2:], xlabel="h₁", ylabel="h₂", aspect="equal")
    axes.grid(visible=False)


def place_labels(hidden):
    """Yield text, position and whether it goes below, for points (4, 2).

    A label goes on the side away from the nearest point. Coinciding points share a label.
    """
    gaps = np.linalg.norm(hidden[:, None] - hidden, axis=2) + np.diag([np.inf] * len(hidden))
    for k, label in enumerate(POINTS):
        (x, y), (_, next_y) = hidden[k], hidden[gaps[k].argmin()]
        met = gaps[k] < 0.2
        if not met[:k].any():
            names = [label, *(other for other, near in zip(POINTS, met, strict=True) if near)]
            yield "\n".join(names), (x, y), not met.any() and next_y > y > -0.92


def two_points(line):
    """Two points of v1 h1 + v2 h2 + c = 0; the first is the closest to the origin."""
    normal, c = line[:2], line[2]
    foot = -c * normal / (normal @ normal)
    return foot, foot + np.array([-normal[1], normal[0]])


def draw_snapshots(xor, metrics):
    """The hidden activations of the four points and the output layer's line at each snapshot."""
    columns = 4
    steps = xor["snapshots"]
    rows = -(-(len(steps) + 1) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(10, 2.75 * rows), squeeze=False)
    panels = list(grid.flat)
    for axes, step, loss, hidden, line in zip(
        panels, steps, xor["losses"][steps], xor["hidden"][steps], xor["line"][steps], strict=False
    ):
        draw_hidden_plane(axes, hidden, line)
        axes.set_title(f"step {step:,}: loss {loss:.3g}", fontsize=9)
    legend = panels[len(steps)]
    for label, marker in enumerate("os"):
        legend.plot([], [], marker, color=CLASSES[label], markersize=9, label=f"XOR = {label}")
    legend.plot(
        [],
        [],
        color=plt.rcParams["text.color"],
        linewidth=1.2,
        label="v₁h₁ + v₂h₂ + c = 0, where ŷ = ½",
    )
    legend.legend(loc="center left", title="Plane of the two hidden units", alignment="left")
    for axes in panels[len(steps) :]:
        axes.set_axis_off()
    solved = metrics["runs"][0]["correct"] == len(POINTS)
    outcome = "separates" if solved else "does not yet separate"
    title = f"XOR: the line in the hidden plane {outcome} the two classes"
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def draw_losses(xor):
    """The loss with and without hidden activation, and the final losses of the random starts."""
    guide = {"color": plt.rcParams["axes.edgecolor"], "linestyle": ":", "linewidth": 1.2}
    figure, (curves, ends) = plt.subplots(1, 2, figsize=(9.6, 3.7))
    curves.plot(xor["losses"], label="tanh hidden layer")
    curves.plot(xor["linear_losses"], color="C3", label="no hidden activation")
    curves.axhline(4 * np.log(2), **guide)
    curves.annotate(
        "4 ln 2: all outputs are ½",
        (len(xor["losses"]), 4 * np.log(2)),
        (0, 5),
        textcoords="offset points",
        ha="right",
    )
    curves.set(xlabel="step", ylabel="loss, summed over the four points", ylim=0)
    curves.set_title(f"Without tanh the lowest loss is {xor['linear_losses'].min():.4f}")
    curves.legend(loc="center right")

    final, solved = xor["final_losses"], xor["solved"]
    bins = np.linspace(0, max(3, final.max()), 61)
    ends.hist(
        [final[solved], final[~solved]],
        bins,
        stacked=True,
        color=["C0", "C3"],
        label=["solved", "not solved"],
    )
    for k in (1, 2):
        level = 2 * k * np.log(2)
        ends.axvline(level, **guide)
        ends.annotate(
            f"{2 * k} ln 2",
            (level, 0.8),
            (4, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
        )
    ends.set_title(f"{solved.mean():.1%} of {len(final):,} random starts solve XOR")
    ends.set(xlabel="loss after the last step", ylabel="number of starts")
    ends.legend(loc="center right", bbox_to_anchor=(0.86, 0.5))
    return figure
