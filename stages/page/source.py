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
    lines, found = text.splitlines(), {}
    for node in ast.parse(text).body:
        if isinstance(node, DEFINITIONS):
            first, *_ = *node.decorator_list, node
            found[node.name] = "\n".join(lines[first.lineno - 1 : node.end_lineno])
    code = "\n\n\n".join(found[name] for name in names)
    return highlight(code, PythonLexer(), HtmlFormatter(nowrap=True))
