"""Every params.yaml is either used unchanged or rejected in one line."""

import contextlib
import inspect
import io
import math
import re
import time
from dataclasses import astuple, is_dataclass
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_pipeline import STAGES, section_of
from workspaces import ROOT, small_params

from common.params import read_params, select, validate
from common.stage import exit_on_user_error, run

MAINS = {section_of(stage): import_module(stage).main for stage in STAGES}
NAMES = {section: [*inspect.signature(main).parameters] for section, main in MAINS.items()}

numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, -1, 1e308, 1e-308, 10**400, math.inf, -math.inf, math.nan, 2**31, 2**63]),
)
anything = st.recursive(
    st.one_of(numbers, st.booleans(), st.none(), st.text(max_size=30), st.binary(max_size=30)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
RAW = [
    "",
    "\ufeff",
    "---\n---\n",
    "[1, 2",
    "train: [",
    "train: {lr: 1, lr: 2}",
    "train: {}\ntrain: {}",
    "train: !!python/object/apply:os.system ['touch exploited']",
    "!!python/name:os.system ''",
    "train: &a [*a]",
    "&a [*a, *a]",
    "a: &a [1]\nb: &b [*a, *a]\nc: &c [*b, *b]\ntrain: *c",
    "train: " + "{a: " * 3000,
    "train: " + "[" * 19_000,
    "train: " + "[" * 90_000,
    "train: {lr: " + "9" * 10_000_000 + "}",
    "x" * 10_000_000,
    "train: \x00",
    "train: 2001-02-30",
    "train: !!timestamp now",
    "? {a: 1}\n: 2\n",
    "train: {? [a, b] : 1}",
    "<<: 1",
    "train: {<<: [1]}",
    "\t",
    "%YAML 9.9\n---\n",
    "train: {seed: 0b2}",
    "train: 1:2:3",
]


def files():
    """A strategy: params.yaml with changed values, names or sections, or any text."""

    @st.composite
    def changed(draw):
        params = small_params()
        section = draw(st.sampled_from([*NAMES]))
        for _ in range(draw(st.integers(1, 3))):
            name = draw(st.sampled_from(NAMES[section]))
            how = draw(st.sampled_from(["value", "value", "value", "unknown", "missing"]))
            if how == "value":
                params[section][name] = draw(anything)
            elif how == "unknown":
                params[section][draw(st.text(max_size=20))] = draw(anything)
            else:
                params[section].pop(name, None)
        return yaml.safe_dump(params, allow_unicode=draw(st.booleans()))

    whole = st.dictionaries(st.text(max_size=8) | st.sampled_from([*NAMES]), anything)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    cut = st.tuples(st.integers(0, len(text)), st.text(max_size=5)).map(
        lambda at: text[: at[0]] + at[1] + text[at[0] + 1 :]
    )
    return st.one_of(
        changed(), changed(), whole.map(yaml.safe_dump), cut, st.text(), st.sampled_from(RAW)
    )


def is_sound(value):
    """Whether a value is a string, a finite number, null, or a group of these."""
    if is_dataclass(value):
        return all(map(is_sound, astuple(value)))
    number = isinstance(value, float) and math.isfinite(value)
    return number or value is None or isinstance(value, str | int)


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=files())
def test_every_params_yaml_is_used_unchanged_or_rejected_in_one_line(workspace, written, text):
    Path("params.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    for section, main in MAINS.items():
        errors, started = io.StringIO(), time.monotonic()
        with contextlib.redirect_stderr(errors):
            try:
                with exit_on_user_error(section):
                    valid = validate(main, select(read_params(), section))
                    assert all(map(is_sound, valid.values())), valid
                status = 0
            except SystemExit as stopped:
                status = stopped.code
        assert time.monotonic() - started < 5
        lines = errors.getvalue().splitlines()
        assert status == (2 if lines else 0)
        assert all(line.startswith("params.yaml: ") for line in lines), lines
        assert all(line.isprintable() and len(line) < 700 for line in lines), lines
    assert written() == {}


@pytest.mark.parametrize("text", RAW, ids=range(len(RAW)))
def test_an_unusable_params_yaml_is_rejected_in_one_line(workspace, written, text, capsys):
    Path("params.yaml").write_text(text)
    with pytest.raises(SystemExit) as stopped:
        run(MAINS["train"], "train")
    assert stopped.value.code == 2
    line = capsys.readouterr().err
    assert re.match("params.yaml: (train|not valid YAML|more than)", line)
    assert "Traceback" not in line
    assert written() == {}
