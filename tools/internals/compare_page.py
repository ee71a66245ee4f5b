"""Write reports/compare.html, one file with the styles and charts of the report."""

from pathlib import Path

import numpy as np
from jinja2 import FileSystemLoader

from internals.comparison import as_text, has_images_of, varying

from common.files import read_arrays, write_bytes
from common.mnist import TEST
from common.results import md5_of
from page.typeset import embed_digit
from report import make_environment

PAGE = "reports/compare.html"
HERE = Path(__file__).parent
REPORT = HERE.parents[1] / "stages/page"
IMAGES = 120  # maximum number on the page


def list_disagreements(results, base):
    """The number of test images with different predictions, and a dict for each of the first ones.

    The images with most disagreement come first. `predicted` has one entry per result, None for
    results on other test images.
    """
    first = results[base]
    predicted = [r.predicted if has_images_of(first, r) else None for r in results.values()]
    matrix = np.array([p for p in predicted if p is not None])
    others = (matrix != first.predicted).sum(axis=0)
    order = np.argsort(-np.minimum(others, len(matrix) - others), kind="stable")
    order = order[others[order] > 0]
    pixels = None
    if Path(TEST).exists() and md5_of(TEST) == first.metrics["test_images"]:
        pixels = read_arrays(TEST)["images"]
    shown = [
        {
            "index": int(index),
            "image": None if pixels is None else embed_digit(pixels[index]),
            "label": str(first.actual[index]),
            "predicted": [None if p is None else str(p[index]) for p in predicted],
        }
        for index in order[:IMAGES]
    ]
    return len(order), shown


def write_page(commit, results, base, table, settings, notes):
    """Write the page; `table` has one row per result, `settings` maps titles to tables."""
    results = {name: results[name] for name in table["run"]}  # in the order of the table
    measure = "val" if table["val"].notna().all() else "test"
    total, images = list_disagreements(results, base)
    data = {
        "measure": {"val": "validation", "test": "test"}[measure],
        "base": [*results].index(base),
        "runs": [
            {
                "name": name,
                "accuracy": accuracy,
                "epochs": [row["epoch"] for row in result.history],
                "loss": [row["train_loss"] for row in result.history],
                "accuracies": [row[f"{measure}_acc"] for row in result.history],
            }
            for (name, result), accuracy in zip(results.items(), table[measure], strict=True)
        ],
        "parameters": {
            name: [result.params.get(name) for result in results.values()]
            for name in varying(results)
        },
        "images": images,
    }
    files = [REPORT / "scripts/page.js", REPORT / "scripts/charts.js", HERE / "compare_page.js"]
    script = "\n".join(path.read_text(encoding="utf-8") for path in files)
    styles = [*sorted((REPORT / "styles").glob("*.css")), HERE / "compare_page.css"]
    text = as_text(table)
    # Both pages include document_head.html.
    environment = make_environment().overlay(loader=FileSystemLoader([HERE, REPORT]))
    html = environment.get_template("compare_page.html").render(
        commit=commit[:7],
        base=base,
        columns=[*table.columns],
        rows=[*zip(table.itertuples(index=False), text.itertuples(index=False), strict=True)],
        settings=settings,
        notes=notes,
        total=total,
        shown=len(images),
        data=data,
        style="\n".join(path.read_text(encoding="utf-8") for path in styles),
        script=script,
    )
    write_bytes(PAGE, f"{html}\n".encode())
