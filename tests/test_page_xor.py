"""XOR in a browser trains like the stage, and its controls work."""

import math
import re

import numpy as np
import pytest
import torch
from browsing import CHROMIUM, COLOUR
from playwright.sync_api import expect
from workspaces import ROOT

import xor_train
from common.files import read_arrays

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed"),
]


@pytest.mark.parametrize("tanh", [True, False])
def test_the_page_reproduces_the_stages_run_to_1e_6(page, computed, tanh):
    script = "([initial, settings]) => trainXor(initial, settings).losses"
    stage = read_arrays(computed / "data/xor.npz")
    initial, losses = stage["initial"].tolist(), stage["losses" if tanh else "linear_losses"]
    settings = {"lr": 0.1, "steps": 60, "tanh": tanh}
    np.testing.assert_allclose(page.evaluate(script, [initial, settings]), losses, atol=1e-6)

    activation = torch.tanh if tanh else torch.nn.Identity()
    _, losses = xor_train.trajectory(xor_train.single_start(42), 3001, 0.1, activation)
    actual = page.evaluate(script, [initial, settings | {"steps": 3001}])
    np.testing.assert_allclose(actual, losses, atol=1e-6)


def test_a_stalled_start_is_loaded_at_its_end(open_page):
    page = open_page(file=ROOT / "reports/index.html")  # the small study has no stalled starts
    buttons = page.locator("[data-start]").all()
    assert buttons
    for button, level in zip(buttons, ("2 ln 2", "3 ln 3 − 2 ln 2"), strict=True):
        button.click()
        start = f"{int(button.get_attribute('data-start')):,}"
        status = page.locator("#xor-status")
        expect(status).to_contain_text(re.compile(f"^Start {start}, step .*, near {level}$"))


@pytest.mark.parametrize("tanh", [True, False])
def test_colours_points_and_labels_lie_at_their_coordinates(open_page, tanh):
    page = open_page()
    page.evaluate("""() => {
        const { fillText } = CanvasRenderingContext2D.prototype;
        window.texts = {};
        CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
            const at = this.getTransform().transformPoint({ x, y });
            if (this.canvas.id === "input-plane") texts[text] = [at.x, at.y];
            fillText.call(this, text, x, y);
        };
    }""")
    page.get_by_label("Hidden tanh").set_checked(tanh)
    page.evaluate("showStart('Tilted', Float64Array.of(4, 0, 0, 4, -2, -2, 1, 2, 0))")

    def hidden(x):
        return (np.tanh if tanh else np.asarray)(4 * np.asarray(x) - 2)

    def is_orange(plane, place):
        """Whether the colour is more orange than blue, at fractions of the plane."""
        canvas, (u, v) = page.locator(f"#{plane}-plane"), map(float, place)
        left, top = 26, 6
        side = canvas.evaluate("canvas => canvas.clientWidth") - left - top
        red, _, blue, _ = canvas.evaluate(COLOUR, [left + u * side, top + (1 - v) * side])
        return red > blue

    range_of_hidden = 1.25 if tanh else 2.6
    for u, v in ((0.06, 0.94), (0.94, 0.94), (0.06, 0.06), (0.94, 0.06), (0.94, 0.39)):
        h = hidden((1.8 * u - 0.4, 1.8 * v - 0.4))
        assert is_orange("input", (u, v)) == (h @ [1, 2] > 0)
    for u, v in ((0.3, 0.7), (0.7, 0.3), (0.5, 0.9), (0.5, 0.1)):
        assert is_orange("hidden", (u, v)) == (u - 0.5 + 2 * (v - 0.5) > 0)
    for x, y in zip(xor_train.X.numpy(), xor_train.Y.numpy(), strict=True):
        assert is_orange("input", (x + 0.4) / 1.8) == y
        assert is_orange("hidden", (hidden(x) / range_of_hidden + 1) / 2) == y
    texts = page.evaluate("texts")
    origin, right, above = (texts[name] for name in ("(0, 0)", "(1, 0)", "(0, 1)"))
    assert right[0] > origin[0]
    assert above[1] < origin[1]
    assert texts["x₁"][1] > origin[1]  # below
    assert texts["x₂"][0] < origin[0]  # to the left


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_points_rim_has_the_contrast_that_wcag_requires_of_graphics(open_page, scheme):
    canvas = open_page(scheme=scheme).locator("#input-plane")
    side = canvas.evaluate("canvas => canvas.clientWidth") - 26 - 6

    def luminance(x, y):
        colour = np.array(canvas.evaluate(COLOUR, [x, y])[:3]) / 255
        linear = np.where(colour > 0.04045, ((colour + 0.055) / 1.055) ** 2.4, colour / 12.92)
        return linear @ [0.2126, 0.7152, 0.0722] + 0.05

    for (u, v), target in zip(xor_train.X.tolist(), xor_train.Y.tolist(), strict=True):
        x, y = 26 + (u + 0.4) / 1.8 * side, 6 + (1.4 - v) / 1.8 * side
        fill, rim = luminance(x, y), luminance(x - (6.3 if target else 7), y)
        assert max(fill, rim) / min(fill, rim) > 3


@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1])
def test_the_page_generates_pytorchs_random_numbers(page, seed):
    one = torch.cat([p.flatten() for p in xor_train.single_start(seed)])
    np.testing.assert_allclose(page.evaluate(f"[...oneStart({seed})]"), one, atol=1e-7)
    starts = xor_train.random_starts(500, seed)
    expected = torch.cat([p.reshape(-1, 500) for p in starts]).T[490:]
    actual = page.evaluate(f"randomStarts(500, {seed}, 490, 500).map((p) => [...p])")
    np.testing.assert_allclose(actual, expected, atol=1e-7)


def test_random_starts_reach_the_results_of_the_stage(page):
    starts = xor_train.random_starts(64, 7)
    *_, (ends, losses) = xor_train.descend(starts, 1500, 0.1)
    actual = page.evaluate("""randomStarts(64, 7, 0, 64).map((p) => {
        for (let step = 0; step < 1500; step += 1) stepXor(p, 0.1, true);
        return [countCorrect(p, true), xorLoss(p, true)];
    })""")
    assert [correct for correct, _ in actual] == xor_train.correct(ends).tolist()
    np.testing.assert_allclose([loss for _, loss in actual], losses, rtol=0.05)


RUN_AND_PAUSE = """async () => {
    const [run, slider] = ["xor-run", "xor-step"].map((id) => document.getElementById(id));
    const frame = () => new Promise(requestAnimationFrame);
    run.click();
    for (let k = 0; k < 1000 && Number(slider.value) < 3; k += 1) await frame();
    run.click();
    const [paused, name] = [Number(slider.value), run.textContent];
    for (let k = 0; k < 30; k += 1) await frame();
    const later = Number(slider.value);
    run.click();
    for (let k = 0; k < 3; k += 1) await frame();
    const { ariaLive } = document.getElementById("xor-status");
    return [paused, later, name, Number(slider.value), ariaLive];
}"""


def test_xor_can_run_step_and_restart(open_page):
    page = open_page()
    status, slider = page.locator("#xor-status"), page.locator("[name=xor-step]")
    assert status.inner_text().startswith("Seed 42, step 0: loss ")
    start = page.locator("#input-plane").evaluate("canvas => canvas.toDataURL()")
    page.locator("#xor-one").press("Enter")
    assert "step 1:" in status.inner_text()
    expect(page.locator("#xor-chart .legend")).to_contain_text("step 1")
    paused, later, name, resumed, live = page.evaluate(RUN_AND_PAUSE)
    assert (name, later) == ("Run", paused)
    assert resumed >= paused
    assert live == "off"
    page.locator("#xor-back").click()
    assert page.locator("#xor-run").inner_text() == "Run"
    page.locator("#xor-run").click()
    expect(page.locator("#xor-run")).to_have_text("Pause")
    expect(status).to_contain_text("step 60:", timeout=20_000)
    assert status.inner_text().endswith("of 4 points classified correctly, near 4 ln 2")
    assert slider.get_attribute("aria-valuetext") == "60"  # the status is announced, too
    assert page.locator("#input-plane").evaluate("canvas => canvas.toDataURL()") != start
    page.locator("#xor-back").click()
    assert page.locator("#input-plane").evaluate("canvas => canvas.toDataURL()") == start
    slider.press("End")
    assert "step 60:" in status.inner_text()


def test_the_enter_key_does_not_submit_the_seed(open_page):
    page = open_page()
    seed = page.get_by_label("Seed")
    seed.fill("7")
    seed.press("Enter")
    page.wait_for_timeout(100)  # until a submitted form would have reloaded the page
    assert seed.input_value() == "7"


def test_the_planes_are_sharp_after_zooming(open_page):
    page = open_page(1920)
    zoomed = {"width": 1280, "height": 600, "deviceScaleFactor": 1.5, "mobile": False}
    page.context.new_cdp_session(page).send("Emulation.setDeviceMetricsOverride", zoomed)
    page.wait_for_function("devicePixelRatio === 1.5")
    page.wait_for_timeout(100)
    for canvas in page.locator("#xor :is(.xor-panels, #starts) canvas").all()[:3]:
        assert canvas.evaluate("one => one.width / one.clientWidth") == pytest.approx(1.5, rel=0.02)


def test_seed_learning_rate_and_activation_change_the_xor_run(open_page):
    page = open_page()
    status, slider = page.locator("#xor-status"), page.locator("[name=xor-step]")

    def last_loss():
        slider.press("End")
        return float(status.inner_text().split("loss ")[1].split(",")[0])

    losses = [last_loss()]
    page.get_by_label("Seed").fill("7")
    losses.append(last_loss())
    page.locator("[name=xor-rate]").press("End")
    losses.append(last_loss())
    page.get_by_label("Hidden tanh").press("Space")
    losses.append(last_loss())
    _, expected = xor_train.trajectory(xor_train.single_start(7), 60, 1.0, torch.nn.Identity())
    assert losses[-1] == pytest.approx(expected[-1].item(), abs=1e-4)
    assert len({*losses}) == 4
    page.locator("#xor-form").get_by_role("button", name="Reset").click()
    expect(status).to_contain_text("Seed 42, step 0")


def test_random_starts_train_together_and_load_by_keyboard(open_page):
    page = open_page(390, reduced_motion="reduce")
    page.locator("#starts").scroll_into_view_if_needed()
    assert page.locator("#starts input").count() == 30
    assert not page.locator("#starts-other").is_visible()  # there are no others
    page.locator("#starts-run").press("Enter")
    expect(page.locator("#starts-status")).to_contain_text(
        "Step 60: 0 of 30 solved", timeout=20_000
    )
    page.locator("#starts input").first.press("ArrowRight")
    expect(page.locator("#starts-loaded")).to_have_text("Start 2 is loaded above.")
    expect(page.locator("#xor-status")).to_contain_text("Start 2, step 0")
    second = xor_train.Perceptrons(*(p[..., 1:2] for p in xor_train.random_starts(30, 42)))
    *_, (_, loss) = xor_train.descend(second, 0, 0.1)
    assert f"loss {loss.item():.4f}" in page.locator("#xor-status").inner_text()
    assert page.get_by_label("Seed").input_value() == ""
    page.get_by_label("Seed").fill("1.5")
    expect(page.locator("#xor-status")).to_contain_text("Start 2")
    expect(page.locator("#starts-loaded")).to_have_text("Start 2 is loaded above.")
    page.get_by_label("Seed").fill("7")
    expect(page.locator("#starts-loaded")).to_have_text("")
    page.locator("#xor-form").get_by_role("button", name="Reset").click()
    expect(page.locator("#xor-status")).to_contain_text("Seed 42, step 0")
    expect(page.locator("#starts-loaded")).to_have_text("")
    assert page.locator("#starts :checked").count() == 0


def test_other_starts_can_be_shown_and_are_marked_after_training(open_page, page_path, tmp_path):
    html = page_path.read_text(encoding="utf-8").replace('"starts": 30', '"starts": 70')
    file = tmp_path / "page.html"
    file.write_text(html.replace('"steps": 60', '"steps": 250'), encoding="utf-8")
    page = open_page(file=file, reduced_motion="reduce")
    status, inputs = page.locator("#starts-status"), page.locator("#starts input")
    inputs.first.press("Space")
    page.locator("#starts-other").click()  # the last 64
    expect(page.locator("#starts-loaded")).to_have_text("")
    page.locator("#starts-run").click()
    expect(status).to_contain_text("Step 250:")
    page.locator("[name=xor-rate]").press("End")
    expect(status).to_contain_text("Step 0:")
    page.locator("#starts-run").click()
    expect(status).to_contain_text("Step 250:")
    starts = xor_train.Perceptrons(*(p.double() for p in xor_train.random_starts(70, 42)))
    *_, (ends, losses) = xor_train.descend(starts, 250, 1.0)
    half, third = (abs(losses - level) < 0.05 for level in xor_train.LEVELS)
    solved = xor_train.correct(ends) == 4
    marks = np.select([solved, half, third], ["✓", "½", "⅓"], "")[6:].tolist()
    assert {*marks} >= {"✓", "½", "⅓"}
    shown = page.locator("#starts label").evaluate_all("all => all.map((one) => one.dataset.mark)")
    assert shown == marks
    counts = [marks.count(mark) for mark in "✓½⅓"]
    text = "{} of 64 solved, {} near 2 ln 2, {} near 3 ln 3 − 2 ln 2".format(*counts)
    expect(status).to_contain_text(text)
    inputs.last.press("Space")
    loss = xor_train.summed_loss(xor_train.forward(starts)[1])[-1]
    expect(page.locator("#xor-status")).to_contain_text(f"Start 70, step 0: loss {loss:.4f}")
    page.locator("#xor-form").get_by_role("button", name="Reset").click()
    expect(status).to_contain_text("Step 0:")
    page.locator("#starts-other").click()
    expect(inputs.first).to_have_attribute("aria-label", "Start 1: not solved")


def test_the_boundary_is_traced_where_the_field_is_zero(page):
    ends = page.evaluate("""(() => {
        const n = 40;
        const at = (k) => (k + 0.5) / n - 0.5;
        const circle = Float64Array.from({ length: n * n }, (_, k) =>
            Math.hypot(at(k % n), at(Math.floor(k / n))) - 0.3);
        return traceZero(circle, n).flat();
    })()""")
    assert len(ends) > 100
    joints = [(round(x, 9), round(y, 9)) for x, y in ends]
    assert {joints.count(joint) for joint in joints} == {2}  # the line is closed
    assert all(math.hypot(x - 0.5, y - 0.5) == pytest.approx(0.3, abs=1e-3) for x, y in ends)


def test_a_diverging_run_is_reported_without_errors(open_page):
    page = open_page()
    page.get_by_label("Hidden tanh").uncheck()
    page.evaluate("showStart('Huge', Float64Array.of(1e200, 1, 1, 1, 1, 1, 1, 1, 1))")
    page.locator("#xor-step").press("End")
    assert "diverged" in page.locator("#xor-status").inner_text()
    assert page.messages == []
