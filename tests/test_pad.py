"""The drawing pad and the feature maps work by mouse, touch and keyboard."""

import math
import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from browsing import CHROMIUM, touch
from playwright.sync_api import expect

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")
PERCENT = (
    "[...document.querySelectorAll('#bars .probability')].map(bar => parseFloat(bar.textContent))"
)
INK = "[...readInk(document.getElementById('drawing').getContext('2d'))].filter(Boolean).length"


def place(page, selector, x, y):
    """The window coordinates of the point at fractions x and y of an element."""
    box = page.locator(selector).bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def draw(page, start, end):
    """Draw a line on the pad with the mouse, between points at fractions of its sides."""
    page.mouse.move(*place(page, "#drawing", *start))
    page.mouse.down()
    page.mouse.move(*place(page, "#drawing", *end), steps=5)
    page.mouse.up()


def probabilities(page):
    page.wait_for_timeout(150)
    return page.evaluate(PERCENT)


@pytest.mark.slow
def test_the_probabilities_update_while_the_mouse_draws(open_page):
    page = open_page()
    page.locator("#clear").click()
    assert probabilities(page) == [0] * 10
    assert page.locator("#prediction").inner_text() == "Nothing drawn yet"
    page.mouse.move(*place(page, "#drawing", 0.5, 0.2))
    page.mouse.down()
    page.mouse.move(*place(page, "#drawing", 0.5, 0.5), steps=5)
    first = probabilities(page)
    assert sum(first) == pytest.approx(100, abs=0.6)
    widths = "all => all.map((bar) => parseFloat(bar.style.width))"
    assert page.locator("#bars .fill").evaluate_all(widths) == first
    page.mouse.move(*place(page, "#drawing", 0.8, 0.5), steps=5)
    assert probabilities(page) != first
    page.mouse.up()
    drawn = page.evaluate(INK)
    page.mouse.move(*place(page, "#drawing", 0.2, 0.8), steps=5)  # without a pressed button
    assert page.evaluate(INK) == drawn


@pytest.mark.slow
def test_a_finger_draws_without_scrolling_the_page(open_page):
    page = open_page(390, has_touch=True, is_mobile=True)
    points = [place(page, "#drawing", 0.5, y / 10) for y in range(1, 10)]
    touch(page, points)
    page.wait_for_timeout(150)
    assert page.evaluate("scrollY") == 0
    assert page.locator("#choice").input_value() == ""  # the drawing replaced the example
    assert page.evaluate(INK) > 1000


@pytest.mark.slow
def test_a_tap_draws_a_dot_and_a_second_finger_is_ignored(open_page):
    page = open_page(390, has_touch=True, is_mobile=True)
    page.locator("#clear").tap()
    page.locator("#pen-width").press("End")  # 40
    page.locator("#drawing").scroll_into_view_if_needed()
    touch(page, [place(page, "#drawing", 0.2, 0.2)])
    assert page.evaluate(INK) == pytest.approx(math.pi * 20**2, rel=0.1)
    session = page.context.new_cdp_session(page)
    for kind, ends in (
        ("touchStart", [0.3]),
        ("touchStart", [0.3, 0.8]),
        ("touchMove", [0.6, 0.9]),
    ):
        fingers = [(0.2, ends[0]), (0.8, ends[-1])][: len(ends)]
        points = [dict(zip("xy", place(page, "#drawing", *at), strict=True)) for at in fingers]
        numbered = [point | {"id": k} for k, point in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": numbered})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    pen = "document.getElementById('drawing').getContext('2d')"
    assert page.evaluate(f"!readInk({pen}).some((ink, k) => ink && k % 280 > 140)")


@pytest.mark.slow
def test_the_pads_controls_have_an_effect_or_are_disabled(open_page):
    page = open_page()
    assert page.locator("#centred").is_disabled()  # a test image is centred
    page.locator("#eraser").check()
    page.locator("#choice").select_option("")
    assert page.locator("#prediction").inner_text() == "Nothing drawn yet"
    assert page.locator("#centred").is_enabled()
    assert not page.locator("#eraser").is_checked()


@pytest.mark.slow
def test_the_pad_leads_back_to_the_selected_error(open_page):
    page = open_page()
    back, error = page.locator("#pad-back"), page.locator("button[data-input]").last
    assert not back.is_visible()
    error.press("Enter")
    back.press("Enter")
    expect(error).to_be_focused()
    expect(error).to_be_in_viewport()


@pytest.mark.slow
def test_the_first_screen_shows_headline_pad_and_questions(open_page):
    for width in (390, 1280):
        page = open_page(width)
        for selector in ("#headline", "#pad", "nav li:nth-child(3)"):
            box = page.locator(selector).bounding_box()
            assert box["y"] + box["height"] <= page.viewport_size["height"], (width, selector)


def test_high_contrast_keeps_the_colours_that_carry_data(open_page):
    """The ink is black, also if the system replaces the background of the page by black."""
    page = open_page(scheme="dark", forced_colors="active")
    background = "element => getComputedStyle(element).backgroundColor"
    assert page.locator("body").evaluate(background) == "rgb(0, 0, 0)"
    for selector in ("#drawing", "#input"):
        assert page.locator(selector).evaluate(background) == "rgb(242, 242, 238)"
    weight = page.locator("#maps .values td").first
    assert weight.evaluate("cell => getComputedStyle(cell).color") == "rgb(0, 0, 0)"
    assert weight.evaluate(background) != "rgb(0, 0, 0)"


@pytest.mark.slow
def test_the_keyboard_chooses_test_images(open_page):
    page = open_page()
    choice = page.locator("#choice")
    choice.focus()
    choice.press("ArrowDown")
    page.wait_for_timeout(150)
    assert choice.input_value() == "1"
    assert page.locator("#prediction").inner_text().endswith("label: 1")
    pixels = page.evaluate("decodeBytes(data.network.inputs[1].pixels).filter(Boolean).length")
    assert page.evaluate(INK) == 100 * pixels  # each pixel of the image is 10 × 10 on the pad
    assert page.evaluate("""[...decodeBytes(data.network.inputs[1].pixels)].join() ===
        readInk(document.getElementById("input").getContext("2d")).join()""")


@pytest.mark.slow
def test_drawing_over_an_error_changes_its_probabilities(open_page):
    page = open_page()
    button = page.locator("button[data-input]").first
    button.focus()
    button.press("Enter")
    before = probabilities(page)
    actual, predicted = button.locator("strong").all_inner_texts()
    expect(button).to_have_accessible_name(
        re.compile(f"^Test image \\d+ {actual}, predicted {predicted} {predicted}: .*%$")
    )
    assert page.locator("#prediction").inner_text().startswith(f"Prediction: {predicted}")
    page.wait_for_timeout(600)  # until the page has scrolled to the pad
    draw(page, (0.2, 0.5), (0.8, 0.5))
    after = probabilities(page)
    assert after != before
    page.locator("#eraser").check()
    ink = page.evaluate(INK)
    draw(page, (0.2, 0.5), (0.8, 0.5))
    assert page.evaluate(INK) < ink


@pytest.mark.slow
def test_centring_can_be_switched_off(open_page):
    page = open_page()
    page.locator("#clear").click()
    draw(page, (0.1, 0.1), (0.1, 0.4))
    centred = probabilities(page)
    page.locator("#centred").press("Space")
    assert probabilities(page) != centred


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mouse", "touch"])
def test_a_map_and_a_pixel_are_selected_by_pointer(open_page, kind):
    settings = {"has_touch": True, "is_mobile": True} if kind == "touch" else {}
    page = open_page(390 if kind == "touch" else 1280, **settings)
    page.locator("#layer").select_option("conv2")
    page.locator("#grid").scroll_into_view_if_needed()
    page.wait_for_timeout(600)
    assert page.locator("#map-shape").inner_text() == "32 × 14 × 14"
    press = page.touchscreen.tap if kind == "touch" else page.mouse.click
    columns = 8 if kind == "touch" else 16
    row, column = divmod(19, columns)
    press(*place(page, "#grid", (column + 0.75) / columns, (row + 0.25) / (32 // columns)))
    fields = ("channel", "row", "column")
    assert [page.locator(f"#{n}").input_value() for n in fields] == ["19", "3", "10"]
    page.locator("#output-map").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    press(*place(page, "#output-map", 0.99, 0.01))
    assert page.locator("#row").input_value() == "0"
    assert page.locator("#column").input_value() == "13"
    for name in ("Patch of the input", "Kernel"):
        assert page.get_by_role("table", name=name, exact=True).get_by_role("cell").count() == 25


@pytest.mark.slow
def test_the_keyboard_selects_layer_map_and_pixel(open_page):
    page = open_page()
    page.locator("#choice").select_option("1")
    layer = page.locator("#layer")
    layer.focus()
    layer.press("End")
    assert layer.input_value() == "linear2"
    assert not page.locator("#row").is_visible()  # a vector has no rows
    name, probability = (
        page.locator(f"#bars .best .{n}").inner_text() for n in ("class", "probability")
    )
    computation = re.compile(f"^Σ input × weight .*→ {name}: {probability}$")
    expect(page.locator("#steps")).to_contain_text(computation)
    layer.select_option("relu3")
    for field in ("channel", "row", "column", "part"):
        page.locator(f"#{field}").fill("0")
        page.locator(f"#{field}").press("ArrowUp")
        assert page.locator(f"#{field}").input_value() == "1"
        page.locator(f"#{field}").fill("2.5")
        assert page.locator(f"#{field}").input_value() == "2"
    steps = page.locator("#steps")
    expect(steps).to_contain_text("over all 32 input channels")
    expect(steps).to_contain_text("ReLU →")
    assert page.messages == []


@pytest.mark.slow
def test_the_largest_value_is_selected_first_and_its_computation_adds_up(open_page):
    page = open_page()
    page.locator("#layer").select_option("relu2")
    page.locator("#maps").scroll_into_view_if_needed()
    expect(page.locator("#map-shape")).to_have_text("32 × 14 × 14")
    pool1, relu2, weight, bias = (
        np.array(values)
        for values in page.evaluate("""() => {
            const pixels = Float32Array.from(decodeBytes(data.network.inputs[0].pixels));
            const { pool1, relu2 } = forward(network, pixels);
            return [pool1, relu2, network.conv2.weight, network.conv2.bias].map((a) => [...a]);
        }""")
    )
    c, y, x = np.unravel_index(relu2.argmax(), (32, 14, 14))
    patch = np.pad(pool1.reshape(-1, 14, 14), ((0, 0), (2, 2), (2, 2)))[:, y : y + 5, x : x + 5]
    kernel = weight.reshape(32, -1, 5, 5)[c]
    sums = (patch * kernel).sum((1, 2))
    part = sums.argmax()
    fields = [page.locator(f"#{n}").input_value() for n in ("channel", "row", "column", "part")]
    assert [int(field) for field in fields] == [c, y, x, part]
    for name, values in (("patch", patch[part]), ("kernel", kernel[part])):
        shown = [
            float(text.replace("−", "-")) for text in page.locator(f"#{name} td").all_inner_texts()
        ]
        np.testing.assert_allclose(shown, values.ravel(), atol=0.006)
    numbers = re.findall(r"(?:=|channels|bias|→) (−?[\d.e-]+)", page.locator("#steps").inner_text())
    expected = [sums[part], sums.sum(), bias[c], relu2.max(), relu2.max()]
    assert [float(n.replace("−", "-")) for n in numbers] == pytest.approx(expected, rel=0.006)
    assert page.locator("#input-name").inner_text() == f"pool1, channel {part}"
    assert page.locator("#output-name").inner_text() == f"relu2, channel {c}"
    colour = """([x, y]) => [...document.getElementById("output-map").getContext("2d")
        .getImageData(20 * x, 20 * y, 1, 1).data].slice(0, 3)"""
    largest = 255 * np.array(matplotlib.colormaps["viridis"](1.0)[:3])
    assert page.evaluate(colour, [x + 0.5, y + 0.5]) == largest.round().tolist()
    assert page.evaluate(colour, [float(x), y + 0.5]) == [208, 0, 111]  # its frame
    computation = page.locator("#steps").inner_text()
    page.locator("#choice").select_option("1")
    expect(page.locator("#steps")).not_to_have_text(computation)


@pytest.mark.slow
def test_every_layer_of_the_table_shows_its_maps(open_page):
    page = open_page()
    page.get_by_text("All 16 layers").click()
    rows = page.locator("tr:has(a[data-layer])")
    assert rows.count() == 16
    for row in rows.all():
        link, shape = row.locator("a"), row.locator("td").nth(1).inner_text()
        link.press("Enter")
        expect(page.locator("#map-shape")).to_have_text(shape)


@pytest.mark.slow
def test_the_learning_curves_show_values_by_pointer_and_keyboard(open_page, computed):
    page = open_page()
    first = pd.read_csv(computed / "data/network/history.csv").iloc[0]
    chart = page.locator("#history-loss .chart")
    chart.focus()
    chart.press("Home")
    splits = (("training", "train"), ("validation", "val"), ("test", "test"))
    losses = ", ".join(f"{name} {first[f'{split}_loss']:.4f}" for name, split in splits)
    assert chart.get_attribute("aria-valuetext") == f"epoch 1: {losses}"
    chart.press("ArrowRight")
    assert chart.get_attribute("aria-valuetext").startswith("epoch 2: ")
    page.locator("#history-accuracy .chart").hover(position={"x": 50, "y": 100})
    legend = page.locator("#history-accuracy .legend")
    expect(legend).to_contain_text("epoch 1")
    expect(legend).to_contain_text(f"validation {100 * first['val_acc']:.2f}%")
