"""Tolerances for metrics recomputed on another machine, with their derivation.

Each rule maps the committed value and n, the number of images or random starts, to a tolerance.
"""

import re
from math import sqrt

from internals.git import RunError

Z = 1.96  # 95% interval


def exact(value, n):
    return 0.0


def rounding(value, n):
    """Sums of 10,000 float64 terms, rounded to 10 significant digits."""
    return max(1e-9 * abs(value), 1e-12)


def float32(value, n):
    """Metrics of the same network in float32: AVX2 and AVX-512 differ by 1e-7 (relative)."""
    return max(1e-5 * abs(value), 1e-9)


def descent(value, n):
    """3,001 float64 gradient steps; an implementation in NumPy differs by less than 1e-6."""
    return 1e-6


def proportion(value, n):
    """The 95% interval of a difference between two proportions. Seed-to-seed variation is smaller:
    over ten seeds, the standard deviation is 3.4 for 34 errors in 10,000 images.
    """
    p = (value * n + 1) / (n + 2)  # keeps the tolerance positive for values of 0 and 1
    return Z * sqrt(2 * p * (1 - p) / n)


def count(value, n):
    return n * proportion(value / n, n)


def first_steps(value, n):
    """0.5% for the losses of the first five steps, on the same kind of device. Over eight seeds,
    bfloat16 and threads change them by up to 0.05%; another seed changes at least one of them by
    1.2%. A learning rate 10% higher changes them by up to 0.5%.
    """
    return 0.005 * value


def first_epoch(value, n):
    """0.5% for MNIST. Threads and precision change the training loss of the first epoch by up to
    0.3%; a learning rate 10% higher or lower by 1.5 and 2.2%; another seed by 2.1% (standard
    deviation). The tolerance is proportional to 1/√n for fewer images: on the digits, bfloat16
    changes the loss by 1.6%.
    """
    return 0.005 * sqrt(max(1, 54_000 / n)) * value


def between_seeds(relative_sd):
    """The 99.9% interval of a difference between two seeds, from the relative standard deviation
    over ten seeds on 10,000 images. It is proportional to 1/√n for fewer images. The level
    is 99.9%, because about 70 metrics are compared together.
    """
    return lambda value, n: 3.3 * sqrt(2 * max(1, 10_000 / n)) * relative_sd * value


TOLERANCES = {
    r"data\..*|surfaces\.\w+_steps|xor\.runs\.\w+\.correct|\w+\.splits\.\w+\.images": exact,
    r"surfaces\..*|xor\.levels\.\d+\.loss": rounding,
    r"xor\.(xor_loss|linear_loss|runs\..*)": descent,
    r"train\.first_losses\..*": first_steps,
    r"train\.first_epoch_loss": first_epoch,
    r"train\.(val_loss|splits\.\w+\.loss)|evaluate\.loss": between_seeds(0.03),
    r"evaluate\.ece\.0": between_seeds(0.10),
    r"evaluate\.train_mode\.one class\.accuracy": between_seeds(0.03),
    r"evaluate\.errors": count,
    r"train\.(val_acc|splits\.\w+\.accuracy)|xor\.(xor_solved|interval\..*|levels\..*)": proportion,
    r"evaluate\.(accuracy|interval\..*|train_mode\..*|recall\..*)": proportion,
}


def rule_of(name):
    """The rule of a metric, SECTION.NAME; RunError if it has none."""
    for pattern, rule in TOLERANCES.items():
        if re.fullmatch(pattern, name):
            return rule
    raise RunError(f"{name}: no tolerance; add one to TOLERANCES in tools/internals/tolerances.py")
