"""Every figure can be drawn, even for unusual results."""

import re

import numpy as np
import pytest
from PIL import Image
from workspaces import ROOT, small_params

import plots
from figures import cnn, xor


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
    import pandas as pd

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
