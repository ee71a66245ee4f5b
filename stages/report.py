"""Write metrics, figures and answers to the assignment's questions as one page.

reads   params.yaml                         report; the page quotes the other sections
        params.schema.json                  default of each parameter
        stages/page/                        templates, styles and scripts
        stages/*.py                         functions quoted on the page
        data/surfaces.npz, data/xor.npz, data/mnist/test.npz, data/predictions.csv,
        data/network/weights.npz, data/network/history.csv, data/plots_dark/*.png,
        reports/figures/*.png, reports/metrics/*.json
writes  reports/index.html                  a single file that works offline
"""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from math import log10
from pathlib import Path
from shlex import quote
from typing import Annotated

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import Field

from common.files import read_arrays, write_bytes
from common.mnist import TEST, read_names
from common.params import flatten, read_params, select
from common.stage import run
from common.statistics import most_confident_errors, recall_by_class
from page import facts, network
from page.source import quote_source
from page.typeset import (
    Mathematics,
    embed_folder,
    format_number,
    format_percent,
    format_plural,
    format_yaml,
)

PAGE = Path(__file__).with_name("page")
STYLES = ("base", "neuron", "xor", "network", "print")  # in the order of the page
SCRIPTS = (
    *("page", "charts", "neuron", "surface", "surfaces", "descent"),
    *("perceptron", "planes", "xor", "starts"),
    *("network", "explain", "maps", "normalise", "drawing", "history"),
)


def csp_hash(script):
    """The hash of a script for the Content-Security-Policy."""
    return b64encode(sha256(script.encode()).digest()).decode()


@cache  # tests render the page many times
def make_environment():
    """The Jinja environment of the templates, with their filters."""
    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[Mathematics],
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}
    environment.filters |= {"number": format_number, "percent": format_percent}
    environment.filters |= {"plural": format_plural, "yaml": format_yaml, "flatten": flatten}
    environment.filters |= {"log10": log10, "quote": quote, "csp_hash": csp_hash}
    environment.globals["source"] = quote_source
    return environment


def main(
    author: Annotated[str, Field(max_length=200)],
    help: Annotated[str, Field(max_length=10_000)],
    errors: Annotated[int, Field(ge=1, le=200)],
    points: Annotated[int, Field(ge=2, le=100)],
):
    def read(name):
        return (PAGE / name).read_text(encoding="utf-8")

    defaults = facts.read_defaults()
    params = read_params()
    params = {section: select(params, section) for section in defaults}
    metrics = facts.read_results()
    fields, perceptron = read_arrays("data/surfaces.npz"), read_arrays("data/xor.npz")
    history = pd.read_csv("data/network/history.csv")
    predictions = pd.read_csv("data/predictions.csv")
    test = read_arrays(TEST)
    images, (dataset, classes) = test["images"], read_names(test)
    state = read_arrays("data/network/weights.npz")
    layers = [*network.list_layers(state)]
    first_of_each_class = predictions.groupby("actual").head(1).sort_values("actual")
    examples = [*network.list_inputs(first_of_each_class, images, classes)]
    worst = [*network.list_inputs(most_confident_errors(predictions, errors), images, classes)]
    script = "\n".join(read(f"scripts/{name}.js") for name in SCRIPTS)

    template = make_environment().get_template("index.html")
    page = template.render(
        author=author,
        help=help,
        questions=yaml.safe_load(read("questions.yaml")),
        dataset=dataset,
        params=params,
        changed=[*facts.list_changes(params, defaults)],
        metrics=metrics,
        neuron=facts.describe_neuron(fields),
        stalled=facts.find_stalled(perceptron, metrics["xor"]["levels"]),
        layers=layers,
        classes=classes,
        examples=examples,
        errors=worst,
        history=facts.describe_history(history),
        images=len(images),
        recall=recall_by_class(predictions).assign(name=classes).to_dict("records"),
        confused=facts.most_confused(predictions, classes),
        light=embed_folder("reports/figures"),
        dark=embed_folder("data/plots_dark"),
        data={  # read by the scripts
            "surfaces": facts.surface_data(params["surfaces"], points),
            "network": network.pack_weights(state)
            | {
                "classes": classes,
                "inputs": [{k: i[k] for k in ("pixels", "label")} for i in examples + worst],
            },
            "history": history.dropna(axis="columns").to_dict("list"),
            "xor": params["xor"] | {"initial": perceptron["initial"].tolist()},
        },
        style="\n".join(read(f"styles/{name}.css") for name in STYLES),
        script=script,
    )
    write_bytes("reports/index.html", f"{page}\n".encode())
    print(f"reports/index.html: {len(page.encode()) / 1e6:.2f} MB")


if __name__ == "__main__":
    run(main, section="report")
