"""Code of the stages, quoted on the page."""

import ast
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

ROOT = Path(__file__).resolve().parents[2]
DEFINITIONS = ast.FunctionDef | ast.ClassDef


def quote_source(path, *names):
    """The named top-level functions and classes of a script, highlighted as HTML.

    `path` is relative to the project's root: "stages/xor_train.py".
    """
    text = (ROOT / path).read_text(encoding="utf-8")
    found = {node.name: node for node in ast.parse(text).body if isinstance(node, DEFINITIONS)}
    lines = text.splitlines()

    def extract(name):
        node = found[name]
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        return "\n".join(lines[first - 1 : node.end_lineno])

    code = "\n\n\n".join(map(extract, names))
    return highlight(code, PythonLexer(), HtmlFormatter(nowrap=True))
