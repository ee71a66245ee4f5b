"""`make compare`: the table and the page of the experiments of a commit."""

import json
import re
import subprocess
import sys
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import CHROMIUM, SCALES, touch
from imitations import add_experiments, commit_results, edit_experiment, imitate
from playwright.sync_api import expect
from repositories import commit, git, make_repository, run_tool
from workspaces import ENV, ROOT

from internals.compare_page import PAGE, list_disagreements, write_page
from internals.comparison import (
    Result,
    flat,
    group_by_setting,
    has_images_of,
    read_result,
    tabulate,
    varying,
)
from internals.experiments import reference_of
from internals.summary import compare_errors

from common.files import read_arrays
from common.mnist import TEST
from common.results import md5_of
from page.typeset import embed_digit

MARKUP = "<img/src=x>&\"'"  # a valid name in Git
compare = partial(run_tool, "compare")
needs_browser = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")


def error_mask(*images, count=1000):
    """A mask of `count` images, True at the misclassified ones."""
    return np.isin(np.arange(count), images)


def test_a_difference_in_errors_computed_by_hand():
    # `other` corrects 4 errors, makes 1 new one, and shares 1 with `base`.
    base, other = error_mask(1, 2, 3, 4, 50), error_mask(50, 60)
    difference, (low, high), p = compare_errors(base, other)
    assert difference == -3
    middle, half = -3 / 1002, 1.959964 * np.sqrt((7 / 1002 - (3 / 1002) ** 2) / 1002)
    assert (low, high) == pytest.approx((1000 * (middle - half), 1000 * (middle + half)))
    assert p == pytest.approx(2 * (5 + 1) / 2**5)  # two-sided: 0 or 1 heads of 5 fair coins


def test_the_interval_equals_a_published_example():
    """ci.prop.ps(.05, 12, 4, 26, 6) of the R package statpsych, by D. G. Bonett."""
    base, other = error_mask(*range(4), count=48), error_mask(*range(4, 30), count=48)
    difference, interval, _ = compare_errors(base, other)
    assert difference == 22
    assert interval == pytest.approx((48 * 0.2548067, 48 * 0.6251933), abs=1e-5)


def test_identical_errors_give_a_difference_of_zero_with_an_interval():
    difference, (low, high), p = compare_errors(error_mask(3, 5), error_mask(3, 5))
    assert (difference, p) == (0, 1)
    assert low == -high
    assert 2 < high < 4  # zero differences in n images exclude rates above about 3 / n


def rows(text):
    """The Markdown tables in a text, each as first cell to row."""
    tables, header = [], None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if not cells:
            header = None
        elif header is None:
            header = cells
            tables.append({})
        elif not cells[0].startswith(":-"):
            tables[-1][cells[0]] = dict(zip(header, cells, strict=True))
    return tables


@pytest.fixture(scope="module")
def repository(computed, tmp_path_factory):
    """A repository with experiments: two change one parameter, one has markup in its name, two
    ended before `evaluate`.
    """
    folder = commit_results(computed, tmp_path_factory.mktemp("compare") / "project")
    ours = git(folder, "rev-parse", "HEAD")
    worse = {"train.lr": 0.001}
    add_experiments(
        folder,
        {
            "worse": {"changes": worse, "flips": 40, "shift": -0.2},
            "same": {"changes": {"evaluate.calibration_bins": 9, "plots.dpi": 90}},
            MARKUP: {"changes": {"train.schedule": "cosine"}, "flips": 10, "shift": -0.1},
        },
    )
    parts = imitate(folder, ours, {"train.lr": 0.03}, flips=3)
    half = {path: text for path, text in parts.items() if "evaluate" not in path}
    none = {"params.yaml": parts["params.yaml"]}
    for name, files in (("half", half), ("none", none)):
        git(folder, "checkout", "--quiet", "--detach", ours)
        for path, text in files.items():
            (folder / path).write_text(text)
        commit(folder)
        git(folder, "update-ref", reference_of(name, ours), "HEAD")
    git(folder, "checkout", "--quiet", "--detach", ours)
    return folder


def test_runs_are_compared_with_the_commit_and_sorted_best_first(repository):
    done = compare(repository, "worse", "same")
    assert done.returncode == 0, done.stderr
    (table,) = rows(done.stdout)
    assert [*table] == ["this commit", "same", "worse"]
    assert [*table["worse"]] == [
        *("run", "val", "test", "loss", "errors", "difference", "95% interval", "p"),
        *("evaluate.calibration_bins", "lr"),
    ]
    assert {name: table["this commit"][name] for name in ("difference", "95% interval", "p")} == {
        "difference": "",
        "95% interval": "",
        "p": "",
    }
    same, worse = table["same"], table["worse"]
    assert (same["difference"], same["95% interval"], same["p"]) == ("+0", "-2.7 to +2.7", "1")
    more = int(worse["errors"]) - int(table["this commit"]["errors"])
    assert worse["difference"] == f"{more:+d}"
    assert more > 20
    assert float(worse["p"]) < 1e-4
    assert git(repository, "status", "--short") == ""


def test_a_run_that_ended_before_evaluate_is_reported_and_excluded(repository):
    """It contains the metrics of an earlier network."""
    done = compare(repository, "half", "none", "worse")
    assert [*rows(done.stdout)[0]] == ["this commit", "worse"]
    half, none = done.stderr.splitlines()
    assert half.startswith("half: skipped: reports/metrics/evaluate.json: stale: computed from a d")
    assert none.startswith("none: skipped: reports/metrics/train.json: stale: computed with train")
    alone = compare(repository, "none")
    assert alone.returncode == 1
    assert alone.stderr.splitlines()[1].startswith("nothing to compare: run an experiment")


def test_the_command_ends_without_a_traceback_if_it_cannot_write(repository):
    command = [sys.executable, ROOT / "tools/compare.py", "worse"]
    options = {"cwd": repository, "env": ENV, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **options) as process:
        process.stdout.close()  # as `| head` does
        assert process.stderr.read() == b""
    assert process.returncode == 1
    (repository / PAGE).unlink(missing_ok=True)
    (repository / PAGE).mkdir()
    done = compare(repository, "worse")
    (repository / PAGE).rmdir()
    assert done.stderr == f"[Errno 21] could not be written: Is a directory: '{PAGE}'\n"
    assert done.returncode == 1


def test_settings_with_common_seeds_are_compared_in_pairs(computed, tmp_path):
    folder = commit_results(computed, tmp_path / "project")
    add_experiments(
        folder,
        {
            f"lr={lr},seed={seed}": {
                "changes": {"train.lr": lr, "train.seed": seed},
                "flips": flips + seed,
            }
            for lr, flips in ((0.02, 0), (0.01, 30))  # the commit has 0.02
            for seed in (1, 2, 3)
        }
        | {"alone": {"changes": {"train.lr": 0.005}, "flips": 30}},
    )
    done = compare(folder)
    runs, validation, test = rows(done.stdout)
    assert [*validation] == [*test] == ["this commit", "lr=0.01"]
    assert test["this commit"]["n"] == "4"  # including the seed of the commit
    errors = {name: int(row["errors"]) for name, row in runs.items()}
    differences = [
        -(errors[f"lr=0.01,seed={seed}"] - errors[f"lr=0.02,seed={seed}"]) for seed in (1, 2, 3)
    ]  # of 100 images, so errors are percentage points
    assert test["lr=0.01"]["pairs"] == "3"
    assert float(test["lr=0.01"]["difference"]) == pytest.approx(np.mean(differences), abs=1e-3)
    error = np.std(differences, ddof=1) / np.sqrt(3)
    assert float(test["lr=0.01"]["standard error"]) == pytest.approx(error, abs=1e-3)
    assert runs["lr=0.01,seed=1"]["p"] == ""
    assert runs["alone"]["p"] != ""


def test_settings_are_compared_with_each_other_if_the_commit_has_a_single_seed():
    """The reference is the setting with the fewest changes from the commit."""

    def result(seed, augment, **changes):
        params = {"lr": 0.2, "epochs": 10, "augment": augment, "seed": seed} | changes
        return Result(flat({"train": params}), {}, [], None, None)

    augment = {"shift": 2, "shear": 0.1}
    results = {"this commit": result(7, augment), "alone": result(1, augment, lr=0.5)}
    for seed in (1, 2):
        results |= {
            f"low {seed}": result(seed, augment, epochs=3, lr=0.1),
            f"short {seed}": result(seed, augment, epochs=3),
            f"plain {seed}": result(seed, None, epochs=3),
        }
    assert [*group_by_setting(results, "this commit").items()] == [
        ("epochs=3", {1: "short 1", 2: "short 2"}),
        ("augment=null, epochs=3", {1: "plain 1", 2: "plain 2"}),
        ("epochs=3, lr=0.1", {1: "low 1", 2: "low 2"}),
    ]


@pytest.mark.parametrize("augmented", [True, False])
def test_settings_with_and_without_a_group_of_parameters_are_not_mixed(augmented):
    def result(seed, on):
        params = {"augment": {"shift": 2, "shear": 0.1} if on else None, "seed": seed}
        return Result(flat({"train": params}), {}, [], None, None)

    results = {"this commit": result(7, augmented)}
    for seed in (1, 2):  # sorted before and after each other
        results |= {f"a {seed}": result(seed, not augmented), f"b {seed}": result(seed, augmented)}
    assert varying(results) == ["train.augment", "train.seed"]
    other = "augment=null" if augmented else "augment.shear=0.1, augment.shift=2"
    assert [*group_by_setting(results, "this commit").items()] == [
        ("this commit", {7: "this commit", 1: "b 1", 2: "b 2"}),
        (other, {1: "a 1", 2: "a 2"}),
    ]


def test_runs_of_edited_code_are_not_mixed_with_others(computed, tmp_path):
    """DVC copies uncommitted edits into experiments."""
    folder = commit_results(computed, tmp_path / "project")
    runs = {seed: {"changes": {"train.seed": seed}, "flips": 2 * seed} for seed in (1, 2)}
    add_experiments(folder, {f"{name}{seed}": runs[seed] for name in "ab" for seed in runs})
    for seed in runs:
        edit_experiment(folder, f"a{seed}", "stages/cnn_train.py", "an edit")
    done = compare(folder)
    runs, _, test = rows(done.stdout)
    code = {name: row["code"] for name, row in runs.items()}
    assert code["this commit"] == code["b1"] == code["b2"] != code["a1"] == code["a2"]
    assert [*test] == ["this commit", f"code={code['a1']}"]
    assert [test[setting]["n"] for setting in test] == ["3", "2"]


def test_the_standard_deviation_between_seeds_is_read_from_seeds_json(repository):
    assert "Standard deviation" not in compare(repository, "worse").stdout
    path = repository / "reports/seeds.json"
    here = {"errors": [1, 3, 5], "seeds": 3, "commit": git(repository, "rev-parse", "HEAD")}
    evaluated = json.loads((repository / "reports/metrics/evaluate.json").read_text())
    here["test_images"] = evaluated["provenance"][0]["reads"][TEST]
    elsewhere = here | {"test_images": "0" * 32}
    unknown = here | {"commit": "0" * 40}  # possibly with other parameters
    path.write_text(json.dumps({"default": here, "ema=0": elsewhere, "ema=0.1": unknown}))
    done = compare(repository, "worse")
    path.unlink()
    entry = f"2.0 for default (n = 3, commit {here['commit'][:7]})"
    line = f"Standard deviation of errors between seeds: {entry}, reports/seeds.json."
    assert line in done.stdout


def test_predictions_of_other_images_or_labels_are_not_compared(repository, monkeypatch):
    monkeypatch.chdir(repository)
    base = read_result(git(repository, "rev-parse", "HEAD"))
    other = base._replace(metrics=deepcopy(base.metrics))
    assert has_images_of(base, other)
    assert not has_images_of(base, other._replace(actual=9 - base.actual))
    other.metrics["test_images"] = "0" * 32
    table = tabulate({"this commit": base, "other": other}, "this commit", {})
    assert [*table["95% interval"].fillna("")] == ["", "other test images"]


def result_of(*errors, images="", **metrics):
    """A result with errors on some of 100 images, predicted as the next class."""
    actual = np.arange(100) % 10
    predicted = np.where(error_mask(*errors, count=100), (actual + 1) % 10, actual)
    metrics |= {"errors": len(errors), "accuracy": 1 - len(errors) / 100, "test_images": images}
    epoch = {"epoch": 1, "train_loss": 0.5, "test_loss": 0.6, "test_acc": metrics["accuracy"]}
    epoch |= {"val_loss": 0.7, "val_acc": metrics.get("val_acc")}
    return Result({}, metrics, [epoch], actual, predicted)


def test_runs_are_sorted_by_validation_accuracy_then_errors_then_loss(images):
    results = {
        "base": result_of(1, loss=0.3, val_acc=0.8),
        "few": result_of(loss=0.4, val_acc=0.8),
        "low": result_of(3, loss=0.2, val_acc=0.8),
        "best": result_of(1, 2, 3, loss=0.9, val_acc=0.9),
    }
    table = tabulate(results, "base", {})
    assert [*table["run"]] == ["best", "few", "low", "base"]
    write_page("0" * 40, results, "base", table, {}, [])
    data = json.loads(re.search(r'id="data">(.*?)</script>', Path(PAGE).read_text())[1])
    best = {"name": "best", "accuracy": 0.9, "accuracies": [0.9], "epochs": [1], "loss": [0.5]}
    assert (data["measure"], data["base"], data["runs"][0]) == ("validation", 3, best)
    del results["base"].metrics["val_acc"]  # the base trained on all images
    table = tabulate(results, "base", {})
    write_page("0" * 40, results, "base", table, {}, [])
    assert '"measure": "test"' in Path(PAGE).read_text()
    table = table.set_index("run")
    assert [*table.index] == ["few", "low", "base", "best"]
    assert table["test"].tolist() == [1.0, 0.99, 0.99, 0.97]
    # b = 0 and c = 2 of n = 100
    middle, half = 2 / 102, 1.959964 * np.sqrt((4 / 102 - (2 / 102) ** 2) / 102)
    low, high = 100 * (middle - half), 100 * (middle + half)
    assert table["95% interval"]["best"] == f"{low:+.1f} to {high:+.1f}"


def test_test_images_with_most_disagreement_come_first(images):
    images = md5_of(TEST)
    results = {
        "a": result_of(3, 50, images=images),
        "base": result_of(90, images=images),
        "b": result_of(3, 7, 50, 90, images=images),
        "c": result_of(3, 90, images=images),
        "elsewhere": result_of(60, images="0" * 32),
    }
    total, shown = list_disagreements(results, "base")
    # Two of four runs differ on 50; one does on 3, 7 and 90.
    assert [total, *(image["index"] for image in shown)] == [4, 50, 3, 7, 90]
    assert shown[-1]["label"] == "0"
    assert shown[-1]["predicted"] == ["0", "1", "1", "1", None]
    assert shown[1]["image"] == embed_digit(read_arrays(TEST)["images"][3])
    for result in results.values():  # of another data set than the one in data/
        result.metrics["test_images"] = "0" * 32
    assert [image["image"] for image in list_disagreements(results, "base")[1]] == [None] * 5


def test_a_run_on_another_machine_is_reported(repository):
    """For example, the commit may contain results of another machine."""
    machine = {"device": "cuda", "precision": "bfloat16", "threads": 99, "torch": "2.0"}
    changes = {"train.lr": 0.05}
    add_experiments(repository, {"bfloat16": {"changes": changes, "machine": machine}})
    done = compare(repository, "bfloat16")
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "update-ref", "-d", reference_of("bfloat16", head))
    reported = [line.partition(", but ")[0] for line in done.stderr.splitlines()]
    assert reported == [f"bfloat16: {name} {value}" for name, value in machine.items()]
    assert "precision bfloat16, but float32 in this commit\n" in done.stderr


def test_an_unknown_run_is_reported_in_one_line_with_the_existing_names(repository):
    done = compare(repository, "other")
    assert (done.returncode, done.stdout) == (1, "")
    assert "other: no such experiment of this commit; existing: " in done.stderr
    assert "worse" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_commit_without_results_is_reported_in_one_line(tmp_path):
    done = compare(make_repository(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    found = "the last commit has no valid results (reports/metrics/train.json: not in "
    assert done.stderr.startswith(found)
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def page_file(repository):
    """The page for this commit with four more experiments."""
    add_experiments(
        repository,
        {
            f"lr={lr}": {"changes": {"train.lr": lr}, "flips": 4, "shift": -lr}
            for lr in (0.1, 0.2, 0.3, 0.4)
        },
    )
    assert compare(repository).returncode == 0
    return repository / "reports/compare.html"


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_the_page_needs_no_network_and_fits_the_screen(open_page, page_file, width, scheme):
    page = open_page(width, scheme, page_file)
    assert [url for url in page.requests if not url.startswith("data:")] == [page.url]
    assert page.messages == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert {round(scale, 3) for scale in page.evaluate(SCALES)} == {1}
    assert page.locator(f"th:has-text({json.dumps(MARKUP)})").count() == 1
    assert page.locator("main img:not([src^='data:image/png'])").count() == 0
    violations = Axe().run(page).response["violations"]
    assert [f"{rule['id']}: {rule['help']}" for rule in violations] == []


@pytest.mark.slow
@needs_browser
def test_a_column_sorts_the_table_in_both_directions(open_page, page_file):
    page = open_page(file=page_file)
    for name, value in (("errors", float), ("p", float), ("schedule", str), ("run", str)):
        column = page.locator("#runs thead th").all_inner_texts().index(name) + 1
        head = page.locator(f"#runs thead th:nth-child({column})")
        for order in ("ascending", "descending"):
            head.get_by_role("button").click()
            assert head.get_attribute("aria-sort") == order
            assert page.locator("[aria-sort]").count() == 1
            cells = page.locator(f"#runs tbody :nth-child({column}):is(td, th)").all_inner_texts()
            filled = [cell for cell in cells if cell]
            assert cells == filled + [""] * (8 - len(filled))  # empty cells stay at the end
            values = [value(cell.casefold()) for cell in filled]
            assert len(values) == (7 if name == "p" else 8)
            if name != "run":  # browsers sort punctuation in names by locale
                assert values == sorted(values, reverse=order == "descending")
        assert cells[0] != cells[-1]


@pytest.mark.slow
@needs_browser
def test_at_most_six_runs_have_a_colour_each_a_different_one(open_page, page_file):
    page = open_page(file=page_file)
    boxes = page.locator("#runs input")
    assert boxes.count() == 8
    checked = boxes.evaluate_all("all => all.map(box => box.checked)")
    assert sum(checked) == 6
    assert boxes.evaluate_all("all => all.map(box => box.disabled)") == [not c for c in checked]
    lines = page.locator("#accuracy polyline")
    colours = lines.evaluate_all("all => all.map(line => getComputedStyle(line).stroke)")
    assert len(colours) == len(set(colours)) == 6
    dashes = lines.evaluate_all("all => all.map(line => getComputedStyle(line).strokeDasharray)")
    assert len(set(dashes)) == 6  # for readers who cannot tell the colours apart
    dash = "all => all.map((one) => getComputedStyle(one).getPropertyValue('--dash'))"
    assert page.locator("#accuracy .legend span").evaluate_all(dash) == lines.evaluate_all(dash)
    page.locator("#runs input:checked").first.uncheck()
    assert lines.count() == 5
    assert page.locator("#parameters figure").first.locator(".chosen").count() == 5
    name = page.locator("#runs label:has(input:not(:checked))").last.inner_text()
    page.locator("#runs input:not(:checked)").last.check()
    assert lines.count() == 6
    assert name in page.locator("#accuracy .legend").inner_text()
    for _ in range(6):
        page.locator("#runs input:checked").first.uncheck()
    assert not page.locator("#accuracy").is_visible()


@pytest.mark.slow
@needs_browser
def test_charts_show_values_on_hover_and_by_keyboard(open_page, page_file):
    page = open_page(file=page_file)
    curve = page.locator("#accuracy svg")
    curve.focus()
    page.keyboard.press("Home")
    assert page.locator("#accuracy .legend").inner_text().startswith("epoch 1")
    assert "this commit" in curve.get_attribute("aria-valuetext")
    page.keyboard.press("End")
    cells = page.locator("#runs tbody tr").evaluate_all(
        "all => all.map(({ cells }) => [cells[0].textContent, cells[1].textContent])"
    )
    accuracies = dict(cells)
    last = page.locator("#accuracy .legend span").all_inner_texts()
    assert last == [f"{name} {accuracies[name]}" for name, _ in cells[:6]]
    page.locator("#loss svg").press("Home")
    history = json.loads((page_file.parent / "plots/history.json").read_text())["rows"]
    expect(page.locator("#loss .legend")).to_contain_text(
        f"this commit {history[0]['train_loss']:.4f}"
    )
    points = page.locator("#parameters .chart-box").filter(has_text="train.lr")
    assert points.locator("circle").count() == 8
    points.locator("svg").focus()
    page.keyboard.press("End")
    assert points.locator(".legend").inner_text().startswith("lr=0.4: train.lr 0.4, ")
    page.keyboard.press("Home")
    assert points.locator(".legend").inner_text().startswith("worse: train.lr 0.001, ")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")  # two runs with the same learning rate and accuracy
    names, values = points.locator(".legend").inner_text().split(": ")
    assert {*names.split("; ")} == {"this commit", "same"}
    assert values.startswith("train.lr 0.02, ")
    page.keyboard.press("Tab")  # leaves the chart
    assert points.locator(".legend").inner_text() == "8 runs"
    points.locator("svg").scroll_into_view_if_needed()
    worse, _, same = (points.locator("circle").nth(k).bounding_box() for k in range(3))
    assert worse["y"] > same["y"]  # on the screen, y points down
    page.mouse.move(worse["x"] + worse["width"] / 2, worse["y"] + worse["height"] / 2)
    expected = f"worse: train.lr 0.001, {accuracies['worse']}"
    expect(points.locator(".legend")).to_have_text(expected)
    page.mouse.move(0, 0)
    expect(points.locator(".legend")).to_have_text("8 runs")


@pytest.mark.slow
@needs_browser
def test_a_scrolling_finger_selects_no_run(open_page, page_file):
    page = open_page(390, file=page_file, has_touch=True, is_mobile=True)
    chart = page.locator("#parameters .chart").first
    chart.scroll_into_view_if_needed()
    box, scrolled = chart.bounding_box(), page.evaluate("scrollY")
    touch(page, [(box["x"] + 60, box["y"] + 150 - 10 * k) for k in range(12)])
    page.wait_for_function(f"scrollY > {scrolled}")
    assert page.locator("#parameters .legend").first.inner_text() == "8 runs"


@pytest.mark.slow
@needs_browser
def test_images_with_different_predictions_are_shown_with_both(open_page, page_file):
    page = open_page(file=page_file)
    images = page.locator("#images li")
    total = images.count()
    page.locator("#other").select_option("worse")
    assert 20 < images.count() <= total
    assert page.locator("#count").inner_text() == f"{images.count()} images"
    predictions = json.loads((page_file.parent / "plots/predictions.json").read_text())["rows"]
    for item in images.all_inner_texts():
        row = predictions[int(re.search(r"test image (\d+)", item)[1])]
        assert f"label {row['actual']}\n" in item
        assert f"{row['predicted']}: this commit" in item
        assert ": worse" in item
    page.locator("#other").select_option("same")
    assert images.count() == 0
    page.goto("about:blank")
    page.go_back()  # browsers restore fields that allow it
    assert (page.locator("#other").input_value(), images.count()) == ("-1", total)


@pytest.mark.slow
@needs_browser
def test_image_numbers_replace_missing_test_images(open_page, computed, tmp_path):
    folder = commit_results(computed, tmp_path / "project")
    (folder / "data/mnist/test.npz").unlink()
    add_experiments(folder, {"worse": {"changes": {"train.lr": 0.1}, "flips": 9}})
    assert compare(folder).returncode == 0
    page = open_page(file=folder / "reports/compare.html")
    assert page.messages == []
    assert page.locator("#images img").count() == 0
    assert page.locator("#images li").first.inner_text().count("test image") == 1
