"""Checkpoint of a training run: an interrupted run continues after its last epoch.

The file is .dvc/tmp/training/KEY, ignored by Git and DVC. KEY is the SHA-256 of everything that the
result depends on, so no other run loads it. The file starts with the SHA-256 of its content. It is
replaced atomically after each epoch and removed at the end.
"""

import hashlib
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from filelock import FileLock, Timeout

from common.files import write_bytes

STAGES = Path(__file__).resolve().parent.parent


def make_key(files, *settings):
    """SHA-256 of data files, settings, versions, CPU capabilities, GPU and imported code under
    stages/.
    """
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

    Of two identical concurrent runs, only the first has a checkpoint.
    """

    def __init__(self, key, **parts):
        self.key, self.parts = key, parts
        # DVC_ROOT is the original repository if `dvc exp run --temp` runs in a copy.
        self.path = Path(os.environ.get("DVC_ROOT", ".")) / ".dvc/tmp/training" / key
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(f"{self.path}.lock")
        with suppress(Timeout):
            self.lock.acquire(blocking=False)
        if not self.lock.is_locked:
            print("an identical run is in progress; this one saves no checkpoint", file=sys.stderr)

    def load(self, device="cpu"):
        """Restore all parts and return the history; [] if there is no checkpoint.

        An invalid file is renamed to KEY.damaged.
        """
        if not self.lock.is_locked or not self.path.exists():
            return []
        content = self.path.read_bytes()
        if hashlib.sha256(content[32:]).digest() == content[:32]:
            with suppress(UnpicklingError):  # weights_only rejects pickled code
                saved = torch.load(io.BytesIO(content[32:]), device, weights_only=True)
                if saved["key"] == self.key:
                    for name, part in self.parts.items():
                        part.load_state_dict(saved[name])
                    return saved["history"]
        damaged = self.path.with_suffix(".damaged")
        self.path.replace(damaged)
        print(f"{damaged}: not a checkpoint of this run; training restarts", file=sys.stderr)
        return []

    def save(self, history):
        """Replace the checkpoint; the history is a list of rows {name: number}."""
        if self.lock.is_locked:
            states = {name: part.state_dict() for name, part in self.parts.items()}
            buffer = io.BytesIO()
            torch.save(states | {"history": history, "key": self.key}, buffer)
            content = buffer.getvalue()
            write_bytes(self.path, hashlib.sha256(content).digest() + content)

    def remove(self):
        """Delete the checkpoint of a finished run."""
        if self.lock.is_locked:
            self.path.unlink(missing_ok=True)
            # Unlink before release, because another run may then lock the file. Windows cannot
            # unlink an open file; filelock removes it there.
            with suppress(PermissionError):
                Path(self.lock.lock_file).unlink(missing_ok=True)
            self.lock.release()
