"""Read and write the pipeline's files. Every write is atomic and equal for equal content."""

import io
import json
import math
import os
import tempfile
from pathlib import Path

import numpy as np
import torch


def write_bytes(path, content):
    """Replace `path` by `content`, or leave it as it was: a file beside it, fsync, rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_metrics(path, metrics):
    """Write a flat mapping of name to number or text, as JSON; numbers to 10 significant digits.

    FloatingPointError names a metric that is not finite, which JSON could not hold.
    """
    for name, value in metrics.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise FloatingPointError(f"{path}: {name} is {value}")
    digits = {k: float(f"{v:.10g}") if isinstance(v, float) else v for k, v in metrics.items()}
    write_bytes(path, (json.dumps(digits, indent=2, allow_nan=False) + "\n").encode())


def read_metrics(stage):
    """The metrics of a stage, name to number or text."""
    return json.loads(Path(f"reports/metrics/{stage}.json").read_text(encoding="utf-8"))


def write_rows(path, table):
    """Write a data frame as {"rows": [...]}, the form from which `dvc plots` draws."""
    rows = json.loads(table.to_json(orient="records", double_precision=6))
    lines = ",\n".join(json.dumps(row, allow_nan=False) for row in rows)
    write_bytes(path, f'{{"rows": [\n{lines}\n]}}\n'.encode())


def write_table(path, table):
    """Write a data frame as CSV, without its index."""
    csv = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_bytes(path, csv.encode())


def write_arrays(path, **arrays):
    """Write named arrays as an uncompressed .npz, whose bytes depend on the arrays alone."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def read_arrays(path):
    """Name to array, from an .npz; its checksums are verified on reading."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def write_state(path, state):
    """Write a state dict of torch tensors, contiguous and on the CPU, for torch.load."""
    # A clone, because a view would be saved with all of the tensor that it looks at.
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    buffer = io.BytesIO()  # given a path, torch.save would store the temporary file's name inside
    torch.save(plain, buffer)
    write_bytes(path, buffer.getvalue())


def read_state(path):
    """A state dict; it holds tensors alone, since weights_only refuses to run pickled code."""
    with open(path, "rb") as file:
        return torch.load(file, map_location="cpu", weights_only=True)
