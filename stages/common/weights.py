"""Network weights as bytes."""

import io

import torch


def pack_state(state):
    """Serialise {name: tensor} for torch.load; equal values give equal bytes, unless a tensor is a
    view, which is stored with its whole storage.
    """
    buffer = io.BytesIO()  # torch.save(path) would store the temporary file's name
    torch.save(state, buffer)
    return buffer.getvalue()
