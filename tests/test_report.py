"""The page says what the metrics say, whatever they are, and is one file that needs no other."""

import json
import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, small_params

import report
import surfaces
from common.files import read_metrics, write_metrics
from page.typeset import format_number

PAGE = Path("reports/index.html")
EXTERNAL = re.compile(r"""\b(?:src|href|srcset)="(?!data:|#)|url\(|@import|https?://""")


class Text(HTMLParser):
    """What a reader sees: the text outside of style and script, with single spaces."""

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
    """The page's HTML, and its text as a reader sees it."""
    report.main(**small_params()["report"] | changes)
    page = PAGE.read_text(encoding="utf-8")
    return page, Text(page).text


def change_params(section, **changes):
    params = yaml.safe_load(Path("params.yaml").read_text())
    params[section] |= changes
    Path("params.yaml").write_text(yaml.safe_dump(params))


def change_metrics(stage, **changes):
    metrics = {name: v for name, v in (read_metrics(stage) | changes).items() if v is not None}
    write_metrics(f"reports/metrics/{stage}.json", metrics)


def test_the_page_has_equal_bytes_twice(results, written):
    make()
    first = written()
    make()
    assert written() == first


def test_hooks_that_tidy_text_files_would_change_no_result(results):
    """Else a stage whose output Git tracks would be stale after every commit."""
    make()
    for path in (path for path in Path("reports").rglob("*") if path.suffix in (".html", ".json")):
        text = path.read_text(encoding="utf-8")
        assert text == "\n".join(line.rstrip() for line in text.split("\n")).rstrip("\n") + "\n", (
            path
        )


def test_every_number_in_the_headline_follows_its_metric(results):
    change_metrics("evaluate", accuracy=0.12345, low=0.111, high=0.2222, errors=4321)
    change_metrics("train", parameters=98_765, images=43_210)
    change_params("train", epochs=37, batch_size=1234)
    page, _ = make()
    headline = Text(page[page.index('id="headline"') : page.index("<nav")]).text
    for number in ("12.35%", "11.10% to 22.22%", "4,321", "98,765", "43,210", "37", "1,234"):
        assert number in headline


# What the page shows in a figure, or not at all.
UNQUOTED = {
    "surfaces": {"relu_l2_min", "relu_l2_sum"},
    "evaluate": {f"recall_{c}" for c in range(10)},
}


@pytest.mark.parametrize("stage", report.STAGES)
def test_a_change_of_any_metric_changes_the_text(results, stage):
    metrics = read_metrics(stage)
    _, before = make()
    unquoted, missed_most = UNQUOTED.get(stage, set()), None
    if stage == "evaluate":  # the class missed most is named
        missed_most = min((f"recall_{c}" for c in range(10)), key=metrics.get)
    for name, value in metrics.items():
        other = "yes" if value == "no" else "no"
        changed = other if isinstance(value, str) else value * 1.1 + 0.01
        changed = 1.0 if name == missed_most else changed
        write_metrics(f"reports/metrics/{stage}.json", metrics | {name: changed})
        assert (make()[1] == before) == (name in unquoted - {missed_most}), name


def test_every_number_has_its_origin_on_the_page(results):
    page, _ = make()
    named = {*re.findall(r"<code>(\w+)</code>", page[page.index("<details>") :])}
    missing = {"l2_steps", "ce_steps", "val_loss", "val_acc", "xor_stuck", "xor_stuck_2ln2"}
    metrics = {name for stage in report.STAGES for name in read_metrics(stage)}
    assert named - missing == metrics - missing


def test_no_file_and_no_address_is_needed(results):
    page, _ = make()
    page = page.replace('xmlns="http://www.w3.org/1998/Math/MathML"', "")
    assert EXTERNAL.findall(page) == []
    assert "default-src 'none'" in page


def test_the_data_set_is_named_and_its_files_can_be_checked(results):
    _, text = make()
    assert "MNIST" not in text
    assert text.count("Digits") >= 10
    for path in ("data/mnist/train.npz", "data/mnist/test.npz"):
        assert sha256(Path(path).read_bytes()).hexdigest() in text


def test_parameters_that_differ_from_the_defaults_are_named_with_the_command(results):
    _, text = make()
    assert "train.epochs 2 10" in text
    assert "-S train.epochs=2" in text
    assert "plots.elevation" not in text


@pytest.mark.parametrize(
    ("text", "printed"), [("1e-05", "1 × 10⁻⁵"), ("1E-3", "0.001"), ("0.2", "0.2"), ("3", "3")]
)
def test_a_number_in_the_notation_of_dvc_is_printed_as_a_number(results, text, printed):
    params = Path("params.yaml").read_text().replace("lr: 0.02\n", f"lr: {text}\n")
    Path("params.yaml").write_text(params)
    assert f"Learning rate {printed}, with linear decay" in make()[1]


def test_without_augmentation_and_ema_the_page_says_so_and_how_to_repeat_it(results):
    assert "Data augmentation" in make()[1]
    change_params("train", augment=None, ema=0, compile=True)
    _, text = make()
    assert "Data augmentation" not in text
    assert "Averaged weights" not in text
    assert "train.augment null {shift: 2, rotation: 10.0, " in text
    assert "-S train.augment=null" in text
    assert "-S train.compile=true" in text


def test_a_changed_member_of_a_group_is_named_with_its_group(results):
    augment = small_params()["train"]["augment"]
    change_params("train", augment=augment | {"shift": 1})
    _, text = make()
    assert "train.augment.shift 1 2" in text
    assert "-S train.augment.shift=1" in text
    assert "augment.rotation=10" not in text


@pytest.mark.parametrize(
    ("schedule", "warmup", "said"),
    [
        ("constant", 0.0, "constant It stays the same throughout"),
        ("constant", 0.2, "gradients large. It stays the same from then on"),
        ("cosine", 0.0, "with cosine decay It decays to zero"),
        ("linear", 0.2, "gradients large. It then decays to zero"),
    ],
)
def test_the_page_says_how_the_learning_rate_goes(results, schedule, warmup, said):
    change_params("train", schedule=schedule, warmup=warmup)
    assert said in make()[1]


def test_the_defaults_have_the_names_of_params_yaml():
    defaults, params = (
        yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
        for path in ("stages/page/defaults.yaml", "params.yaml")
    )
    assert {s: {*defaults[s]} for s in defaults} == {s: {*params[s]} for s in params}


def test_what_comes_from_data_or_parameters_is_escaped(results):
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    change_metrics("train", torch=attack)
    change_params("report", author=attack)
    page, text = make(author=attack)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert attack in text


@pytest.mark.parametrize(
    ("target", "corner", "said"),
    [
        (0.5, "6", "Both are symmetric about the line"),
        (0.8, "−6", "Neither is symmetric about it"),
        (0, "6", "both fall towards 0 without reaching it"),
        (1, "−6", "both fall towards 0 without reaching it"),
    ],
)
def test_the_answer_fits_the_target(results, target, corner, said):
    change_params("surfaces", target=target)
    surfaces.main(**small_params()["surfaces"] | {"target": target})
    found = read_metrics("surfaces")
    text = "".join(make()[1].split())
    assert "".join(said.split()) in text
    assert f"startinthatcorner,w=b={corner},with" in text
    assert f"Undercross-entropythattakes{found['ce_steps']}steps" in text
    assert found["ce_steps"] > 10
    for end in ("min", "max"):
        value = format_number(found[f"l2_grad_{end}"], ".4f")
        assert f"{value}atw+b={format_number(found[f'l2_grad_{end}_at'], '.2f')}" in text


def test_a_descent_that_does_not_arrive_is_said_to_take_longer(results):
    assert "l2_steps" not in read_metrics("surfaces")
    assert "under L2 more than 3,000" in make()[1]


def test_the_page_can_be_made_without_mistakes_validation_or_stuck_starts(results):
    perfect = Path("data/predictions.csv").read_text().splitlines()
    rows = [row.split(",") for row in perfect[1:]]
    rows = [",".join([actual, actual, *rest]) for actual, _, *rest in rows]
    Path("data/predictions.csv").write_text("\n".join([perfect[0], *rows]) + "\n")
    change_metrics("evaluate", accuracy=1.0, low=0.99, high=1.0, errors=0)
    change_metrics("train", val_acc=None, val_loss=None, held_out=0)
    change_metrics("xor", xor_solved=1.0, xor_stuck=None, xor_stuck_2ln2=None)
    change_params("train", validation=0)
    _, text = make(author="Ada")
    assert "worst mistakes" not in text
    assert "The others have not" not in text
    assert "missed most" not in text
    assert "leaves none to choose by" in text
    assert "Ada" in text


@pytest.mark.parametrize(
    ("train", "low", "high", "said", "unsaid"),
    [
        (0.993, 0.98, 0.99, "overfits, though little", "underfits"),
        (0.999, 0.9, 0.92, "overfits, and much", "underfits"),
        (0.5, 0.3, 0.4, "it underfits", "cannot be seen"),
        (0.985, 0.98, 0.99, "overfitting cannot be seen", "overfits"),
        (0.95, 0.98, 0.99, "does not overfit", "cannot be seen"),
    ],
)
def test_the_verdict_on_overfitting_follows_the_numbers(results, train, low, high, said, unsaid):
    change_metrics("train", train_acc=train)
    change_metrics("evaluate", accuracy=(low + high) / 2, low=low, high=high)
    _, text = make()
    assert said in text
    assert unsaid not in text


def test_the_film_runs_from_the_first_step_to_the_last(results):
    page, _ = make()
    film = json.loads(re.search(r'id="film-data">(.*?)</script>', page)[1])
    assert (film["step"][0], film["step"][-1]) == (0, 60)
    assert len(film["loss"]) == len(film["hidden"]) == len(film["line"]) == len(film["step"]) == 10


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
def test_numbers_are_printed_as_people_write_them(value, form, printed):
    assert format_number(value, form) == printed


def test_formulas_become_mathml_with_the_values_of_the_template(results):
    page, text = make()
    assert "$" not in text
    assert "{{" not in page
    assert re.search(r"<math[^>]*>.*?<mn>6</mn>", page)
