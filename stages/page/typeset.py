"""Formulas, numbers and images on the page."""

import math
import re
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import yaml
from jinja2.ext import Extension
from latex2mathml.converter import convert as to_mathml
from PIL import Image

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Mathematics(Extension):
    """Converts LaTeX in templates to MathML: $…$ inline, $$…$$ on a line of its own.

    A formula may contain template expressions, {{ … }}. Punctuation after a formula stays on the
    same line.
    """

    def preprocess(self, source, name, filename=None):
        return re.sub(r"\$\$(.+?)\$\$|\$(.+?)\$([,.;:?]?)", self.convert, source)

    @staticmethod
    def convert(found):
        block, inline, punctuation = found.groups()
        values = re.findall(r"{{.+?}}", found[0])
        formula = re.sub(r"{{.+?}}", r"\\text{@}", block or inline)
        mathml = to_mathml(formula, display="block" if block else "inline")
        for value in values:
            mathml = mathml.replace("<mtext>@</mtext>", f"<mn>{value}</mn>", 1)
        return f'<span class="together">{mathml}{punctuation}</span>' if punctuation else mathml


def format_number(value, form=","):
    """Typeset a number: 1 × 10⁻⁶ for 1e-06, and a minus sign instead of a hyphen."""
    mantissa, _, exponent = f"{value:{form}}".partition("e")
    if exponent:
        mantissa += "\u202f×\u202f10" + str(int(exponent)).translate(SUPERSCRIPTS)
    return mantissa.replace("-", "−")


def format_percent(fraction, digits=2):
    """A fraction in percent; with digits=None as many digits as it has."""
    return f"{100 * fraction:g}%" if digits is None else f"{fraction:.{digits}%}"


def format_plural(count, noun):
    """1 step; 81,417 steps."""
    return f"{format_number(count)} {noun}{'' if count == 1 else 's'}"


def format_yaml(value):
    """A value as YAML on one line: null, true, {shift: 2}."""
    style = {"default_flow_style": True, "sort_keys": False, "width": math.inf}
    text = yaml.safe_dump(value, allow_unicode=True, **style)
    return text.removesuffix("...\n").strip()


def embed(png):
    """A PNG as a data URL, with its width and height."""
    with Image.open(BytesIO(png)) as image:
        width, height = image.size
    address = f"data:image/png;base64,{b64encode(png).decode()}"
    return {"address": address, "width": width, "height": height}


def embed_folder(folder):
    """Every figure of a folder, by name."""
    return {path.stem: embed(path.read_bytes()) for path in sorted(Path(folder).glob("*.png"))}


def embed_digit(pixels):
    """The data URL of one image (28, 28) uint8, dark on light as on paper."""
    buffer = BytesIO()
    Image.fromarray(255 - pixels).save(buffer, "png", optimize=True)
    return embed(buffer.getvalue())["address"]
