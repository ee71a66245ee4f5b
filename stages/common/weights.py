"""Weights of a network as the bytes of a file."""

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


def read_state(path):
    """A dict of tensors; DamagedFileError if the file cannot be read."""
    content = Path(path).read_bytes()
    try:  # weights_only refuses to run pickled code
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many types for invalid bytes
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DamagedFileError(path, reason) from None
