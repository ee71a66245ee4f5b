"""XOR in a browser trains like the stage, and its controls work."""

import math

import numpy as np
import pytest
import torch
from browsing import CHROMIUM
from playwright.sync_api import expect

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
        for (let step = 0; step < 1500; step += 1) stepXor(p, 0.1);
        return [countCorrect(p, true), xorLoss(p, true)];
    })""")
    assert [correct for correct, _ in actual] == xor_train.correct(ends).tolist()
    np.testing.assert_allclose([loss for _, loss in actual], losses, rtol=0.05)


def test_xor_can_run_step_and_restart(open_page):
    page = open_page()
    status, slider = page.locator("#xor-status"), page.locator("[name=xor-step]")
    assert status.inner_text().startswith("Seed 42, step 0: loss ")
    start = page.locator("#input-plane").evaluate("canvas => canvas.toDataURL()")
    page.locator("#xor-one").press("Enter")
    assert "step 1:" in status.inner_text()
    page.locator("#xor-run").click()
    expect(page.locator("#xor-run")).to_have_text("Pause")
    expect(status).to_contain_text("step 60:", timeout=20_000)
    assert status.inner_text().endswith("of 4 points classified correctly, near 4 ln 2")
    assert slider.get_attribute("aria-valuetext") in status.inner_text()
    assert page.locator("#input-plane").evaluate("canvas => canvas.toDataURL()") != start
    page.locator("#xor-back").click()
    assert page.locator("#input-plane").evaluate("canvas => canvas.toDataURL()") == start
    slider.press("End")
    assert "step 60:" in status.inner_text()


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
    page.locator("#xor-form").get_by_role("button", name="Reset").click()
    expect(page.locator("#xor-status")).to_contain_text("Seed 42, step 0")
    expect(page.locator("#starts-loaded")).to_have_text("")
    assert page.locator("#starts :checked").count() == 0


def test_the_boundary_is_traced_where_the_field_is_zero(page):
    ends = page.evaluate("""(() => {
        const n = 40;
        const at = (k) => (k + 0.5) / n - 0.5;
        const circle = Float64Array.from({ length: n * n }, (_, k) =>
            Math.hypot(at(k % n), at(Math.floor(k / n))) - 0.3);
        return traceZero(circle, n).flat();
    })()""")
    assert len(ends) > 100
    assert all(math.hypot(x - 0.5, y - 0.5) == pytest.approx(0.3, abs=1e-3) for x, y in ends)


def test_a_diverging_run_is_reported_without_errors(open_page):
    page = open_page()
    page.get_by_label("Hidden tanh").uncheck()
    page.evaluate("showStart('Huge', Float64Array.of(1e200, 1, 1, 1, 1, 1, 1, 1, 1))")
    page.locator("#xor-step").press("End")
    assert "diverged" in page.locator("#xor-status").inner_text()
    assert page.messages == []
