"""Checkpoint of a training run: an interrupted run continues after its last complete epoch.

The file is .dvc/tmp/training/KEY, ignored by Git and DVC. KEY is the SHA-256 of everything that the
result depends on, so no other run loads it. The file starts with the SHA-256 of its content.
"""

import hashlib
import io
import os
import sys
from pathlib import Path

import numpy as np
import torch

from common.files import write_bytes
from common.weights import pack_state

STAGES = Path(__file__).resolve().parent.parent


def make_key(files, *settings):
    """SHA-256 of data files, settings, versions, hardware and imported code under stages/."""
    modules = {getattr(module, "__file__", None) for module in [*sys.modules.values()]}
    code = sorted(path for path in modules if path and STAGES in Path(path).resolve().parents)
    versions = sys.version, np.__version__, torch.__version__
    cpu = sorted(torch.cpu.get_capabilities().items()), torch.backends.cpu.get_cpu_capability()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    digest = hashlib.sha256(repr((settings, versions, cpu, gpu, torch.get_num_threads())).encode())
    for path in [*code, *files]:
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()


class Checkpoint:
    """Saves the history and the state_dict of each part (keyword arguments).

    Identical concurrent runs share a checkpoint: after the same epoch their states are equal.
    """

    def __init__(self, key, **parts):
        self.parts = parts
        # DVC_ROOT is the original repository if `dvc exp run --temp` runs in a copy.
        self.path = Path(os.environ.get("DVC_ROOT", ""), ".dvc/tmp/training", key)

    def load(self, device="cpu"):
        """Restore all parts and return the history; [] without a valid checkpoint."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            print(f"{self.path}: damaged; training restarts", file=sys.stderr)
            return []
        saved = torch.load(io.BytesIO(content[32:]), device, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])
        history = saved["history"]
        print(f"continuing after epoch {len(history)}")
        return history

    def save(self, history):
        """Replace the checkpoint; the history is a list of dicts."""
        states = {name: part.state_dict() for name, part in self.parts.items()}
        content = pack_state(states | {"history": history})
        write_bytes(self.path, hashlib.sha256(content).digest() + content)

    def remove(self):
        """Delete the checkpoint of a finished run."""
        self.path.unlink(missing_ok=True)
