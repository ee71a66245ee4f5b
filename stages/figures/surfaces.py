"""Figures of one neuron: its output, losses and gradients over the (weight, bias) plane."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

LOSSES = {"l2": ("C0", "L2"), "ce": ("C3", "cross-entropy")}


def draw_surface(axes, surfaces, name, title, view):
    """A field as a surface; gradients use a diverging colour map centred at zero."""
    field = surfaces[name]
    look = {"cmap": "viridis"}
    if name.endswith("grad"):
        largest = abs(field).max()
        look = {"cmap": "coolwarm", "vmin": -largest, "vmax": largest}
    weight, bias = surfaces["weight"][:, None], surfaces["bias"][None]
    # Antialiasing shows hairlines between faces; plots.py smooths the edges instead.
    axes.plot_surface(
        weight, bias, field, rcount=60, ccount=60, linewidth=0, antialiased=False, **look
    )
    axes.view_init(**view)
    axes.set_box_aspect((4, 4, 3), zoom=1.12)
    axes.set(xlabel="weight w", ylabel="bias b")
    axes.set_title(title, y=0.98)
    if not name.endswith("grad"):
        axes.set_zlim(0, 1.001 * field.max())  # includes the tick 1.0, which σ does not reach
    axes.zaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(labelsize=7, pad=-1)
    axes.tick_params("z", pad=3)
    axes.xaxis.labelpad = axes.yaxis.labelpad = -2
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.pane.set_facecolor(plt.rcParams["axes.facecolor"])


def draw_sigmoid(surfaces, view):
    """The sigmoid neuron: output, and loss and gradient of L2 and cross-entropy."""
    figure = plt.figure(figsize=(10, 6))
    # The layout engine ignores the labels of 3-D axes; leave room for the lowest ones.
    figure.get_layout_engine().set(rect=(0, 0.03, 1, 0.97))
    grid = figure.add_gridspec(2, 3, width_ratios=(1.35, 1, 1))
    l2_grad, ce_grad = (
        f"{field.min():.3g} to {field.max():.3g}".replace("-", "−")
        for field in (surfaces["l2_grad"], surfaces["ce_grad"])
    )
    panels = [
        (grid[:, 0], "sigmoid", "Output ŷ = σ(w + b)"),
        (grid[0, 1], "l2", f"L2: saturates, at most {surfaces['l2'].max():.2g}"),
        (grid[0, 2], "l2_grad", f"∂L2/∂w: vanishes, {l2_grad}"),
        (grid[1, 1], "ce", f"CE: keeps growing, at least {surfaces['ce'].min():.2g}"),
        (grid[1, 2], "ce_grad", f"∂CE/∂w: does not vanish, {ce_grad}"),
    ]
    for place, name, title in panels:
        draw_surface(figure.add_subplot(place, projection="3d"), surfaces, name, title, view)
    neuron = f"One sigmoid neuron, input 1, target {surfaces['target']:g}"
    title = f"{neuron}: L2 saturates, cross-entropy (CE) does not"
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def draw_relu(surfaces, view):
    """The assignment's worked example: a ReLU neuron with L2 loss."""
    figure = plt.figure(figsize=(10, 3.7))
    panels = [
        ("relu", "Output ŷ = max(0, w + b)"),
        ("relu_l2", f"L2 loss: up to {surfaces['relu_l2'].max():.10g}"),
        ("relu_l2_grad", "∂L2/∂w: exactly 0 where w + b < 0"),
    ]
    for place, (name, title) in enumerate(panels, 1):
        axes = figure.add_subplot(1, 3, place, projection="3d")
        draw_surface(axes, surfaces, name, title, view)
    neuron = f"One ReLU neuron, input 1, target {surfaces['target']:g}"
    figure.suptitle(f"{neuron}: no gradient on half of the plane", x=0.01, ha="left")
    return figure


def draw_cut(surfaces):
    """Both losses of the sigmoid neuron and their gradients along the weight, at bias 0."""
    figure, panels = plt.subplots(1, 2, figsize=(9.6, 3.7))
    for axes, suffix in zip(panels, ("", "_grad"), strict=True):
        for name, (color, label) in LOSSES.items():
            field = surfaces[f"cut_{name}{suffix}"]
            axes.plot(surfaces["weight"], field, color=color, label=label)
            axes.annotate(
                f"{field[-1]:.3g}",
                (surfaces["weight"][-1], field[-1]),
                (4, 0),
                textcoords="offset points",
                va="bottom",
                color=color,
            )
        axes.set_xlabel("weight w, at bias b = 0")
    loss, slope = panels
    loss.set(ylabel="loss", ylim=0)
    loss.set_title("Loss: L2 saturates, cross-entropy keeps growing")
    slope.axhline(0, color=plt.rcParams["axes.edgecolor"], linewidth=0.8)
    slope.set_ylabel("∂loss/∂w")
    slope.set_title("Gradient: L2's vanishes, cross-entropy's does not")
    loss.legend(loc="upper center")
    title = f"Cross-section of both surfaces, target {surfaces['target']:g}"
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def draw_descents(surfaces, metrics):
    """The neuron's output during gradient descent on each loss, from the farthest corner."""
    figure, axes = plt.subplots(figsize=(9.6, 3.4))
    target, start = surfaces["target"], surfaces["start"]
    axes.axhline(target, color=plt.rcParams["axes.edgecolor"], linestyle=":", linewidth=1.2)
    arrivals, both = [], np.concatenate([surfaces[f"descent_{name}"] for name in LOSSES])
    for name, (color, label) in LOSSES.items():
        outputs = surfaces[f"descent_{name}"]
        arrived = f"{name}_steps" in metrics
        arrivals.append(f"{label} {'' if arrived else 'more than '}{len(outputs) - 1:,} steps")
        axes.plot(range(1, len(outputs)), outputs[1:], color=color, label=label)
        axes.plot(len(outputs) - 1, outputs[-1], "o" if arrived else ">", color=color)
    axes.annotate("target", (1, target), (0, 5), textcoords="offset points")
    axes.set(xscale="log", xlabel="gradient step (logarithmic)", ylabel="output ŷ")
    axes.set_ylim(min(target, both.min()) - 0.05, max(target, both.max()) + 0.05)
    axes.set_title(f"From w = b = {start:g} to the target: {', '.join(reversed(arrivals))}")
    axes.legend(loc="center left", bbox_to_anchor=(0.35, 0.55))
    return figure
