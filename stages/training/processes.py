"""Training in several processes, each of which learns from its share of every batch.

train.processes starts them on this machine; torchrun starts them on one or many. They average their
gradients and add up their counts over gloo, or nccl between CUDA devices.
"""

import logging
import os
import sys
from multiprocessing import parent_process
from threading import RLock, Thread

import torch
import torch.distributed as dist
from torch.multiprocessing import ProcessExitedException, spawn
from tqdm import tqdm

from common.params import ParameterError, ended_in_one_line

LOOPBACK = {"linux": "lo", "darwin": "lo0"}
GRACE = 10  # seconds for the other processes to say what they have to, when one has failed


def are_started():
    """Whether this is one of several processes, as the environment says in torchrun's way."""
    return "RANK" in os.environ


def start(main, settings, device):
    """Call `main` with `settings` in as many processes as they say, and wait for all of them.

    If one fails, the others are ended, and so is this one. torch's elastic launcher would put each
    into a session of its own, where it would go on after a SIGKILL of `dvc repro`.
    """
    count = settings["processes"]
    most = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device.type, count)
    if count > most:
        reason = f"should be at most {most}, the number of GPUs here, got {count}"
        raise ParameterError("train.processes", reason)
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    meeting = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store above, which listens already
        "WORLD_SIZE": str(count),
    }
    if sys.platform in LOOPBACK:
        meeting["GLOO_SOCKET_IFNAME"] = LOOPBACK[sys.platform]
    threads = max(1, torch.get_num_threads() // count)
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    try:
        context = spawn(run_one, (main, settings, meeting, threads), count, join=False)
        while not context.join(grace_period=GRACE):
            pass
    except ProcessExitedException as error:
        if error.exit_code > 0:
            sys.exit(error.exit_code)  # it has said why
        reason = f"process {error.error_index + 1} of {count} was ended by {error.signal_name}"
        raise ChildProcessError(f"{reason}: nothing was written") from None


def run_one(rank, main, settings, meeting, threads):
    """What each process does, as long as the one that started it is there."""
    Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()
    os.environ.update(meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
    torch.set_num_threads(threads)
    tqdm.set_lock(RLock())  # its own is a semaphore, which a killed process would leave behind
    with ended_in_one_line("train"):
        main(**settings)


def meet(device):
    """Join the other processes: this one's rank, and how many there are; (0, 1) if it is alone."""
    if not are_started():
        return 0, 1
    own = None
    if device.type == "cuda":
        own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(own)
    dist.init_process_group("nccl" if own else "gloo", device_id=own)
    return dist.get_rank(), dist.get_world_size()


def average_gradients(model):
    """Replace each gradient by the mean over all processes.

    DistributedDataParallel would do it during the backward pass, which pays for networks a hundred
    times larger. It would also split the compiled step, and put the gradients into an order of its
    own after the first step, so that a training which goes on would add in another order.
    """
    if dist.is_initialized():
        gradients = [parameter.grad for parameter in model.parameters()]
        flat = add_up(torch.cat([gradient.flatten() for gradient in gradients]))
        means = (flat / dist.get_world_size()).split([gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))


def share_out(tensor):
    """Every n-th of the tensor's rows, from this process's rank on: its own of n processes."""
    if not dist.is_initialized():
        return tensor
    return tensor[dist.get_rank() :: dist.get_world_size()]


def add_up(tensor):
    """The sum of the processes' tensors, in place; the tensor."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def average_statistics(model):
    """Replace BatchNorm's running statistics, which each process has of its own images, by the
    mean over all processes. (SyncBatchNorm takes no tensors of the CPU.)
    """
    if dist.is_initialized():
        for buffer in model.buffers():
            if buffer.is_floating_point():
                add_up(buffer).div_(dist.get_world_size())


def tell(value):
    """The first process's value, in all of them."""
    if not dist.is_initialized():
        return value
    told = [value]
    dist.broadcast_object_list(told)
    return told[0]


def part():
    """Leave the other processes, when all have come here: none has failed."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
