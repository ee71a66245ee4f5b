"""Set the metrics, the figures and the answers to the assignment's questions as one page.

reads   params.yaml: report, and the other sections, which the page quotes
        stages/page/                        the text as a template, its style and script
        data/surfaces.npz, data/xor.npz, data/mnist/*.npz, data/cnn/model.pth, data/predictions.csv,
        data/figures_dark/*.png, reports/figures/*.png, reports/metrics/*.json
writes  reports/index.html                  a single file that needs no other and no network
"""

import re
from base64 import b64encode
from hashlib import sha256
from io import BytesIO
from math import log
from pathlib import Path
from shlex import quote
from typing import Annotated

import matplotlib
import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension
from latex2mathml.converter import convert as to_mathml
from matplotlib.colors import to_hex
from PIL import Image
from pydantic import Field

from common.files import read_arrays, read_metrics, read_state, write_bytes
from common.mnist import TEST, TRAIN, read_names
from common.params import read_section, run

PAGE = Path(__file__).with_name("page")
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
STAGES = ("surfaces", "xor", "train", "evaluate")  # those with metrics
SURFACES = ("sigmoid", "l2", "l2_grad", "ce", "ce_grad", "relu", "relu_l2", "relu_l2_grad")


class Mathematics(Extension):
    """In a template, $…$ is LaTeX that becomes MathML, and $$…$$ a formula on a line of its own.

    An expression of the template, {{ … }}, stands in a formula for its value.
    """

    def preprocess(self, source, name, filename=None):
        return re.sub(r"\$\$(.+?)\$\$|\$(.+?)\$", self.convert, source)

    @staticmethod
    def convert(found):
        block, inline = found.groups()
        values = re.findall(r"{{.+?}}", found[0])
        formula = re.sub(r"{{.+?}}", r"\\text{@}", block or inline)
        mathml = to_mathml(formula, display="block" if block else "inline")
        for value in values:
            mathml = mathml.replace("@", value, 1)
        return mathml


def format_number(value, form=","):
    """A number as in print: 1e-06 as 1 × 10⁻⁶, and with a minus sign instead of a hyphen."""
    mantissa, _, exponent = f"{value:{form}}".partition("e")
    if exponent:
        mantissa += "\u202f×\u202f10" + str(int(exponent)).translate(SUPERSCRIPTS)
    return mantissa.replace("-", "−")


def read_numbers(section):
    """A section of params.yaml; numbers such as 1e-05 too, which PyYAML reads as text."""
    return {
        name: float(value) if re.fullmatch(r"-?\d+e[-+]?\d+", str(value)) else value
        for name, value in read_section(section).items()
    }


def embed(png):
    """The bytes of a PNG as an address that holds the image itself, with its width and height."""
    with Image.open(BytesIO(png)) as image:
        width, height = image.size
    address = f"data:image/png;base64,{b64encode(png).decode()}"
    return {"address": address, "width": width, "height": height}


def embed_folder(folder):
    """Every figure of a folder, by name."""
    return {path.stem: embed(path.read_bytes()) for path in sorted(Path(folder).glob("*.png"))}


def embed_digit(pixels):
    """One image (28, 28) uint8, dark on light as on paper."""
    buffer = BytesIO()
    Image.fromarray(255 - pixels).save(buffer, "png", optimize=True)
    return embed(buffer.getvalue())


def turnable(fields, points):
    """What the page needs to draw every surface itself, on at most `points` lines each way."""
    axis = fields["weight"]
    lines = np.linspace(0, len(axis) - 1, min(points, len(axis))).round().astype(int)
    colours = np.linspace(0, 1, 64)
    return {
        "extent": axis[-1],
        "fields": {name: fields[name][np.ix_(lines, lines)].round(4).tolist() for name in SURFACES},
        "colours": {
            name: [to_hex(colour) for colour in matplotlib.colormaps[name](colours)]
            for name in ("viridis", "coolwarm")
        },
    }


def filmed(perceptron, frames):
    """XOR's training as frames, evenly spaced from the first step to the last."""
    last = len(perceptron["losses"]) - 1
    steps = np.unique(np.linspace(0, last, frames).round().astype(int))
    return {
        "step": steps.tolist(),
        "loss": perceptron["losses"][steps].round(4).tolist(),
        "hidden": perceptron["hidden"][steps].round(4).tolist(),
        "line": perceptron["line"][steps].round(4).tolist(),
    }


def describe_neuron(fields):
    """Where both losses are least, what is the least that is possible, and the far corner."""
    y = float(fields["target"])
    inside = 0 < y < 1  # else the least is at infinity
    return {
        "valley": log(y / (1 - y)) if inside else None,
        "entropy": -y * log(y) - (1 - y) * log(1 - y) if inside else 0.0,
        "corner": {name: float(fields[name][-1, -1]) for name in SURFACES},
    }


def list_layers(state):
    """Each layer with weights: name, shape of its weights, number of parameters."""
    learned = {name: value for name, value in state.items() if name.endswith((".weight", ".bias"))}
    for layer in dict.fromkeys(name.split(".")[0] for name in learned):
        weight, bias = learned[f"{layer}.weight"], learned[f"{layer}.bias"]
        yield {"name": layer, "shape": [*weight.shape], "parameters": weight.numel() + bias.numel()}


def list_mistakes(predictions, images, classes, count):
    """The mistakes made with the greatest confidence first; like plots' figure of them."""
    wrong = predictions[predictions["actual"] != predictions["predicted"]]
    for index, row in wrong.nlargest(count, "probability").iterrows():
        yield row.to_dict() | {
            "index": index,
            "image": embed_digit(images[index]),
            "actual": classes[int(row["actual"])],
            "predicted": classes[int(row["predicted"])],
        }


def most_confused(predictions, classes):
    """The pair of classes mistaken for each other most often, and how often; None without any."""
    wrong = predictions[predictions["actual"] != predictions["predicted"]]
    pairs = np.sort(wrong[["actual", "predicted"]].to_numpy(), axis=1)
    if not len(pairs):
        return None
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    return {"classes": [classes[c] for c in found[counts.argmax()]], "count": int(counts.max())}


def list_changes(params, defaults):
    """The parameters that differ from the defaults: full name, value, default."""
    for section, values in params.items():
        for name, value in values.items():
            if value != defaults[section].get(name):
                default = defaults[section].get(name)
                yield {"name": f"{section}.{name}", "value": value, "default": default}


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
    environment.filters["percent"] = lambda share, digits=2: f"{share:.{digits}%}"
    environment.filters["quote"] = quote
    environment.filters["number"] = format_number

    defaults = yaml.safe_load((PAGE / "defaults.yaml").read_text(encoding="utf-8"))
    params = {section: read_numbers(section) for section in defaults}
    fields, perceptron = read_arrays("data/surfaces.npz"), read_arrays("data/xor.npz")
    predictions, images = pd.read_csv("data/predictions.csv"), read_arrays(TEST)["images"]
    dataset, classes = read_names(TEST)
    metrics = {stage: read_metrics(stage) for stage in STAGES}
    recall = [metrics["evaluate"][f"recall_{c}"] for c in range(len(classes))]
    script = (PAGE / "page.js").read_text(encoding="utf-8")

    page = environment.get_template("index.html").render(
        author=author,
        dataset=dataset,
        params=params,
        changed=[*list_changes(params, defaults)],
        metrics=metrics,
        neuron=describe_neuron(fields),
        surfaces=turnable(fields, points),
        film=filmed(perceptron, frames),
        layers=[*list_layers(read_state("data/cnn/model.pth"))],
        images=len(images),
        confused=most_confused(predictions, classes),
        missed_most=classes[int(np.argmin(recall))],
        mistakes=[*list_mistakes(predictions, images, classes, mistakes)],
        light=embed_folder("reports/figures"),
        dark=embed_folder("data/figures_dark"),
        hashes={path: sha256(Path(path).read_bytes()).hexdigest() for path in (TRAIN, TEST)},
        style=(PAGE / "style.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
    )
    write_bytes("reports/index.html", page.encode())
    print(f"reports/index.html: {len(page.encode()) / 1e6:.2f} MB")


if __name__ == "__main__":
    run(main, section="report")
