"""The neuron in a browser computes the same values as the stage, and its controls work."""

import itertools
import math
import re

import matplotlib
import numpy as np
import pytest
import torch
import yaml
from browsing import CHROMIUM, COLOUR, touch
from playwright.sync_api import expect
from workspaces import ROOT, small_params

import surfaces

FIELDS = ("sigmoid", "l2", "l2_grad", "ce", "ce_grad", "relu", "relu_l2", "relu_l2_grad")
DEFAULTS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed"),
]


def picture(page, field):
    """A surface's canvas as a data URL."""
    canvas = page.locator(f"canvas[data-field={field}]")
    canvas.scroll_into_view_if_needed()  # only canvases near the screen are drawn
    page.wait_for_timeout(100)
    return canvas.evaluate("canvas => canvas.toDataURL()")


def drag(page, right, down):
    canvas = page.locator("canvas[data-field=l2]")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right, y + down, steps=4)
    page.mouse.up()
    page.wait_for_timeout(100)


def test_the_mouse_turns_all_surfaces_together(open_page):
    page = open_page()
    before = {field: picture(page, field) for field in FIELDS}
    turn, tilt = (float(page.locator(f"#{name}").input_value()) for name in ("turn", "tilt"))
    drag(page, right=64, down=8)  # whole degrees, even if the browser merges moves
    assert float(page.locator("#turn").input_value()) < turn  # the front follows the mouse
    assert float(page.locator("#tilt").input_value()) > tilt
    assert all(picture(page, field) != before[field] for field in FIELDS)
    drag(page, right=-64, down=-8)
    assert picture(page, "ce") == before["ce"]


def test_the_keyboard_turns_the_surfaces(open_page):
    page = open_page()
    before = picture(page, "sigmoid")
    page.locator("#tilt").press("ArrowUp")
    assert picture(page, "sigmoid") != before


def test_a_finger_turns_the_surfaces(open_page):
    page = open_page(390, has_touch=True, is_mobile=True)
    canvas = page.locator("canvas[data-field=ce]")
    canvas.scroll_into_view_if_needed()
    before = picture(page, "ce")
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch(page, [(x + shift, y) for shift in (0, 15, 30, 45)])
    page.wait_for_timeout(100)
    assert picture(page, "ce") != before


@pytest.mark.parametrize("selector", ["canvas[data-field=ce]", "#xor-chart .chart"])
def test_fingers_scroll_and_zoom_the_page_without_a_trace(open_page, selector):
    page = open_page(390, has_touch=True, is_mobile=True)
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    state = """() => [turn.value, tilt.value, weight.value,
        document.querySelector("#xor-chart .legend").textContent]"""
    before, scrolled = page.evaluate(state), page.evaluate("scrollY")
    touch(page, [(x, y - 10 * k) for k in range(12)])
    page.wait_for_function(f"scrollY > {scrolled}")
    assert page.evaluate(state) == before
    page.evaluate(f"scrollTo({{ top: {scrolled}, behavior: 'instant' }})")
    touch(page, *([(x + side * (20 + 8 * k), y) for k in range(12)] for side in (-1, 1)))
    page.wait_for_function("visualViewport.scale > 1.5")
    assert page.evaluate(state) == before


@pytest.mark.parametrize("target", [0, 0.3, 0.5, 1])
def test_the_page_computes_the_fields_of_the_stage(page, target):
    z = torch.linspace(-12, 12, 97, dtype=torch.float64)
    fields = surfaces.sample(z, torch.zeros_like(z), target)
    actual = page.evaluate(
        "([names, zs, y]) => names.map((name) => zs.map((z) => FIELDS[name](z, y)))",
        [FIELDS, z.tolist(), target],
    )
    for name, values in zip(FIELDS, actual, strict=True):
        np.testing.assert_allclose(values, fields[name], rtol=1e-12, atol=1e-15)


def test_the_page_takes_17_and_81_417_steps_like_the_stage(page):
    settings = {name: DEFAULTS["surfaces"][name] for name in ("target", "lr", "tolerance", "steps")}
    steps = [
        page.evaluate(f"(settings) => descend('{loss}', 12, settings).length - 1", settings)
        for loss in ("ce", "l2")
    ]
    assert steps == [17, 81_417]


@pytest.mark.parametrize(
    ("start", "target", "lr"), [(2, 0.3, 0.5), (-3, 1, 4), (0, 0.5, 1), (5, 0, 9)]
)
def test_the_page_descends_like_the_stage(page, start, target, lr):
    settings = {"target": target, "lr": lr, "tolerance": 0.01, "steps": 500}
    for loss, slope in (("ce", surfaces.ce_slope), ("l2", surfaces.l2_slope)):
        actual = page.evaluate(
            f"([z, settings]) => descend('{loss}', z, settings).map(sigmoid)", [2 * start, settings]
        )
        assert actual == pytest.approx(surfaces.descend(slope, start, **settings), abs=1e-9)


def start_point(page):
    return tuple(float(page.locator(f"[name={n}]").input_value()) for n in ("weight", "bias"))


def test_a_path_of_many_oscillations_is_short_and_ends_at_its_last_step(page):
    path = "Array.from({ length: 100001 }, (_, k) => (k % 2 ? 3 : -3))"
    assert page.evaluate("tracePath([0, 2], 1, [1, -4]).points.at(-1)") == [2, -3]
    points = page.evaluate(f"tracePath({path}, 100000, [1, -4]).points")
    assert 2000 < len(points) < 2100
    assert points[-1] == pytest.approx([1, -4])
    outputs = page.evaluate(f"(path => sampleSteps(path).map(k => path[k]))({path})")
    assert len({*outputs}) == 2
    changes = sum(a != b for a, b in itertools.pairwise(outputs))
    assert changes > 0.7 * len(outputs)  # no pattern from sampling


def test_a_start_at_the_target_takes_no_step(open_page):
    page = open_page()
    for name in ("weight", "bias"):
        page.locator(f"[name={name}]").fill("0")
    assert page.locator("tr[data-loss=l2] td").first.inner_text() == "0\u00a0✓"
    legend = "step 0Cross-entropy ŷ 0.5000L2 ŷ 0.5000"
    expect(page.locator("#descent-chart .legend")).to_have_text(legend)


def test_oscillation_above_the_largest_stable_learning_rate_is_reported(open_page):
    page = open_page()
    result = page.locator("tr[data-loss=ce]")
    page.locator("[name=weight]").fill("0.5")
    page.locator("[name=bias]").fill("0.5")
    page.locator("[name=rate]").press("End")  # 10; the limit is 4
    expect(result).to_contain_text("\u00a0✗ oscillates")
    page.locator("[name=rate]").fill("0")  # 1
    expect(result).to_contain_text("✓")


@pytest.mark.parametrize(("width", "touch"), [(1280, False), (390, True)])
def test_a_click_on_a_surface_starts_both_descents_there(open_page, width, touch):
    page = open_page(width, has_touch=touch)
    before = picture(page, "ce")
    assert start_point(page) == (6, 6)
    box = page.locator("canvas[data-field=ce]").bounding_box()
    position = box["x"] + 0.7 * box["width"], box["y"] + 0.6 * box["height"]
    (page.touchscreen.tap if touch else page.mouse.click)(*position)
    assert start_point(page) != (6, 6)
    assert picture(page, "ce") != before
    z = sum(start_point(page))
    settings = {name: small_params()["surfaces"][name] for name in ("lr", "tolerance", "steps")}
    for loss, slope in (("l2", surfaces.l2_slope), ("ce", surfaces.ce_slope)):
        outputs = surfaces.descend(slope, z / 2, 0.5, **settings)
        count, last = len(outputs) - 1, torch.logit(torch.tensor(outputs[-1]))
        value = surfaces.sample(last, torch.zeros(()), 0.5)[loss].item()
        steps, *numbers = page.locator(f"tr[data-loss={loss}] td").all_inner_texts()
        assert steps.startswith(f"{count:,}")
        assert [float(n) for n in numbers] == pytest.approx([outputs[-1], value], abs=6e-5)
    arrival = re.compile(f"^Cross-entropy converges after {count} step")
    expect(page.locator("#arrival")).to_have_text(arrival)


def test_a_click_selects_the_point_drawn_there(open_page):
    """The colour at the click is that of the selected point, and the path starts at the click."""
    page = open_page()
    page.evaluate("data.surfaces.points = 60")  # small faces, so their colours are exact
    page.locator("#turn").fill("-59")
    expect(page.locator("#turn-value")).to_have_text("−59°")  # the surfaces are drawn
    z = torch.linspace(-12, 12, 97, dtype=torch.float64)
    largest = {k: f.abs().max() for k, f in surfaces.sample(z, torch.zeros_like(z), 0.5).items()}
    places = [("sigmoid", 0.3, 0.68), ("sigmoid", 0.72, 0.42), ("ce", 0.25, 0.41)]
    places += [("ce_grad", 0.26, 0.68), ("ce_grad", 0.7, 0.35)]
    for field, right, down in places:
        canvas = page.locator(f"canvas[data-field={field}]")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        x, y = right * box["width"], down * box["height"]
        at = [canvas.element_handle(), [x, y]]
        page.wait_for_function(f"(at) => ({COLOUR})(...at)[3] > 250", arg=at, timeout=20_000)
        colour = canvas.evaluate(COLOUR, [x, y])
        canvas.click(position={"x": x, "y": y})
        point = [torch.tensor(value, dtype=torch.float64) for value in start_point(page)]
        fraction = (surfaces.sample(*point, 0.5)[field] / largest[field]).item()
        name, signed = ("coolwarm", True) if field == "ce_grad" else ("viridis", False)
        shades = 255 * matplotlib.colormaps[name](np.linspace(0, 1, 64))
        shade = abs(shades - colour).sum(axis=1).argmin() / 63
        assert shade == pytest.approx((fraction + 1) / 2 if signed else fraction, abs=0.06)
        is_white = f"(at) => ({COLOUR})(...at).every((part) => part === 255)"
        page.wait_for_function(is_white, arg=at, timeout=20_000)
    page.locator("#turn").fill("45")  # the side with large w and b hides the rest
    expect(page.locator("#turn-value")).to_have_text("45°")
    canvas = page.locator("canvas[data-field=l2]")
    box = canvas.bounding_box()
    canvas.click(position={"x": 0.54 * box["width"], "y": 0.47 * box["height"]})
    assert sum(start_point(page)) > 8


def test_the_keyboard_sets_start_target_and_learning_rate(open_page):
    page = open_page()
    before = {field: picture(page, field) for field in ("l2", "relu_l2")}
    cells = page.locator("tr[data-loss=ce] td")
    assert cells.first.inner_text() == "17\u00a0✓"
    page.locator("[name=weight]").press("Home")
    page.locator("[name=bias]").press("PageDown")
    page.locator("[name=rate]").press("ArrowRight")
    assert start_point(page)[0] == -6
    assert page.locator("#rate-value").inner_text() == "1.12"
    page.locator("[name=target]").press("PageUp")
    assert all(picture(page, field) != before[field] for field in before)
    page.locator("[name=progress]").press("Home")
    assert cells.first.inner_text() == "0"
    page.get_by_role("button", name="Reset").first.press("Enter")
    expect(cells.first).to_have_text("17\u00a0✓")
    assert picture(page, "l2") == before["l2"]


def test_screen_readers_hear_the_value_of_a_slider_once(open_page):
    page = open_page()
    for label in page.locator("label.slider").all():
        name, value = label.locator("span").all_inner_texts()
        slider = page.get_by_role("slider", name=name, exact=True)
        values = slider.evaluate_all("all => all.map((one) => one.ariaValueText)")
        assert value in values


def test_both_losses_can_share_a_vertical_scale(open_page):
    page = open_page()
    before = {field: picture(page, field) for field in ("l2", "ce")}
    page.get_by_label("Same vertical scale").press("Space")
    assert picture(page, "l2") != before["l2"]
    assert picture(page, "ce") == before["ce"]  # its scale is the larger one


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_play_animates_both_descents_unless_motion_is_reduced(open_page, motion):
    page = open_page(reduced_motion=motion)
    button, cell = page.locator("#descend"), page.locator("tr[data-loss=l2] td").first
    expect(cell).to_have_text("3,000\u00a0✗")
    after_two_frames = """button => new Promise((resolve) => {
        button.click();
        requestAnimationFrame(() => requestAnimationFrame(() => resolve(progress.value)));
    })"""
    shown = float(button.evaluate(after_two_frames))
    if motion == "reduce":
        assert shown == 1
    else:
        assert shown < 1
        page.locator("#progress").press("Home")  # stops the animation
    expect(button).to_have_text("Play")
    expect(cell).to_have_text("3,000\u00a0✗" if motion == "reduce" else "0")


def test_a_chart_shows_values_on_hover_and_by_keyboard(open_page):
    page = open_page()
    chart = page.locator("#descent-chart svg")
    chart.scroll_into_view_if_needed()
    chart.press("Home")
    ce = surfaces.descend(surfaces.ce_slope, 6, 0.5, 1, 0.01, 3000)
    legend = page.locator("#descent-chart .legend")
    expect(legend).to_contain_text(f"Cross-entropy ŷ {ce[1]:.4f}")
    assert chart.get_attribute("aria-valuetext").startswith("step 1: Cross-entropy")
    chart.press("PageUp")
    assert int(chart.get_attribute("aria-valuenow")) > 10
    chart.press("PageDown")
    expect(chart).to_have_attribute("aria-valuenow", "1")
    chart.press("End")
    expect(legend).to_contain_text("step 3,000")
    chart.press("ArrowLeft")
    expect(legend).not_to_contain_text("step 3,000")
    chart.blur()
    expect(legend).to_contain_text("step 3,000")
    box = chart.bounding_box()
    page.mouse.move(box["x"] + 46, box["y"] + 80)
    expect(legend).to_contain_text(f"Cross-entropy ŷ {ce[1]:.4f}")
    page.mouse.move(0, 0)
    expect(legend).to_contain_text("step 3,000")


def test_points_of_a_chart_lie_at_their_values_on_the_axes(open_page):
    page = open_page()
    page.locator("[name=target]").fill("0.3")
    chart = page.locator("#descent-chart svg")
    chart.press("Home")
    chart.press("PageUp")
    positions = "all => all.map((text) => [text.textContent, text.x.baseVal[0].value])"
    texts = dict(chart.locator("text").evaluate_all(positions))
    heights = "all => all.map((line) => line.y1.baseVal.value)"
    zero, *_, one = chart.locator(".grid").evaluate_all(heights)
    (target,) = chart.locator(".mark").evaluate_all(heights)
    assert (zero - target) / (zero - one) == pytest.approx(0.3)
    assert zero > one  # on the screen, y points down
    x, y = (float(chart.locator("circle").last.get_attribute(name)) for name in ("cx", "cy"))
    step = int(chart.get_attribute("aria-valuenow"))
    assert (x - texts["1"]) / (texts["1,000"] - texts["1"]) == pytest.approx(math.log10(step) / 3)
    output = surfaces.descend(surfaces.l2_slope, 6, 0.3, 1, 0.01, 3000)[step]
    assert (zero - y) / (zero - one) == pytest.approx(output)
    colours = "all => all.map((line) => getComputedStyle(line).stroke)"
    assert len({*chart.locator("polyline").evaluate_all(colours)}) == 2


def test_rotation_keeps_the_progress_of_the_descent(open_page):
    page = open_page()
    page.locator("#progress").press("Home")
    page.locator("#turn").press("ArrowRight")
    assert page.locator("#progress").input_value() == "0"


def test_the_chart_and_the_table_agree_on_an_oscillating_descent(open_page):
    page = open_page()
    set_slider = (
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')) }"
    )
    page.locator("#rate").evaluate(set_slider, 1)  # the largest learning rate
    for progress in (0.5, 0.8, 0.9, 0.97):
        page.locator("#progress").evaluate(set_slider, progress)
        rows = page.locator("tr[data-loss] td:nth-of-type(2)").all_inner_texts()
        legend = page.locator("#descent-chart .legend").inner_text()
        assert len(rows) == 2
        assert all(output in legend for output in rows), (progress, rows, legend)
