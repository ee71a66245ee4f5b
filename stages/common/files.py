"""Read and write the pipeline's files. Every write is atomic and equal for equal content."""

import io
import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np


class DamagedFileError(OSError):
    """A file that is not what was written; str() says which, and what to do."""

    def __init__(self, path, reason):
        super().__init__(f"{path}: damaged: {reason}; delete it, and `dvc repro` makes it again")


def write_bytes(path, content):
    """Replace `path` by `content`, or leave it as it was: a file beside it, fsync, rename.

    A kill may leave the file beside it, which Git ignores, and the next write takes. OSError names
    `path`, whichever step failed.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError):
            reason = f"could not be written: {error.strerror}"
            raise type(error)(error.errno, reason, str(path)) from None
        raise


def delete(path):
    """Delete a file if it exists."""
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        reason = f"could not be deleted: {error.strerror}"
        raise type(error)(error.errno, reason, str(path)) from None


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
    """Name to array, from an .npz; DamagedFileError where its checksums do not fit."""
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        except Exception as error:  # bytes that are no archive may look like anything else
            raise DamagedFileError(path, error) from None
