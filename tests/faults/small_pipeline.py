"""A small pipeline with the project's stage names and stages/common/. Its metrics are a function of
the parameters: `formula` computes the metrics that the stages must write.
"""

import shutil

import yaml
from workspaces import ROOT

PARAMS = {"data": {"dataset": 1}, "train": {"lr": 1, "seed": 1}, "evaluate": {"bins": 1}}
METRICS = [f"reports/metrics/{section}.json" for section in PARAMS]
# Stage: its section of params.yaml, its parameters, what it reads and writes, and its code.
STAGES = {
    "download_mnist": (
        ("data", "dataset", [], {"outs": ["data/images"]}),
        """value = dataset * 1000
    write_bytes("data/images", str(value).encode())
    return {"images": value}""",
    ),
    "cnn_train": (
        ("train", "lr, seed", ["data/images"], {"outs": ["data/model"]}),
        """value = number("data/images") + 10 * lr + 100 * seed
    write_bytes("data/model", str(value).encode())
    return {"val_acc": value, "splits": [{"images": 1}], "machine": [{"device": "cpu"}]}""",
    ),
    "evaluate": (
        (
            "evaluate",
            "bins",
            ["data/images", "data/model", METRICS[1]],
            {"outs": ["data/predictions"]},
        ),
        """value = number("data/model") * bins + number("data/images")
    write_bytes("data/predictions", str(value).encode())
    return {"accuracy": value, "errors": 0}""",
    ),
    "report": (
        (
            "report",
            "points",
            ["data/predictions", *METRICS],
            {"outs": [{"reports/index.html": {"cache": False}}]},
        ),
        """params = yaml.safe_load(Path("params.yaml").read_text())
    shown = {s: read_metrics(s) for s in ("data", "train", "evaluate")}
    write_bytes("reports/index.html", json.dumps({"params": params, "shown": shown}).encode())""",
    ),
}
SCRIPT = """
from pathlib import Path
import json, yaml
from common.files import write_bytes
from common.results import read_metrics
from common.stage import run

def number(path):
    return float(Path(path).read_text())

def main({parameters}):
    {code}

if __name__ == "__main__":
    run(main, section="{section}")
"""


def formula(params):
    """The three expected metrics for these parameters."""
    images = params["data"]["dataset"] * 1000
    val_acc = images + 10 * params["train"]["lr"] + 100 * params["train"]["seed"]
    return images, val_acc, val_acc * params["evaluate"]["bins"] + images


def numbers(metrics):
    """The same three metrics, read from the metrics files (section to content)."""
    train, evaluate = metrics["train"], metrics["evaluate"]
    return metrics["data"]["images"], train["val_acc"], evaluate["accuracy"]


def write_pipeline(folder):
    """Write the pipeline's files to a new folder, without results."""
    ignored = shutil.ignore_patterns("__pycache__", "model.py", "weights.py", "mnist.py")
    shutil.copytree(ROOT / "stages/common", folder / "stages/common", ignore=ignored)
    stages = {}
    for name, ((section, parameters, deps, writes), code) in STAGES.items():
        text = SCRIPT.replace("{parameters}", parameters).replace("{section}", section)
        (folder / f"stages/{name}.py").write_text(text.replace("{code}", code))
        stages[name] = {
            "cmd": f"python stages/{name}.py",
            "deps": [f"stages/{name}.py", *deps],
            "params": [*PARAMS, "report"] if name == "report" else [section],
        } | writes
        if section in PARAMS:
            stages[name]["metrics"] = [{f"reports/metrics/{section}.json": {"cache": False}}]
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"report": {"points": 1}}))
    (folder / ".gitignore").write_text("/data/\n__pycache__\n.*.part\n")
    (folder / ".dvc").mkdir()
    for name in (".gitattributes", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copy(ROOT / name, folder / name)
