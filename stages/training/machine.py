"""Device, precision, determinism, memory and compilation on this machine."""

import ctypes
import logging
import os
import sys
import sysconfig

import torch
from torch._dynamo.exc import BackendCompilerFailed

from common.params import ParameterError


def choose_device(name):
    """The named device; auto is the CUDA device if there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not torch.get_device_module(name).is_available():
        raise ParameterError("train.device", f"not available on this machine, got {name!r}")
    return torch.device(name)


def choose_precision(name, device):
    """The dtype for autocast; auto is bfloat16 if the device has instructions for it."""
    if name != "auto":
        return getattr(torch, name)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:  # emulated bfloat16 is slower than float32
        cpu = torch.cpu.get_capabilities() if device.type == "cpu" else {}
        fast = cpu.get("amx_bf16") or cpu.get("avx512_bf16")
    return torch.bfloat16 if fast else torch.float32


def enable_determinism():
    """Make results bitwise reproducible; operations that cannot be raise an error. Disable TF32."""
    # Deterministic cuBLAS needs a fixed workspace.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Filling uninitialised memory costs time, and no kernel here reads it.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.allow_tf32 = False


def keep_freed_memory():
    """Make glibc reuse freed memory; a no-op elsewhere.

    By default glibc returns large blocks to the system, so each step page-faults again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        trim_threshold, mmap_threshold = -1, -3  # as malloc.h numbers them
        # Old versions of glibc accept at most 32 MiB.
        mallopt(mmap_threshold, 2**31 - 1) or mallopt(mmap_threshold, 2**25)
        mallopt(trim_threshold, 2**31 - 1)


def describe(device, precision):
    """The part of the machine that floating-point results depend on: {name: value}."""
    return {
        "device": device.type,
        "precision": str(precision).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "python": sysconfig.get_python_version(),
        "torch": torch.__version__,
    }


def compile_function(function):
    """torch.compile(function); the first call raises ParameterError if compilation fails."""
    # torch warns about a missing GPU if the CUDA compiler is installed.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    compiled = torch.compile(function)

    def call(*arguments):
        try:
            return compiled(*arguments)
        except BackendCompilerFailed as error:
            reason = str(error).strip().splitlines()[0]
            message = f"could not compile the network: {reason}; set it to false"
            raise ParameterError("train.compile", message) from None

    return call
