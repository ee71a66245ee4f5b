"""Figures show the results of the stages and can be drawn even for unusual ones."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from PIL import Image
from workspaces import ROOT, small_params

import plots
import xor_train
from common.files import read_arrays
from common.statistics import recall_by_class
from figures import cnn, surfaces, xor

# Two errors: class 0 predicted as 1, and class 2 predicted as 0.
PREDICTIONS = pd.DataFrame(
    {"actual": [0, 0, 1, 2], "predicted": [1, 0, 1, 0], "probability": [0.6, 0.8, 0.7, 0.9]}
)


@pytest.fixture(autouse=True)
def figure_style():
    with plt.style.context(ROOT / "stages/figures.mplstyle"):
        yield
    plt.close("all")


def title_of(axes):
    return axes.get_title(loc="left")


def lines_of(axes):
    """The y values of each line with a label."""
    return {line.get_label(): line.get_ydata() for line in axes.lines if line.get_label()[0] != "_"}


def test_every_figure_is_complete_and_a_second_run_gives_equal_bytes(results, written):
    first = written()
    plots.main(**small_params()["plots"])
    assert written() == first
    names = {"confusion", "cut", "descents", "filters", "errors", "history", "recall", "relu"}
    names |= {"sigmoid", "xor_losses", "xor_snapshots"}
    light = {path.stem: path for path in (results / "reports/figures").iterdir()}
    dark = {path.stem: path for path in (results / "data/plots_dark").iterdir()}
    assert {*light} == names
    templates = "".join(path.read_text() for path in (ROOT / "stages/page").glob("*.html"))
    on_page = re.findall(r'call figure\("(\w+)"', templates)  # others are drawn by scripts
    assert {*dark} == {*plots.DARK} == {*on_page}
    for path in [*light.values(), *dark.values()]:
        with Image.open(path) as image:
            assert len(image.getcolors()) > 20, f"{path} is blank"
            pixels = np.asarray(image.convert("L")).astype(int)
            edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
            assert abs(edges - pixels[0, 0]).max() < 20, f"{path} is cut at an edge"
    with Image.open(light["sigmoid"]) as image:
        assert image.size == (10 * 30, 6 * 30)  # inches · dpi
    for name, path in dark.items():
        with Image.open(path) as image, Image.open(light[name]) as other:
            corners = [picture.convert("L").getpixel((0, 0)) for picture in (image, other)]
            assert corners[0] < 60
            assert corners[1] > 240


@pytest.mark.parametrize("line", [(1.0, -2.0, 0.5), (0.0, 3.0, 1.0), (-2.0, 0.0, 0.0)])
def test_the_decision_line_passes_through_points_with_output_one_half(line):
    line = np.array(line)
    for point in xor.two_points(line):
        assert line[:2] @ point + line[2] == pytest.approx(0)


def test_figures_without_errors_and_with_a_long_class_name_can_be_drawn(images):
    classes = ["T-shirt/top", *"123456789"]
    actual = np.arange(10)
    perfect = pd.DataFrame({"actual": actual, "predicted": actual, "probability": 0.9})
    pixels = np.zeros((10, 28, 28), np.uint8)
    for figure in (
        cnn.draw_errors(pixels, perfect, classes, "Digits", 8),
        cnn.draw_confusion(perfect, classes, "Digits"),
        cnn.draw_recall(perfect, classes, "Digits"),
    ):
        assert plots.png(figure, 30).startswith(b"\x89PNG")


def test_the_confusion_matrix_shows_actual_classes_in_rows_and_colours_errors():
    (axes,) = cnn.draw_confusion(PREDICTIONS, [*"abc"], "X").axes
    counts = {text.get_position(): text.get_text() for text in axes.texts}  # predicted, actual
    assert counts == {(1, 0): "1", (0, 0): "1", (1, 1): "1", (0, 2): "1"}
    coloured = np.argwhere(axes.images[0].get_array().filled(0) > 0)
    assert coloured.tolist() == [[0, 1], [2, 0]]
    assert axes.get_ylim() == (2.5, -0.5)  # class 0 at the top
    assert title_of(axes) == "X: 2 of 4 test images misclassified"


def test_recall_is_drawn_with_its_interval_and_compared_with_the_accuracy():
    (axes,) = cnn.draw_recall(PREDICTIONS, [*"abc"], "X").axes
    table = recall_by_class(PREDICTIONS)
    points, bars = axes.lines[-1], axes.collections[0].get_segments()
    assert [*points.get_xdata()] == table["recall"].tolist()
    np.testing.assert_allclose([segment[:, 0] for segment in bars], table[["low", "high"]])
    assert [segment[:, 1].tolist() for segment in bars] == [[0, 0], [1, 1], [2, 2]]
    assert axes.yaxis_inverted()
    assert axes.lines[0].get_xdata() == [0.5, 0.5]
    assert title_of(axes).endswith("accuracy inside the interval of every class")
    apart = pd.DataFrame({"actual": [0] * 40 + [1] * 40, "predicted": 0})
    (axes,) = cnn.draw_recall(apart, [*"ab"], "X").axes
    assert title_of(axes).endswith("inside the interval of 0 of 2 classes")


@pytest.mark.parametrize(("count", "title"), [(8, "all"), (1, "the 1 most confident of 2")])
def test_the_most_confident_errors_come_first(count, title):
    images = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((28, 28), np.uint8)
    figure = cnn.draw_errors(images, PREDICTIONS, [*"abc"], "X", count)
    shown = [(a.images[0].get_array().max(), a.get_title()) for a in figure.axes if a.images]
    assert shown == [(3, "c → a\np = 0.900"), (0, "a → b\np = 0.600")][:count]
    assert f"X: {title} errors on the test set" in figure.get_suptitle()


def test_each_filter_has_its_place_and_its_own_scale():
    weights = np.random.default_rng(0).normal(size=(32, 1, 5, 5))
    (axes,) = cnn.draw_filters(weights, "X").axes
    mosaic = axes.images[0].get_array()
    for k, weight in enumerate(weights[:, 0]):
        top, left = 6 * (k // 8), 6 * (k % 8)
        drawn = mosaic[top : top + 5, left : left + 5]
        np.testing.assert_allclose(drawn, weight / abs(weight).max())


def test_the_learning_curves_and_their_titles_are_the_history(computed):
    history = pd.read_csv(computed / "data/network/history.csv")
    losses, accuracies = cnn.draw_history(history, "X").axes
    for axes, suffix in ((losses, "loss"), (accuracies, "acc")):
        for split, (_, label, _) in cnn.SPLITS.items():
            assert lines_of(axes)[label].tolist() == history[f"{split}_{suffix}"].tolist()
        assert len({line.get_marker() for line in axes.lines}) == len(cnn.SPLITS)  # in greyscale
    test, val = history[["test_loss", "val_loss"]].iloc[-1]
    assert title_of(losses) == f"Final loss: test {test:.4f}, validation {val:.4f}"
    test, val = history[["test_acc", "val_acc"]].iloc[-1]
    assert title_of(accuracies) == f"Final accuracy: test {test:.2%}, validation {val:.2%}"


def test_surfaces_cross_sections_and_descents_show_the_fields_of_the_neuron(computed):
    fields = read_arrays(computed / "data/surfaces.npz")
    view = {"elev": 30, "azim": -60}
    panels = [*surfaces.draw_sigmoid(fields, view).axes, *surfaces.draw_relu(fields, view).axes]
    names = ("sigmoid", "l2", "l2_grad", "ce", "ce_grad", "relu", "relu_l2", "relu_l2_grad")
    for axes, name in zip(panels, names, strict=True):
        low, high = axes.get_zlim()
        assert low <= fields[name].min()
        assert fields[name].max() <= high < 1.2 * fields[name].max()
    for axes, suffix in zip(surfaces.draw_cut(fields).axes, ("", "_grad"), strict=True):
        drawn = lines_of(axes)
        for name, (_, label) in surfaces.LOSSES.items():
            np.testing.assert_array_equal(drawn[label], fields[f"cut_{name}{suffix}"])
    (axes,) = surfaces.draw_descents(fields, {"ce_steps": 17}).axes
    for name, (_, label) in surfaces.LOSSES.items():
        np.testing.assert_array_equal(lines_of(axes)[label], fields[f"descent_{name}"][1:])
    assert [line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1] == [">", "o"]
    ends = "cross-entropy 17 steps, L2 more than 3,000 steps"
    assert title_of(axes) == f"From w = b = 6 to the target: {ends}"


def test_snapshots_of_xor_show_the_activations_and_the_half_planes(computed):
    assert [*xor.POINTS.values()] == xor_train.Y.tolist()
    assert [*xor.POINTS] == [f"({x:.0f}, {y:.0f})" for x, y in xor_train.X]
    _, axes = plt.subplots()
    points = np.array([[-0.9, 0.1], [0.5, 0.7], [0.2, -0.3], [0.9, -0.8]])
    xor.draw_hidden_plane(axes, points, np.array([1, 3, -0.5]))
    (regions,), h = axes.images, np.linspace(-1.25, 1.25, 251)
    assert (regions.get_array() == (h[None] + 3 * h[:, None] > 0.5)).all()
    assert (regions.origin, regions.get_extent()) == ("lower", [-1.25, 1.25, -1.25, 1.25])
    assert axes.get_ylim() == (-1.25, 1.25)
    markers = [line for line in axes.lines if line.get_marker() in "os"]
    np.testing.assert_allclose([line.get_xydata()[0] for line in markers], points)
    assert [line.get_marker() for line in markers] == ["o", "s", "s", "o"]
    study = read_arrays(computed / "data/xor.npz")
    figure = xor.draw_snapshots(study, {"runs": [{"correct": 3}]})
    losses = [f"step {step}: loss {study['losses'][step]:.3g}" for step in (0, 20, 40, 60)]
    assert [title_of(axes) for axes in figure.axes[:4]] == losses
    assert "does not yet separate" in figure.get_suptitle()
    assert "line in the hidden plane separates" in (
        xor.draw_snapshots(study, {"runs": [{"correct": 4}]}).get_suptitle()
    )


def test_solved_and_unsolved_starts_are_counted_apart(computed):
    ends = {"final_losses": np.array([0.1, 0.1, 1.4]), "solved": np.array([True, True, False])}
    study = read_arrays(computed / "data/xor.npz") | ends
    curves, histogram = xor.draw_losses(study).axes
    np.testing.assert_array_equal(lines_of(curves)["tanh hidden layer"], study["losses"])
    np.testing.assert_array_equal(lines_of(curves)["no hidden activation"], study["linear_losses"])
    groups = zip(histogram.get_legend_handles_labels()[1], histogram.containers, strict=True)
    counts = {label: sum(bar.get_height() for bar in bars) for label, bars in groups}
    assert counts == {"solved": 2, "not solved": 1}
    assert title_of(histogram) == "66.7% of 3 random starts solve XOR"
