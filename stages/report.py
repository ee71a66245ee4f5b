"""Set the metrics, the figures and the answers to the assignment's questions as one page.

reads   params.yaml: report, and the other sections, which the page quotes
        stages/page/                        the text as templates, their style and script
        data/surfaces.npz, data/xor.npz, data/mnist/*.npz, data/cnn/{weights.npz,history.csv},
        data/predictions.csv, data/figures_dark/*.png, reports/figures/*.png,
        reports/metrics/*.json
writes  reports/index.html                  a single file that needs no other and no network
"""

from base64 import b64encode
from hashlib import sha256
from math import log
from pathlib import Path
from shlex import quote
from typing import Annotated

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import Field

from common.files import read_arrays, read_metrics, write_bytes
from common.mnist import TEST, TRAIN, read_names
from common.params import read_section, run
from page import facts
from page.typeset import Mathematics, embed_folder, format_number, format_yaml

PAGE = Path(__file__).with_name("page")
STAGES = ("surfaces", "xor", "train", "evaluate")  # those with metrics


def main(
    author: Annotated[str, Field(max_length=200)],
    mistakes: Annotated[int, Field(ge=1, le=200)],
    points: Annotated[int, Field(ge=2, le=100)],
    frames: Annotated[int, Field(ge=2, le=1000)],
):
    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[Mathematics],
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}
    environment.filters["percent"] = lambda share, digits=2: f"{share:.{digits}%}"
    environment.filters["quote"] = quote
    environment.filters["number"] = format_number
    environment.filters["flatten"] = facts.flatten
    environment.filters["yaml"] = format_yaml

    defaults = yaml.safe_load((PAGE / "defaults.yaml").read_text(encoding="utf-8"))
    params = {section: read_section(section) for section in defaults}
    metrics = {stage: read_metrics(stage) for stage in STAGES}
    fields, perceptron = read_arrays("data/surfaces.npz"), read_arrays("data/xor.npz")
    history, predictions = pd.read_csv("data/cnn/history.csv"), pd.read_csv("data/predictions.csv")
    read_arrays(TRAIN)  # its hash is quoted: it must be sound
    test = read_arrays(TEST)
    images, (dataset, classes) = test["images"], read_names(test)
    recall = [metrics["evaluate"][f"recall_{c}"] for c in range(len(classes))]
    script = (PAGE / "page.js").read_text(encoding="utf-8")

    page = environment.get_template("index.html").render(
        author=author,
        four_ln_2=4 * log(2),
        dataset=dataset,
        params=params,
        changed=[*facts.list_changes(params, defaults)],
        metrics=metrics,
        neuron=facts.describe_neuron(fields),
        surfaces=facts.turnable(fields, points),
        film=facts.film(perceptron, frames),
        layers=[*facts.list_layers(read_arrays("data/cnn/weights.npz"))],
        course=facts.follow_accuracy(history),
        images=len(images),
        confused=facts.most_confused(predictions, classes),
        missed_most=classes[int(np.argmin(recall))],
        mistakes=[*facts.list_mistakes(predictions, images, classes, mistakes)],
        light=embed_folder("reports/figures"),
        dark=embed_folder("data/figures_dark"),
        hashes={path: sha256(Path(path).read_bytes()).hexdigest() for path in (TRAIN, TEST)},
        style=(PAGE / "style.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
    )
    write_bytes("reports/index.html", f"{page}\n".encode())
    print(f"reports/index.html: {len(page.encode()) / 1e6:.2f} MB")


if __name__ == "__main__":
    run(main, section="report")
