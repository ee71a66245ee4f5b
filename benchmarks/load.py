"""Measure time and memory by problem size: grid points of surfaces, random starts of XOR.

python benchmarks/load.py prints a table and draws docs/load.png. Each size runs the real stage
twice as a separate process; the faster run counts.
"""

import sys
from operator import itemgetter
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import yaml
from bench import PARAMS, ROOT, run, workplace

SIZES = {
    ("surfaces", "points"): [250, 500, 1000, 2000],
    ("xor", "starts"): [12_500, 25_000, 50_000, 100_000],
}
STAGES = {"surfaces": "surfaces", "xor": "xor_train"}
LABELS = {"s": "seconds", "MB": "peak MB"}
UNITS = {"surfaces": "grid points", "xor_train": "random starts"}


def measure():
    """One row per size: duration and peak memory of the process."""
    for (section, name), sizes in SIZES.items():
        for size in sizes:
            params = {section: PARAMS[section] | {name: size}}
            Path("params.yaml").write_text(yaml.safe_dump(params))
            runs = (run(f"stages/{STAGES[section]}.py") for _ in range(2))
            _, seconds, memory = min(runs, key=itemgetter(1))
            count = size**2 if section == "surfaces" else size
            stage = STAGES[section]
            print(f"{stage}: {count:,}: {seconds:.1f} s, {memory:,.0f} MB", file=sys.stderr)
            yield {"stage": stage, "size": count, "s": round(seconds, 1), "MB": round(memory)}


def draw(table, path):
    with plt.style.context(["default", ROOT / "stages/figures.mplstyle"]):
        figure, axes = plt.subplots(2, 2, figsize=(8, 5), layout="constrained", sharex="col")
        for column, (stage, rows) in enumerate(table.groupby("stage")):
            for ax, (value, label) in zip(axes[:, column], LABELS.items(), strict=True):
                ax.plot(rows["size"] / 1000, rows[value], "o-", clip_on=False)
                ax.set(ylabel=label, ylim=(0, None), xlim=(0, None))
            axes[0, column].set_title(f"stages/{stage}.py")
            axes[1, column].set_xlabel(f"thousands of {UNITS[stage]}")
        figure.savefig(path, dpi=110)


def main():
    with workplace():
        table = pd.DataFrame(measure())
    print(table.to_markdown(index=False))
    draw(table, ROOT / "docs/load.png")


if __name__ == "__main__":
    main()
