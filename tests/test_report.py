"""The page follows the metrics and parameters, and is one self-contained file."""

import json
import re
from base64 import b64decode
from decimal import Decimal
from html.parser import HTMLParser
from io import BytesIO
from math import exp
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from scipy.stats import entropy
from workspaces import ROOT, small_params

import report
import surfaces
from common.files import read_arrays
from common.model import DigitClassification, fuse, scale
from common.params import flatten
from common.results import md5_of, read_metrics, write_metrics
from page import facts, network
from page.typeset import embed_digit, format_number

PAGE = Path("reports/index.html")
EXTERNAL = re.compile(r"""\b(?:src|href|srcset)="(?!data:|#)|url\(|@import|https?://""")


class Text(HTMLParser):
    """The visible text of a page, without styles and scripts, with single spaces."""

    def __init__(self, page):
        super().__init__()
        self.hidden, self.words = 0, []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.hidden += tag in ("style", "script")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("style", "script")

    def handle_data(self, data):
        if not self.hidden:
            self.words.append(data)


def make(**changes):
    """Write the page; return its HTML and visible text."""
    report.main(**small_params()["report"] | changes)
    page = PAGE.read_text(encoding="utf-8")
    return page, Text(page).text


def change_params(section, **changes):
    params = yaml.safe_load(Path("params.yaml").read_text())
    params[section] |= changes
    Path("params.yaml").write_text(yaml.safe_dump(params))


def change_metrics(section, changes):
    """Set metrics, dotted name to value; None removes one."""
    metrics = read_metrics(section)
    for path, value in changes.items():
        *parents, name = (int(part) if part.isdigit() else part for part in path.split("."))
        members = metrics
        for parent in parents:
            members = members[parent]
        if value is None:
            del members[name]
        else:
            members[name] = value
    write_metrics(section, metrics)


def test_two_runs_write_the_same_bytes(results, written):
    make()
    first = written()
    make()
    assert written() == first


def test_results_have_no_trailing_whitespace(results):
    """Otherwise whitespace hooks would change them, and the stages would be outdated."""
    make()
    for path in (path for path in Path("reports").rglob("*") if path.suffix in (".html", ".json")):
        text = path.read_text(encoding="utf-8")
        assert text == "\n".join(line.rstrip() for line in text.split("\n")).rstrip("\n") + "\n", (
            path
        )


def test_the_headline_follows_its_metrics(results):
    changes = {"accuracy": 0.12345, "interval.0": 0.111, "interval.1": 0.2222, "errors": 4321}
    change_metrics("evaluate", changes)
    change_metrics("train", {"splits.0.images": 43_210})
    change_params("train", epochs=37, batch_size=1234)
    page, _ = make()
    headline = Text(page[page.index('id="headline"') : page.index("<nav")]).text
    numbers = (
        "12.35%",
        "11.10% to 22.22%",
        "4,321 on 100 test",
        "115,690",
        "43,210",
        "37",
        "1,234",
    )
    for number in numbers:
        assert number in headline


# Shown only in figures, or nowhere.
UNQUOTED = {
    *("provenance", "recall", "first_losses"),
    *("surfaces.relu_l2_sum", "surfaces.fields.2.min", "xor.runs.0.loss", "xor.runs.0.min"),
    *("xor.runs.1.loss", "xor.levels.1.loss", "train.splits.1.loss", "train.splits.1.accuracy"),
}


@pytest.mark.slow
@pytest.mark.parametrize("section", facts.SECTIONS)
def test_a_change_of_any_metric_changes_the_text(results, section):
    metrics = read_metrics(section)
    _, before = make()
    numbers = {name: v for name, v in flatten(metrics) if isinstance(v, int | float)}
    for name, value in numbers.items():
        group = name.split(".")[0]
        if group in UNQUOTED or f"{section}.{name}" in UNQUOTED:
            continue
        change_metrics(section, {name: value * 1.1 + 0.01})
        assert make()[1] != before, name
        write_metrics(section, metrics)


def test_the_class_with_the_lowest_recall_is_named(results):
    predictions = pd.read_csv("data/predictions.csv")
    predictions.assign(predicted=predictions["actual"].replace(7, 1)).to_csv("data/predictions.csv")
    assert "Lowest recall: class 7." in make()[1]


def test_the_table_of_numbers_defines_every_metric(results):
    page, _ = make()
    named = {*re.findall(r"<code>(\w+)</code>", page[page.index('<details class="numbers">') :])}
    metrics = {name for section in facts.SECTIONS for name in read_metrics(section)}
    assert metrics <= named
    assert named - metrics <= {"l2_steps", "ce_steps", "val_loss", "val_acc"}


def test_the_page_refers_to_no_other_file_or_address(results):
    page, _ = make()
    for namespace in ("1998/Math/MathML", "2000/svg"):  # namespaces, not addresses
        page = page.replace(f'"http://www.w3.org/{namespace}"', "")
    assert EXTERNAL.findall(page) == []
    assert "default-src 'none'" in page


def test_the_page_names_the_data_set_and_its_hashes(results):
    _, text = make()
    assert "MNIST" not in text
    assert text.count("Digits") >= 5
    for path in ("data/mnist/train.npz", "data/mnist/test.npz"):
        assert md5_of(path) in text


def test_changed_parameters_are_listed_with_the_command(results):
    _, text = make()
    default = facts.read_defaults()["train"]["epochs"]
    assert f"train.epochs 2 {default}" in text
    assert "-S train.epochs=2" in text
    assert "plots.elevation" not in text


@pytest.mark.parametrize(
    ("text", "printed"), [("1e-05", "1 × 10⁻⁵"), ("1E-3", "0.001"), ("0.2", "0.2"), ("3", "3")]
)
def test_scientific_notation_in_params_yaml_is_parsed_as_a_number(results, text, printed):
    params = Path("params.yaml").read_text().replace("lr: 0.02\n", f"lr: {text}\n")
    Path("params.yaml").write_text(params)
    assert f"Learning rate {printed}, with linear decay" in make()[1]


def test_without_augmentation_and_ema_the_page_omits_them_and_lists_the_change(results):
    assert "Data augmentation" in make()[1]
    change_params("train", augment=None, ema=0, compile=True)
    _, text = make()
    assert "Data augmentation" not in text
    assert "Averaged weights" not in text
    assert "train.augment null {shift: 2, rotation: 10.0, " in text
    assert "-S train.augment=null" in text
    assert "-S train.compile=true" in text


def test_a_changed_member_of_a_group_is_listed_with_its_group(results):
    augment = small_params()["train"]["augment"]
    change_params("train", augment=augment | {"shift": 1})
    _, text = make()
    assert "train.augment.shift 1 2" in text
    assert "-S train.augment.shift=1" in text
    assert "augment.rotation=10" not in text


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 0.0, "constant It stays constant throughout"),
        ("constant", 0.2, "weights is unstable. It stays constant afterwards"),
        ("cosine", 0.0, "with cosine decay It decays to zero"),
        ("linear", 0.2, "weights is unstable. Then it decays to zero"),
    ],
)
def test_the_page_describes_the_learning_rate_schedule(results, schedule, warmup, expected):
    change_params("train", schedule=schedule, warmup=warmup)
    assert expected in make()[1]


def test_values_from_data_and_parameters_are_escaped(results):
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    change_metrics("train", {"machine.0.torch": attack})
    change_params("report", author=attack, help=attack)
    page, text = make(author=attack, help=attack)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert text.count(attack) >= 3


@pytest.mark.parametrize(
    ("target", "corner", "expected"),
    [
        (0.5, "6", "Both are symmetric about the line"),
        (0.8, "−6", "Neither is symmetric about it"),
        (0, "6", "both losses approach 0 without reaching it"),
        (1, "−6", "both losses approach 0 without reaching it"),
    ],
)
def test_the_answer_and_its_numbers_match_the_target(results, target, corner, expected):
    change_params("surfaces", target=target)
    metrics = surfaces.main(**small_params()["surfaces"] | {"target": target})
    write_metrics("surfaces", metrics)
    text = "".join(make()[1].split())
    assert "".join(expected.split()) in text
    assert f"Gradientdescentfromthecornerw=b={corner},with" in text
    assert f"takes{metrics['ce_steps']}stepsoncross-entropy" in text
    assert metrics["ce_steps"] > 10
    neuron = facts.describe_neuron(read_arrays("data/surfaces.npz"))
    p = 1 / (1 + exp(-2 * neuron["corner"]))  # z = w + b
    assert neuron["ce_grad_at_corner"] == pytest.approx(p - target)
    assert neuron["l2_grad_at_corner"] == pytest.approx(2 * (p - target) * p * (1 - p))
    if 0 < target < 1:
        assert 1 / (1 + exp(-neuron["valley"])) == pytest.approx(target)
        assert neuron["entropy"] == pytest.approx(entropy([target, 1 - target]))
    (row,) = (row for row in metrics["fields"] if row["field"] == "l2_grad")
    for end in ("min", "max"):
        value = format_number(row[end], ".4f")
        assert f"{value}(at{format_number(row[f'{end}_at'], '.2f')})" in text


def test_a_descent_that_does_not_converge_is_reported_with_the_step_limit(results):
    assert "l2_steps" not in read_metrics("surfaces")
    assert "and more than 3,000 steps on L2" in make()[1]


def test_cross_entropy_is_better_only_if_it_needs_fewer_steps(results):
    assert "Cross-entropy trains better" in make()[1]
    change_metrics("surfaces", {"ce_steps": None, "l2_steps": 1})
    _, text = make()
    assert "Cross-entropy trains better" not in text
    assert "takes more than 3,000 steps on cross-entropy and 1 step on L2" in text


def test_distortions_by_zero_and_short_runs_are_described_correctly(results):
    nothing = dict.fromkeys(("shift", "rotation", "scale", "shear", "elastic"), 0)
    change_params("train", augment=nothing | {"until": 0.999}, label_smoothing=0.004)
    change_metrics("xor", {"levels.0.fraction": 0.0, "levels.1.fraction": 0.0})
    change_metrics("evaluate", {"errors": 100})
    history = Path("data/network/history.csv")
    pd.read_csv(history)[:1].to_csv(history, index=False)
    _, text = make()
    for part in ("After the only epoch the validation", "0.0% of the other starts", "0.4% of the"):
        assert part in text
    for part in ("Data augmentation", "augmented", "their augmentation", "Few errors"):
        assert part not in text


def test_the_page_works_without_errors_validation_or_unsolved_starts(results):
    perfect = Path("data/predictions.csv").read_text().splitlines()
    rows = [row.split(",") for row in perfect[1:]]
    rows = [",".join([actual, actual, *rest]) for actual, _, *rest in rows]
    Path("data/predictions.csv").write_text("\n".join([perfect[0], *rows]) + "\n")
    changes = {"accuracy": 1.0, "interval.0": 0.99, "interval.1": 1.0, "errors": 0}
    change_metrics("evaluate", changes)
    change_metrics("train", {"val_acc": None, "val_loss": None, "splits.1.images": 0})
    change_metrics("xor", {"xor_solved": 1.0, "levels": []})
    change_params("train", validation=0)
    _, text = make(author="Ada")
    assert "most confident errors" not in text
    assert "of the other starts stall" not in text
    assert "Lowest recall" not in text
    assert "no validation images are left" in text
    assert "Ada" in text


@pytest.mark.parametrize(
    ("train", "low", "high", "expected", "excluded"),
    [
        (0.993, 0.98, 0.99, "overfits slightly", "underfits"),
        (0.999, 0.9, 0.92, "overfits strongly", "underfits"),
        (0.5, 0.3, 0.4, "it underfits", "no significant overfitting"),
        (0.985, 0.98, 0.99, "no significant overfitting", "overfits slightly"),
        (0.95, 0.98, 0.99, "no overfitting", "no significant overfitting"),
    ],
)
def test_the_verdict_on_overfitting_follows_the_numbers(
    results, train, low, high, expected, excluded
):
    change_metrics("train", {"splits.0.accuracy": train})
    changes = {"accuracy": (low + high) / 2, "interval.0": low, "interval.1": high}
    change_metrics("evaluate", changes)
    _, text = make()
    assert expected in text
    assert excluded not in text


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ((0.03, 0.02, 0.01), "still falls, from 0.0200 to 0.0100; it is lowest at the end"),
        ((0.01, 0.02, 0.03), "rises, from 0.0200 to 0.0300; it was lowest after epoch 1"),
    ],
)
def test_the_verdict_on_overfitting_includes_the_validation_loss(results, losses, expected):
    history = pd.read_csv("data/network/history.csv").iloc[:1]
    history = pd.concat([history] * len(losses)).assign(
        epoch=range(1, len(losses) + 1), val_loss=losses
    )
    history.to_csv("data/network/history.csv", index=False)
    change_metrics("train", {"splits.0.loss": 0.02, "val_loss": 0.05})
    _, text = make()
    assert f"In the last epoch the validation loss {expected}" in text
    assert "The validation loss is 2.50 times the training loss" in text


def test_an_equal_accuracy_is_shown_as_unchanged(results):
    changes = {"train_mode.0.accuracy": 0.500001, "train_mode.1.accuracy": 0.25}
    change_metrics("evaluate", {"accuracy": 0.5} | changes)
    _, text = make()
    assert "50.00% unchanged" in text
    assert "25.00% −25.00 points" in text


def test_help_has_a_section_only_if_it_is_set(results):
    assert 'id="help"' not in make()[0]
    _, text = make(help="A <language> model\nchecked the text.")
    assert "Help used A <language> model checked the text." in text
    assert text.index("Help used") < text.index("Question 1")  # in the table of contents


def test_the_first_unsolved_start_near_each_level_is_found():
    study = {
        "final_losses": np.array([1.4, 1.6, 1.4, 1.9, 1.38]),
        "solved": np.array([True, False, False, False, False]),
    }
    levels = [{"loss": loss} for loss in (1.386, 1.91, 2.5)]
    assert facts.find_stalled(study, levels) == [3, 4, None]


def test_the_history_is_described_by_its_validation_split_or_else_its_test_split():
    history = pd.DataFrame({"epoch": range(1, 5), "train_loss": [0.5, 0.3, 0.2, 0.4]})
    history["val_acc"], history["test_acc"] = [0.8, 0.7, 0.95, 0.9], [0.6, 0.65, 0.5, 0.55]
    history["val_loss"], history["test_loss"] = [0.6, 0.1, 0.2, 0.3], [0.9, 0.8, 0.7, 0.75]
    described = facts.describe_history(history)
    assert described == {
        **{"split": "validation", "first": 0.8, "best": 0.95, "best_epoch": 3, "last": 0.9},
        **{"first_loss": 0.5, "last_loss": 0.4, "losses": [0.6, 0.1, 0.2, 0.3]},
        "lowest_loss_epoch": 2,
    }
    described = facts.describe_history(history.assign(val_acc=None))
    assert (described["split"], described["best_epoch"]) == ("test", 2)
    assert described["lowest_loss_epoch"] == 3


def test_confused_pairs_are_counted_in_both_directions():
    rows = [(1, 2), (2, 1), (0, 1), (2, 2), (2, 2), (2, 2)]
    predictions = pd.DataFrame(rows, columns=["actual", "predicted"])
    assert facts.most_confused(predictions, "abc") == {"pairs": [["b", "c"]], "count": 2}
    both = facts.most_confused(predictions[1:], "abc")
    assert both == {"pairs": [["a", "b"], ["b", "c"]], "count": 1}


def test_an_input_has_the_pixels_of_its_image_and_its_actual_class_as_label():
    images = np.random.default_rng(0).integers(0, 256, (10, 28, 28), np.uint8)
    rows = pd.DataFrame({"actual": [3], "predicted": [5]}, index=[7])
    (row,) = network.list_inputs(rows, images, "abcdefghij")
    assert (row["index"], row["label"], row["actual"], row["predicted"]) == (7, 3, "d", "f")
    assert b64decode(row["pixels"]) == images[7].tobytes()
    with Image.open(BytesIO(b64decode(row["image"].partition(",")[2]))) as image:
        assert (255 - np.asarray(image) == images[7]).all()


def test_examples_are_sorted_by_class_and_errors_by_confidence(results):
    images, actual = read_arrays("data/mnist/test.npz")["images"], 9 - np.arange(100) % 10
    predictions = pd.read_csv("data/predictions.csv").assign(actual=actual, predicted=actual)
    predictions.loc[[5, 7], "predicted"] = [8, 6]
    predictions["probability"] = np.linspace(0, 1, 100)
    predictions.to_csv("data/predictions.csv", index=False)
    page, text = make()
    inputs = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])["network"]["inputs"]
    shown = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 7, 5]  # classes 0 to 9, then the errors
    assert [b64decode(row["pixels"]) for row in inputs] == [images[k].tobytes() for k in shown]
    assert [row["label"] for row in inputs] == [*range(10), 2, 4]
    assert text.index("2 , predicted 6") < text.index("4 , predicted 8")
    assert embed_digit(images[5]) in page


def test_the_layers_have_the_shapes_and_parameters_of_the_model():
    model = DigitClassification().eval()
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    layers, x = [*network.list_layers(state)], torch.zeros(1, 1, 28, 28)
    for layer in layers:
        module = model.get_submodule(layer["name"])
        x = module(x.flatten(1) if layer["name"] == "linear1" else x)
        size = sum(parameter.numel() for parameter in module.parameters())
        assert (layer["shape"], layer["parameters"]) == ([*x.shape[1:]], size)
    assert [layer["shown"] for layer in layers[:4]] == ["conv1", "conv1", "relu1", "pool1"]
    assert layers[-4]["what"] == "linear, 576 inputs"


def test_the_page_quotes_the_code_of_the_stages(results):
    _, text = make()
    for path, name in (
        ("xor_train", "def descend("),
        ("common/model", "class DigitClassification("),
    ):
        source = (ROOT / f"stages/{path}.py").read_text(encoding="utf-8")
        code = source[source.index(name) :].split("\n\n\n")[0]
        assert "".join(code.split()) in "".join(text.split())


def test_folding_batch_norm_keeps_the_outputs():
    torch.manual_seed(0)
    model = DigitClassification()
    model(scale(torch.randint(0, 256, (50, 28, 28))))  # statistics other than 0 and 1
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    folded = fuse(model.eval())
    for layer, weight, bias in network.fold_batch_norm(state):
        expected = getattr(folded, layer)
        np.testing.assert_allclose(weight, expected.weight.detach(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(bias, expected.bias.detach(), rtol=1e-5, atol=1e-6)


def test_the_page_embeds_the_initial_weights_of_the_xor_run(results):
    page, _ = make()
    xor = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])["xor"]
    assert xor["initial"] == read_arrays("data/xor.npz")["initial"].tolist()


@pytest.mark.parametrize("target", [0, 0.3, 0.5, 1])
def test_the_page_lists_exact_extremes_beside_grid_values(results, target):
    metrics = surfaces.main(**small_params()["surfaces"] | {"target": target, "points": 100})
    write_metrics("surfaces", metrics)
    change_params("surfaces", target=target)
    _, text = make()
    expected = {
        0: ["0.2963 (at 0.693); tends to 0", "infimum is 0 as"],
        0.3: ["−0.0385 (at −1.840) to 0.1695 (at 0.993)", "infimum is −0.6 as"],
        0.5: ["−0.0962 (at −1.317) to 0.0962 (at 1.317)", "infimum is −1 as"],
        1: ["−0.2963 (at −0.693); tends to 0", "infimum is −2 as"],
    }
    assert [words for words in expected[target] if words not in text] == []


@pytest.mark.parametrize(
    ("value", "form", "printed"),
    [
        (1234567, ",", "1,234,567"),
        (-0.5, ".2f", "−0.50"),
        (6.14e-06, ".1e", "6.1\u202f×\u202f10⁻⁶"),
        (1e-05, "g", "1\u202f×\u202f10⁻⁵"),
        (0.01, "g", "0.01"),
    ],
)
def test_numbers_are_typeset(value, form, printed):
    assert format_number(value, form) == printed


def test_formulas_are_converted_to_mathml_with_template_values(results):
    page, text = make()
    assert "$" not in text
    assert "{{" not in page[: page.index('id="data"')]  # JSDoc types contain braces
    assert re.search(r"<math[^>]*>.*?<mn>6</mn>", page)


@pytest.mark.parametrize("extent", [6.0, 7.0, 1000.0, 0.3])
def test_the_start_sliders_reach_the_corner_of_the_grid(results, extent):
    change_params("surfaces", extent=extent)
    for name in ("weight", "bias"):
        slider = re.search(rf'id="{name}" min="(.*?)" max="(.*?)" step="(.*?)"', make()[0])
        low, high, step = map(Decimal, slider.groups())
        assert (high - low) % step == 0


def test_weights_of_any_size_are_packed(results):
    state = {name: 1e6 * array for name, array in read_arrays("data/network/weights.npz").items()}
    packed = np.frombuffer(b64decode(network.pack_weights(state)["weights"]), "<f4")
    assert np.isfinite(packed).all()
    assert len(packed) > 115_000
