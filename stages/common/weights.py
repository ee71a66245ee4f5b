"""Network weights as bytes."""

import io
from pathlib import Path

import torch

from common.files import DamagedFileError


def pack_state(state):
    """Serialise {name: tensor} for torch.load; equal values give equal bytes, unless a tensor is a
    view, which is stored with its whole storage.
    """
    buffer = io.BytesIO()  # torch.save(path) would store the temporary file's name
    torch.save(state, buffer)
    return buffer.getvalue()


def read_state(path):
    """Read {name: tensor}; DamagedFileError if the content is invalid."""
    content = Path(path).read_bytes()
    try:  # weights_only rejects pickled code
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many types for invalid bytes
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DamagedFileError(path, reason) from None
