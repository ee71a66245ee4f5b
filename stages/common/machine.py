"""What this machine can do, and how to make the most of it."""

import ctypes
import logging
import os
import sys

import torch

from common.params import ParameterError


def choose_device(device):
    """The device named, or for auto the GPU that CUDA finds, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ParameterError("train.device", "no CUDA device was found on this machine, got 'cuda'")
    if device == "mps" and not torch.backends.mps.is_available():
        raise ParameterError("train.device", "no Apple GPU was found on this machine, got 'mps'")
    if device == "cuda":
        # Without it cuBLAS is not deterministic, and torch refuses to use it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device(device)


def choose_precision(precision, device):
    """The type to multiply in; auto is bfloat16 on x86 processors and GPUs that multiply it."""
    if precision == "auto":
        # Without its instructions bfloat16 is the slower one.
        cpu = torch.cpu.get_capabilities() if device.type == "cpu" else {}
        fast = cpu.get("amx_bf16") or cpu.get("avx512_bf16")
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if fast else "float32"
    return getattr(torch, precision)


def compute_deterministically():
    """The same bytes from the same inputs, or an error; and float32 is float32 on a GPU too."""
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory that nobody wrote, and to fill it takes 3% of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.allow_tf32 = False


def can_compile(device):
    """Whether torch.compile works here, which needs a compiler; one line where it does not."""
    # It would warn that there is no GPU wherever CUDA's own compiler is installed.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    try:
        point = torch.ones(8, device=device, requires_grad=True)
        torch.compile(lambda x: x.sin().sum())(point).backward()
        return True
    except Exception as error:  # whatever its back end raises: the eager path is always there
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        print(f"not compiled, which is slower: {reason}", file=sys.stderr)
        return False


def keep_freed_memory():
    """Have glibc keep freed blocks for the next step; elsewhere, nothing.

    By default it gives blocks as large as activations back to the system, and each step pays for
    every page again: a fifth of the time of a compiled step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        trim_threshold, mmap_threshold = -1, -3  # as malloc.h numbers them
        # Older versions of glibc take no more than 32 MiB.
        mallopt(mmap_threshold, 2**31 - 1) or mallopt(mmap_threshold, 2**25)
        mallopt(trim_threshold, 2**31 - 1)
