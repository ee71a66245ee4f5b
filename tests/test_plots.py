import numpy as np
import pytest
from conftest import small_params
from PIL import Image

import cnn_train
import evaluate
import plots
import surfaces
import xor_train
from figures import cnn, xor


def test_every_figure_is_drawn_with_equal_bytes_twice(images, written):
    parameters = small_params()
    for stage, section in ((surfaces, "surfaces"), (xor_train, "xor"), (cnn_train, "train")):
        stage.main(**parameters[section])
    evaluate.main(**parameters["evaluate"])
    plots.main(**parameters["plots"])
    first = written()
    plots.main(**parameters["plots"])
    assert written() == first
    names = "confusion filters history mistakes recall relu sigmoid xor_losses xor_snapshots"
    drawn = sorted((images / "reports/figures").iterdir())
    assert [path.stem for path in drawn] == names.split()
    for path in drawn:
        with Image.open(path) as image:
            assert len(image.getcolors()) > 20, f"{path.name} is blank"


@pytest.mark.parametrize("line", [(1.0, -2.0, 0.5), (0.0, 3.0, 1.0), (-2.0, 0.0, 0.0)])
def test_the_line_is_drawn_through_points_where_the_output_is_one_half(line):
    line = np.array(line)
    for point in xor.two_points(line):
        assert line[:2] @ point + line[2] == pytest.approx(0)


def test_a_network_without_mistakes_and_a_class_with_a_long_name_can_be_drawn(images):
    import pandas as pd

    classes = ["T-shirt/top", *"123456789"]
    actual = np.arange(10)
    perfect = pd.DataFrame({"actual": actual, "predicted": actual, "probability": 0.9})
    pixels = np.zeros((10, 28, 28), np.uint8)
    for figure in (
        cnn.draw_mistakes(pixels, perfect, classes, "Digits", 8),
        cnn.draw_confusion(perfect, classes, "Digits"),
        cnn.draw_recall([1.0] * 10, (1.0, 0.72, 1.0), classes, "Digits"),
    ):
        assert plots.png(figure, 30).startswith(b"\x89PNG")
