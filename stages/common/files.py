"""Read and write the pipeline's files. Writes are atomic; equal content gives equal bytes."""

import io
import json
import os
from contextlib import suppress
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np


class DamagedFileError(OSError):
    """A file with unexpected content; str() is the message for users."""

    def __init__(self, path, reason):
        super().__init__(f"{path}: damaged: {reason}; delete it and run `dvc repro`")


def write_bytes(path, content):
    """Replace a file atomically: write a temporary file beside it, fsync, rename.

    A killed process may leave the temporary file, which Git and DVC ignore. OSError names `path`,
    whichever step failed.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        reason = f"could not be written: {error.strerror}"
        raise OSError(error.errno, reason, str(path)) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def round_floats(text, digits):
    """The value of a JSON text; its floats are rounded to this number of significant digits."""
    return json.loads(text, parse_float=lambda number: float(f"{float(number):.{digits}g}"))


def write_rows(path, table):
    """Write a data frame as {"rows": [...]} for `dvc plots`."""
    rows = round_floats(table.to_json(orient="records", double_precision=15), 6)
    lines = ",\n".join(json.dumps(row, allow_nan=False) for row in rows)
    write_bytes(path, f'{{"rows": [\n{lines}\n]}}\n'.encode())


def write_table(path, table):
    """Write a data frame as CSV, without its index."""
    write_bytes(path, table.to_csv(index=False, float_format="%.6g").encode())


def write_arrays(path, **arrays):
    """Write named arrays as an uncompressed .npz.

    The bytes of np.savez depend on the patch version of Python, which changed its ZIP64 headers.
    """
    archive = io.BytesIO()
    with ZipFile(archive, "w") as members:
        for name, array in arrays.items():
            with members.open(ZipInfo(f"{name}.npy"), "w") as member:
                np.save(member, array, allow_pickle=False)
    write_bytes(path, archive.getvalue())


def read_arrays(path):
    """Read {name: array} from an .npz; DamagedFileError if its checksums do not match."""
    content = io.BytesIO(Path(path).read_bytes())
    try:
        return dict(np.load(content, allow_pickle=False))
    except Exception as error:  # NumPy raises many types for invalid bytes
        raise DamagedFileError(path, error) from None
