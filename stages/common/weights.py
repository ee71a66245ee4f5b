"""Weights of a network as the bytes of a file, and their fingerprint."""

import hashlib
import io
from pathlib import Path

import torch

from common.files import DamagedFileError


def detach_state(model):
    """Name to tensor of a model's state dict, contiguous and on the CPU."""
    return {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}


def pack_state(state):
    """A dict of tensors as bytes for torch.load. They depend on the values alone."""
    buffer = io.BytesIO()  # torch.save(path) would store the name of the temporary file
    # A view would be saved together with its whole storage, hence the clones.
    torch.save({name: value.clone() for name, value in state.items()}, buffer)
    return buffer.getvalue()


def fingerprint(content):
    """The first 12 hexadecimal digits of the SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()[:12]


def read_state(path, expected=None):
    """A dict of tensors; weights_only refuses to run pickled code.

    DamagedFileError if the file cannot be read or its fingerprint is not the expected one.
    """
    content = Path(path).read_bytes()
    if expected and (found := fingerprint(content)) != expected:
        raise DamagedFileError(path, f"its SHA-256 begins with {found}, expected {expected}")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many types for invalid bytes
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DamagedFileError(path, reason) from None
