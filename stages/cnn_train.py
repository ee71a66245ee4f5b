"""Train the convolutional network on the training images, and follow it on all three splits.

An interrupted training goes on from its last finished epoch (training/resume.py). Several processes
share its batches where train.processes, or torchrun, says so (training/processes.py).

reads   params.yaml: train
        data/mnist/train.npz        images to learn from, a share of them held out for validation
        data/mnist/test.npz         images that are only looked at: they choose nothing
writes  data/cnn/model.pth          the network after the last epoch, as a plain state dict
        data/cnn/history.csv        a row an epoch: lr at its first step, and loss and accuracy of
                                    each split; of the training images as they were learned from,
                                    of the others in eval mode and float32
        reports/metrics/train.json  loss and accuracy of the final network, in eval mode and
                                    float32, on what it learned from and what was held out; the
                                    fingerprint of model.pth; what it was trained with
        reports/plots/history.json  the history, for `dvc plots`
"""

import platform
import time
from copy import deepcopy
from functools import partial
from math import isfinite
from typing import Annotated, Literal

import pandas as pd
import torch
from pydantic import Field
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from common.files import (
    fingerprint,
    pack_state,
    write_bytes,
    write_metrics,
    write_rows,
    write_table,
)
from common.machine import (
    can_compile,
    choose_device,
    choose_precision,
    compute_deterministically,
    keep_freed_memory,
)
from common.mnist import TEST, TRAIN, read_images
from common.model import MODEL, DigitClassification, predict
from common.model import scale as scale_pixels
from common.params import ParameterError, run
from training import processes as ranks
from training.augment import distort, draw_weights
from training.recipe import (
    batches,
    generator_for,
    hold_out,
    make_optimizer,
    move_average,
    relative_rate,
)
from training.resume import UnfinishedTraining, make_key

# Images; with fewer, compiling takes longer than it saves. In float32 it saves a seventh of the
# time on a processor with AVX-512, and nothing without.
WORTH_COMPILING = 250_000
# The columns of the history; those of a split without images are empty.
COLUMNS = ["epoch", "lr", *(f"{s}_{v}" for s in ("train", "val", "test") for v in ("loss", "acc"))]
Share = Annotated[float, Field(ge=0, lt=1)]


def read_splits(share, device):
    """Name to (images, labels) on the device: train, val (a share of those to train on), test."""
    images, labels = (tensor.to(device) for tensor in read_images(TRAIN))
    learned, held_out = hold_out(len(labels), share)
    splits = {"train": (images[learned], labels[learned])}
    if len(held_out):
        splits["val"] = images[held_out], labels[held_out]
    splits["test"] = tuple(tensor.to(device) for tensor in read_images(TEST))
    return splits


def check_batch_size(batch_size, images, processes):
    """ParameterError unless the images fill a batch, and the batch is shared out evenly."""
    if batch_size > images:
        allowed = f"should be at most {images:,}, the number of images to learn from"
        raise ParameterError("train.batch_size", f"{allowed}, got {batch_size}")
    if batch_size % processes or batch_size < 2 * processes:
        needed = f"should be a multiple of {processes}, the number of processes, and at least"
        raise ParameterError("train.batch_size", f"{needed} {2 * processes}, got {batch_size}")


def score(model, split, images, labels):
    """Mean cross-entropy and accuracy in eval mode and float32, named after the split."""
    seen, answers = ranks.share_out(images), ranks.share_out(labels)
    logits = predict(model, seen)
    loss = cross_entropy(logits, answers, reduction="sum")
    sums = ranks.add_up(torch.stack([loss, (logits.argmax(1) == answers).sum().float()]))
    loss, correct = sums.tolist()
    return {f"{split}_loss": loss / len(labels), f"{split}_acc": correct / len(labels)}


def find_not_finite(losses, row):
    """The first step whose loss is not finite, the last one if only what it led to is, or None."""
    wrong = losses.isfinite().logical_not().nonzero().flatten().tolist()
    if not wrong and not all(map(isfinite, row.values())):
        wrong = [len(losses) - 1]
    return wrong[0] if wrong else None


def main(
    seed: Annotated[int, Field(ge=0, lt=2**31)],
    optimizer: Literal["sgd", "adam"],
    lr: Annotated[float, Field(gt=0, le=1000)],
    schedule: Literal["linear", "cosine", "constant"],
    warmup: Share,
    weight_decay: Annotated[float, Field(ge=0, le=10)],
    average: Share,
    label_smoothing: Share,
    shift: Annotated[int, Field(ge=0, le=14)],
    rotation: Annotated[float, Field(ge=0, le=180)],
    scale: Annotated[float, Field(ge=0, le=1)],
    shear: Annotated[float, Field(ge=0, le=1)],
    elastic: Annotated[float, Field(ge=0, le=14)],
    plain: Annotated[float, Field(ge=0, le=1)],
    epochs: Annotated[int, Field(ge=1, le=10_000)],
    batch_size: Annotated[int, Field(ge=2)],
    validation: Annotated[float, Field(ge=0, le=0.9)],
    precision: Literal["auto", "float32", "bfloat16"],
    device: Literal["auto", "cpu", "cuda", "mps"],
    compile: Literal["auto", True, False],
    processes: Annotated[int, Field(ge=1, le=64)],
    resume: bool,
):
    settings = locals().copy()
    augmentation = shift, rotation, scale, shear, elastic
    keep_freed_memory()
    device = choose_device(device)
    if processes > 1 and not ranks.are_started():
        ranks.start(main, settings, device)
        return
    rank, processes = ranks.meet(device)
    first = rank == 0
    precision = choose_precision(precision, device)
    autocast = torch.autocast(device.type, precision, enabled=precision != torch.float32)
    compute_deterministically()

    splits = read_splits(validation, device)
    images, labels = splits["train"]
    check_batch_size(batch_size, len(labels), processes)
    portion = batch_size // processes
    mine = slice(rank * portion, (rank + 1) * portion)  # of every batch

    steps = len(labels) // batch_size  # an epoch
    total = epochs * steps
    augmented = round(total * (1 - plain)) if any(augmentation) else 0  # steps

    torch.manual_seed(seed)
    model = DigitClassification().to(device, memory_format=torch.channels_last)
    averaged = deepcopy(model) if average else model
    # Listed once: to walk through the modules takes longer than to average their tensors.
    averages, values = ([*part.parameters(), *part.buffers()] for part in (averaged, model))
    optimizer = make_optimizer(optimizer, model, lr, weight_decay)
    rate = partial(relative_rate, steps=total, schedule=schedule, warmup=warmup)
    scheduler = LambdaLR(optimizer, rate)

    def forward(images, labels):
        with autocast:
            logits = model(scale_pixels(images))
            return cross_entropy(logits, labels, label_smoothing=label_smoothing), logits

    if compile == "auto":
        pays = precision == torch.bfloat16 and device.type != "mps"
        compile = pays and epochs * len(labels) > WORTH_COMPILING
    compiled = compile and can_compile(device)
    if compiled:
        forward = torch.compile(forward, mode="reduce-overhead" if device.type == "cuda" else None)

    history, parts = [], {"model": model, "averaged": averaged}
    parts |= {"optimizer": optimizer, "scheduler": scheduler}
    settings |= {"device": device.type, "precision": str(precision), "compiled": compiled}
    settings |= {"processes": processes, "resume": None}  # resume does not change the result
    unfinished = UnfinishedTraining(make_key([TRAIN, TEST], settings), wanted=resume and first)
    if state := ranks.tell(unfinished.load()):
        history = state["history"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
        if first:
            print(f"going on after epoch {len(history)} of {epochs}, where it was interrupted")

    for epoch in range(len(history) + 1, epochs + 1):
        row = {"epoch": epoch, "lr": scheduler.get_last_lr()[0]}
        started, chance = time.perf_counter(), generator_for(seed, epoch, device)
        before = (epoch - 1) * steps
        # Those of whole batches, so that several processes draw as one would.
        count = min(max(augmented - before, 0), steps) * batch_size
        draws = draw_weights(count, chance, *augmentation).split(batch_size)
        losses, correct = torch.empty(steps, device=device), torch.zeros((), device=device)
        bar = tqdm(
            total=steps * batch_size,
            desc=f"epoch {epoch}/{epochs}",
            unit=" images",
            leave=False,
            disable=None if first else True,  # None: no bar in a log
        )
        for step, batch in enumerate(batches(len(labels), batch_size, seed, epoch, device)):
            pixels, answers = images[batch[mine]].float(), labels[batch[mine]]
            taken = before + step
            if taken < augmented:
                pixels = distort(pixels, draws[step][mine])
            loss, logits = forward(pixels, answers)
            optimizer.zero_grad()
            loss.backward()
            ranks.average_gradients(model)
            optimizer.step()
            scheduler.step()
            if average:
                move_average(averages, values, taken, average)

            losses[step] = loss.detach()
            correct += (logits.argmax(1) == answers).sum()
            if bar.update(batch_size):  # shown: reading a number waits for the device
                bar.set_postfix(loss=f"{losses[: step + 1].mean():.4f}")
        bar.close()
        losses, correct = ranks.add_up(losses) / processes, ranks.add_up(correct)
        row |= {
            "train_loss": losses.mean().item(),
            "train_acc": correct.item() / (steps * batch_size),
        }
        speed = steps * batch_size / (time.perf_counter() - started)

        ranks.average_statistics(model)
        if average:
            ranks.average_statistics(averaged)
        for split in ("val", "test"):
            if split in splits:
                row |= score(averaged, split, *splits[split])
        if (step := find_not_finite(losses, row)) is not None:
            unfinished.remove()
            reached = lr * rate(before + step)
            where = f"in epoch {epoch}, step {step + 1}, at a rate of {reached:.2g}"
            reason = f"the loss is not finite {where}: try less than {lr:g}"
            raise ParameterError("train.lr", reason)

        history.append(row)
        states = {name: part.state_dict() for name, part in parts.items()}
        unfinished.save(states | {"history": history})
        shown = "val_acc" if "val_acc" in row else "train_acc"
        line = f"epoch {epoch:2}  loss {row['train_loss']:.4f}  {shown} {row[shown]:.2%}"
        if first:
            print(f"{line}  {speed:,.0f} images/s", flush=True)

    # The history's training columns were taken while the network still changed.
    metrics = score(averaged, "train", images, labels)
    metrics |= {name: history[-1][name] for name in ("val_loss", "val_acc") if name in history[-1]}
    weights = pack_state(averaged.state_dict())
    metrics |= {
        "weights": fingerprint(weights),
        "parameters": sum(p.numel() for p in model.parameters()),
        "images": len(labels),
        "held_out": len(splits["val"][1]) if "val" in splits else 0,
        "device": device.type,
        "precision": str(precision).removeprefix("torch."),
        "compiled": "yes" if compiled else "no",
        "processes": processes,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if first:
        table = pd.DataFrame(history, columns=COLUMNS)
        write_metrics("reports/metrics/train.json", metrics)
        write_bytes(MODEL, weights)
        write_table("data/cnn/history.csv", table)
        write_rows("reports/plots/history.json", table)
        unfinished.remove()
    ranks.part()


if __name__ == "__main__":
    run(main, section="train")
