"""Statistics of predictions."""

from math import sqrt

import pandas as pd


def wilson_interval(successes, trials, z=1.959964):
    """Wilson score interval (low, high) of a proportion; 95% for the default z.

    Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    p = successes / trials
    centre = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def recall_by_class(predictions):
    """Recall of each class and its 95% interval: columns low, high, recall."""
    correct = predictions["actual"] == predictions["predicted"]
    counts = correct.groupby(predictions["actual"]).agg(["sum", "size"])
    intervals = [wilson_interval(*row) for row in counts.to_numpy()]
    table = pd.DataFrame(intervals, counts.index, ["low", "high"])
    return table.assign(recall=counts["sum"] / counts["size"])


def most_confident_errors(predictions, count):
    """Misclassified rows, most confident first."""
    return predictions.query("actual != predicted").nlargest(count, "probability")
