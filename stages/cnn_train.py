"""Train the convolutional network on the training images, and follow it on all three splits.

reads   params.yaml: train
        data/mnist/train.npz        images to learn from, a share of them held out for validation
        data/mnist/test.npz         images that are only looked at: they choose nothing
writes  data/cnn/model.pth          the network after the last epoch, as a plain state dict
        data/cnn/history.csv        a row an epoch: lr, and loss and accuracy of each split,
                                    in the precision of the training
        reports/metrics/train.json  loss and accuracy of the final network, in eval mode, on what
                                    it learned from and what was held out; what it was trained with
        reports/plots/history.json  the history, for `dvc plots`
"""

import math
import platform
import time
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import ConstantLR, OneCycleLR
from tqdm import tqdm

from common.files import write_metrics, write_rows, write_state, write_table
from common.machine import can_compile, choose_device, choose_precision, keep_freed_memory
from common.mnist import TEST, TRAIN, read_images
from common.model import DigitClassification, predict, scale
from common.params import ParameterError, run

WORTH_COMPILING = 250_000  # images; below, compiling takes longer than it saves
# The columns of the history; those of a split without images are empty.
COLUMNS = ["epoch", "lr", *(f"{s}_{v}" for s in ("train", "val", "test") for v in ("loss", "acc"))]
BAR = {"leave": False, "disable": None}  # for eyes only: gone when done, silent in a log


def hold_out(count, share):
    """Indices of `count` images, split at random into (learned from, held out).

    The split is the same for every seed, so that runs can be compared on the same images.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    held_out = round(share * count)
    return order[held_out:], order[:held_out]


def batches(count, batch_size, seed, epoch):
    """The indices 0 … count - 1 in an order given by (seed, epoch), cut into batches.

    The rest that fills no batch is left out: BatchNorm cannot learn from a single image.
    """
    # NumPy mixes the two; torch's generator on the CPU would use the low 32 bits of a sum alone.
    order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(count))
    return order[: count - count % batch_size].split(batch_size)


def main(
    seed: Annotated[int, Field(ge=0, lt=2**31)],
    lr: PositiveFloat,
    schedule: Literal["onecycle", "constant"],
    epochs: PositiveInt,
    batch_size: Annotated[int, Field(ge=2)],
    validation: Annotated[float, Field(ge=0, le=0.9)],
    precision: Literal["auto", "float32", "bfloat16"],
    device: Literal["auto", "cpu", "cuda", "mps"],
    compile: Literal["auto", True, False],
):
    keep_freed_memory()
    device = choose_device(device)
    precision = choose_precision(precision, device)
    autocast = torch.autocast(device.type, precision, enabled=precision != torch.float32)
    torch.use_deterministic_algorithms(True)

    images, labels = (tensor.to(device) for tensor in read_images(TRAIN))
    learned, held_out = hold_out(len(labels), validation)
    watched = {"test": tuple(tensor.to(device) for tensor in read_images(TEST))}
    if len(held_out):
        watched = {"val": (images[held_out], labels[held_out])} | watched
    images, labels = images[learned], labels[learned]
    steps = len(labels) // batch_size
    if steps == 0:
        allowed = f"should be at most {len(labels):,}, the number of images to learn from"
        raise ParameterError("train.batch_size", f"{allowed}, got {batch_size}")

    torch.manual_seed(seed)
    model = DigitClassification().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    if schedule == "onecycle":
        scheduler = OneCycleLR(optimizer, max_lr=lr, total_steps=epochs * steps)
    else:
        scheduler = ConstantLR(optimizer, factor=1)

    def forward(images, labels):
        with autocast:
            logits = model(scale(images))
            return cross_entropy(logits, labels), logits

    def score(split, images, labels):
        """Mean cross-entropy and accuracy in eval mode, named after the split."""
        with autocast:
            logits = predict(model, images)
        loss = cross_entropy(logits.float(), labels).item()
        accuracy = (logits.argmax(1) == labels).sum().item() / len(labels)
        return {f"{split}_loss": loss, f"{split}_acc": accuracy}

    if compile == "auto":
        compile = epochs * len(labels) > WORTH_COMPILING
    compiled = compile and can_compile(device)
    if compiled:
        forward = torch.compile(forward)

    history = []
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "lr": scheduler.get_last_lr()[0]}
        loss_sum = correct = torch.zeros((), device=device)
        started, seen = time.perf_counter(), 0
        bar = tqdm(total=steps * batch_size, desc=f"epoch {epoch}/{epochs}", unit=" images", **BAR)
        for batch in batches(len(labels), batch_size, seed, epoch):
            loss, logits = forward(images[batch], labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()

            loss_sum = loss_sum + loss.detach() * batch_size
            correct = correct + (logits.argmax(1) == labels[batch]).sum()
            seen += batch_size
            if bar.update(batch_size):  # shown: reading a number waits for the device
                bar.set_postfix(loss=f"{loss_sum / seen:.4f}", accuracy=f"{correct / seen:.2%}")
        bar.close()
        rate = seen / (time.perf_counter() - started)

        row |= {"train_loss": loss_sum.item() / seen, "train_acc": correct.item() / seen}
        for split in watched:
            row |= score(split, *watched[split])
        history.append(row)
        shown = "val_acc" if "val_acc" in row else "train_acc"
        print(
            f"epoch {epoch:2}  loss {row['train_loss']:.4f}  {shown} {row[shown]:.2%}"
            f"  {rate:,.0f} images/s",
            flush=True,
        )
        if not all(map(math.isfinite, row.values())):
            raise ParameterError(
                "train.lr",
                f"a loss is not finite in epoch {epoch}, with {lr}: try a smaller one",
            )

    # The history's training columns were taken while the network still changed, in training mode.
    metrics = score("train", images, labels)
    metrics |= {name: row[name] for name in ("val_loss", "val_acc") if name in row}
    metrics |= {
        "parameters": sum(p.numel() for p in model.parameters()),
        "images": len(labels),
        "device": device.type,
        "precision": str(precision).removeprefix("torch."),
        "compiled": "yes" if compiled else "no",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    history = pd.DataFrame(history, columns=COLUMNS)
    write_metrics("reports/metrics/train.json", metrics)
    write_state("data/cnn/model.pth", model.state_dict())
    write_table("data/cnn/history.csv", history)
    write_rows("reports/plots/history.json", history)


if __name__ == "__main__":
    run(main, section="train")
