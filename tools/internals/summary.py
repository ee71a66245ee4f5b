"""Statistics of experiments: paired differences of settings and of networks."""

from math import sqrt

import pandas as pd
from scipy.special import bdtr, ndtri, stdtrit

MEASURES = {"val_acc": "validation", "accuracy": "test"}


def summarise(settings):
    """One row per setting, in percent; `settings` is name to {seed: fraction}.

    The difference from the first setting is paired by seed, with a 95% interval from Student's t
    over the common seeds, unless all differences are equal. Empty columns are omitted.
    """
    columns = {name: 100 * pd.Series(values, dtype=float) for name, values in settings.items()}
    base, rows = next(iter(columns.values())), []
    for name, series in columns.items():
        row = {"setting": name, "n": len(series), "mean": series.mean(), "sd": series.std()}
        row |= {"min": series.min(), "max": series.max()}
        differences = (series - base).dropna()
        if rows and (n := len(differences)):
            mean, error = differences.mean(), differences.std() / sqrt(n)
            row |= {"pairs": str(n), "difference": mean, "standard error": error}
            if error > 1e-9:  # equal differences do not determine an interval
                half = stdtrit(n - 1, 0.975) * error
                row["95% interval"] = f"{mean - half:+.3f} to {mean + half:+.3f}"
        rows.append(row)
    table = pd.DataFrame(rows).dropna(axis="columns", how="all").astype(object)
    for column in table.columns.difference(["setting", "n", "pairs", "95% interval"]):
        form = "{:+.3f}" if column == "difference" else "{:.3f}"
        table[column] = table[column].map(form.format, na_action="ignore")
    return table.fillna("")


def tabulate_settings(settings):
    """(title, table) per measure available in all runs; `settings` is name to {seed: metrics}."""
    for measure, images in MEASURES.items():
        values = {
            setting: {seed: metrics.get(measure) for seed, metrics in runs.items()}
            for setting, runs in settings.items()
        }
        if values and all(v is not None for runs in values.values() for v in runs.values()):
            yield f"Accuracy on the {images} images, %", summarise(values)


def compare_errors(base, other):
    """The difference in errors of two networks on the same images, its 95% interval, and p.

    base and other (n,) mark the misclassified images. b images are misclassified by base only, c by
    other only. The interval is Bonett and Price's (2012), which adds 1 to b and to c. p is from
    McNemar's exact test (1947): under the null hypothesis, b is binomial(b + c, ½). Both compare
    these two networks, not their settings, because results also vary between seeds.
    """
    n, b, c = len(base), int((base & ~other).sum()), int((other & ~base).sum())
    fraction = (c - b) / (n + 2)
    half = ndtri(0.975) * sqrt(((b + c + 2) / (n + 2) - fraction**2) / (n + 2))
    interval = n * (fraction - half), n * (fraction + half)
    return c - b, interval, min(1.0, 2 * bdtr(min(b, c), b + c, 0.5))
