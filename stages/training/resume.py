"""The state of an unfinished training, which goes on with it as if there had been no interruption.

It is one file, .dvc/tmp/training/KEY, where neither Git nor DVC looks. KEY is the SHA-256 of all
that the result depends on, so that no other training takes it for its own. It is replaced after
each epoch, at once or not at all, and removed at the end. It begins with the SHA-256 of the rest.
"""

import hashlib
import io
import json
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


def make_key(files, settings):
    """The SHA-256 of data files, settings (JSON), versions, what the processor can do, the kind of
    GPU, and all code of ours that is loaded.
    """
    code = {getattr(module, "__file__", None) for module in [*sys.modules.values()]}
    code = sorted(path for path in code if path and STAGES in Path(path).resolve().parents)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    versions = [sys.version, np.__version__, torch.__version__]
    machine = [torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]
    machine += sorted(torch.cpu.get_capabilities().items())
    if torch.cuda.is_available():
        machine.append(torch.cuda.get_device_name())
    digest.update(repr(versions + machine).encode())
    for path in [*code, *files]:
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()


class UnfinishedTraining:
    """Where one training keeps its state. A second one of the same kind at once keeps none."""

    def __init__(self, key, wanted=True):
        # The copy of the project in which `dvc exp run --temp` runs is not that of the next run.
        self.key = key
        self.path = Path(os.environ.get("DVC_ROOT", ".")) / ".dvc/tmp/training" / key
        self.lock = FileLock(f"{self.path}.lock")
        self.kept = wanted
        if wanted:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.lock.acquire(blocking=False)
            except Timeout:
                print(
                    "the same training runs elsewhere: this one could not be resumed",
                    file=sys.stderr,
                )
                self.kept = False

    def load(self):
        """The state saved last, or None. A file that is damaged or foreign is set aside."""
        if not self.kept or not self.path.exists():
            return None
        content = self.path.read_bytes()
        if hashlib.sha256(content[32:]).digest() == content[:32]:
            with suppress(UnpicklingError):  # code, which weights_only refuses to run
                state = torch.load(io.BytesIO(content[32:]), map_location="cpu", weights_only=True)
                if state.pop("key") == self.key:
                    return state
        aside = self.path.with_suffix(".damaged")
        self.path.replace(aside)
        print(f"{aside}: not the state of this training, which starts anew", file=sys.stderr)
        return None

    def save(self, state):
        """Replace the state by another, of tensors, numbers, texts, lists and dicts."""
        if self.kept:
            buffer = io.BytesIO()
            torch.save(state | {"key": self.key}, buffer)
            content = buffer.getvalue()
            write_bytes(self.path, hashlib.sha256(content).digest() + content)

    def remove(self):
        """The training is finished, and its results are written."""
        if self.kept:
            self.path.unlink(missing_ok=True)
            # Before its release: whoever takes the lock then must not lose its file. Windows does
            # not allow that, and has filelock remove the file itself.
            with suppress(PermissionError):
                Path(self.lock.lock_file).unlink(missing_ok=True)
            self.lock.release()
