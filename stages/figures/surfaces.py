"""Figures of one neuron: its output, losses and gradients over the (weight, bias) plane."""

import matplotlib.pyplot as plt


def draw_surface(axes, surfaces, name, title, view):
    """One field as a surface; gradients in two colours that meet at zero."""
    field = surfaces[name]
    look = {"cmap": "viridis"}
    if name.endswith("grad"):
        largest = abs(field).max()
        look = {"cmap": "coolwarm", "vmin": -largest, "vmax": largest}
    weight, bias = surfaces["weight"][:, None], surfaces["bias"][None]
    # Antialiased faces would show hairlines between them; plots.py smooths the edges.
    axes.plot_surface(
        weight, bias, field, rcount=60, ccount=60, linewidth=0, antialiased=False, **look
    )
    axes.view_init(**view)
    axes.set_box_aspect((4, 4, 3), zoom=1.12)
    axes.set(xlabel="weight w", ylabel="bias b")
    axes.set_title(title, y=0.98)
    axes.tick_params(labelsize=7, pad=-1)
    axes.xaxis.labelpad = axes.yaxis.labelpad = -2
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.pane.set_facecolor("white")


def draw_sigmoid(surfaces, metrics, view):
    """The sigmoid neuron: output, and loss and gradient for L2 and for cross-entropy."""
    figure = plt.figure(figsize=(12, 7.4))
    grid = figure.add_gridspec(2, 3)
    panels = [
        (grid[:, 0], "sigmoid", "Output ŷ = σ(w + b)"),
        (grid[0, 1], "l2", f"L2: flat far away, at most {metrics['l2_max']:.2f}"),
        (grid[0, 2], "l2_grad", f"∂L2/∂w: vanishes, at most {metrics['l2_grad_max']:.3f}"),
        (grid[1, 1], "ce", f"Cross-entropy: up to {metrics['ce_max']:.2f}, still rising"),
        (
            grid[1, 2],
            "ce_grad",
            f"∂CE/∂w: stays, from {metrics['ce_grad_min']:.2f} to {metrics['ce_grad_max']:.2f}",
        ),
    ]
    for place, name, title in panels:
        draw_surface(figure.add_subplot(place, projection="3d"), surfaces, name, title, view)
    target = surfaces["target"]
    figure.suptitle(
        f"One sigmoid neuron, input 1, target {target:g}: L2 goes flat, cross-entropy does not"
    )
    return figure


def draw_relu(surfaces, metrics, view):
    """The worked example: a ReLU neuron under the L2 loss."""
    figure = plt.figure(figsize=(12, 4.4))
    panels = [
        ("relu", "Output ŷ = max(0, w + b)"),
        ("relu_l2", f"L2 loss: up to {metrics['relu_l2_max']:g}"),
        ("relu_l2_grad", "∂L2/∂w: exactly 0 where w + b < 0"),
    ]
    for place, (name, title) in enumerate(panels, 1):
        axes = figure.add_subplot(1, 3, place, projection="3d")
        draw_surface(axes, surfaces, name, title, view)
    target = surfaces["target"]
    figure.suptitle(
        f"One ReLU neuron, input 1, target {target:g}: no gradient on half of the plane"
    )
    return figure
