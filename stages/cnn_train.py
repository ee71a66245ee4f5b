"""Train the convolutional network on the training images, and follow it on all three splits.

An interrupted training goes on from its last finished epoch (training/resume.py).

reads   params.yaml: train
        data/mnist/train.npz        images to learn from, a share of them held out for validation
        data/mnist/test.npz         images that are only looked at: they choose nothing
writes  data/cnn/model.pth          the network after the last epoch, as a plain state dict
        data/cnn/history.csv        a row an epoch: lr, and loss and accuracy of each split; of the
                                    training images as they were learned from, of the others in
                                    eval mode and float32
        reports/metrics/train.json  loss and accuracy of the final network, in eval mode and
                                    float32, on what it learned from and what was held out; what
                                    it was trained with
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
from pydantic import Field, PositiveFloat, PositiveInt
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from common.files import write_metrics, write_rows, write_state, write_table
from common.machine import can_compile, choose_device, choose_precision, keep_freed_memory
from common.mnist import TEST, TRAIN, read_images
from common.model import DigitClassification, predict
from common.model import scale as scale_pixels
from common.params import ParameterError, run
from training.augment import distort, draw_maps
from training.recipe import (
    batches,
    generator_for,
    hold_out,
    make_optimizer,
    move_average,
    relative_rate,
)
from training.resume import UnfinishedTraining, make_key

WORTH_COMPILING = 250_000  # images; below, compiling takes longer than it saves
# The columns of the history; those of a split without images are empty.
COLUMNS = ["epoch", "lr", *(f"{s}_{v}" for s in ("train", "val", "test") for v in ("loss", "acc"))]
BAR = {"leave": False, "disable": None}  # for eyes only: gone when done, silent in a log
Share = Annotated[float, Field(ge=0, lt=1)]


def main(
    seed: Annotated[int, Field(ge=0, lt=2**31)],
    optimizer: Literal["sgd", "adam"],
    lr: PositiveFloat,
    schedule: Literal["linear", "cosine", "constant"],
    warmup: Share,
    weight_decay: Annotated[float, Field(ge=0)],
    average: Share,
    label_smoothing: Share,
    shift: Annotated[int, Field(ge=0, le=14)],
    rotation: Annotated[float, Field(ge=0, le=180)],
    scale: Annotated[float, Field(ge=0, le=1)],
    shear: Annotated[float, Field(ge=0, le=1)],
    epochs: PositiveInt,
    batch_size: Annotated[int, Field(ge=2)],
    validation: Annotated[float, Field(ge=0, le=0.9)],
    precision: Literal["auto", "float32", "bfloat16"],
    device: Literal["auto", "cpu", "cuda", "mps"],
    compile: Literal["auto", True, False],
    resume: bool,
):
    settings = {name: value for name, value in locals().items() if name != "resume"}
    alterations = shift, rotation, scale, shear
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
    averaged = deepcopy(model) if average else model
    optimizer = make_optimizer(optimizer, model, lr, weight_decay)
    rate = partial(relative_rate, steps=epochs * steps, schedule=schedule, warmup=warmup)
    scheduler = LambdaLR(optimizer, rate)

    def forward(images, labels):
        with autocast:
            logits = model(scale_pixels(images))
            return cross_entropy(logits, labels, label_smoothing=label_smoothing), logits

    def score(split, images, labels):
        """Mean cross-entropy and accuracy in eval mode and float32, named after the split."""
        logits = predict(averaged, images)
        loss = cross_entropy(logits, labels).item()
        accuracy = (logits.argmax(1) == labels).sum().item() / len(labels)
        return {f"{split}_loss": loss, f"{split}_acc": accuracy}

    if compile == "auto":
        compile = epochs * len(labels) > WORTH_COMPILING
    compiled = compile and can_compile(device)
    if compiled:
        forward = torch.compile(forward)

    history, parts = [], {"model": model, "averaged": averaged}
    parts |= {"optimizer": optimizer, "scheduler": scheduler}
    settings |= {"device": device.type, "precision": str(precision), "compiled": compiled}
    unfinished = UnfinishedTraining(make_key([TRAIN, TEST], settings), wanted=resume)
    if state := unfinished.load():
        history = state["history"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
        print(f"going on after epoch {len(history)} of {epochs}, where a training was interrupted")

    for epoch in range(len(history) + 1, epochs + 1):
        row = {"epoch": epoch, "lr": scheduler.get_last_lr()[0]}
        started, chance = time.perf_counter(), generator_for(seed, epoch, device)
        losses, correct = torch.empty(steps, device=device), torch.zeros((), device=device)
        bar = tqdm(total=steps * batch_size, desc=f"epoch {epoch}/{epochs}", unit=" images", **BAR)
        for step, batch in enumerate(batches(len(labels), batch_size, seed, epoch)):
            pixels, answers = images[batch], labels[batch]
            if any(alterations):
                pixels = distort(pixels, draw_maps(batch_size, chance, *alterations))
            loss, logits = forward(pixels, answers)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            if average:
                move_average(averaged, model, (epoch - 1) * steps + step, average)

            losses[step] = loss.detach()
            correct += (logits.argmax(1) == answers).sum()
            if bar.update(batch_size):  # shown: reading a number waits for the device
                bar.set_postfix(loss=f"{losses[: step + 1].mean():.4f}")
        bar.close()
        speed = steps * batch_size / (time.perf_counter() - started)

        row |= {
            "train_loss": losses.mean().item(),
            "train_acc": correct.item() / (steps * batch_size),
        }
        for split in watched:
            row |= score(split, *watched[split])
        wrong = losses.isfinite().logical_not().nonzero().flatten().tolist()
        if wrong or not all(map(isfinite, row.values())):
            unfinished.remove()
            step = wrong[0] if wrong else steps - 1
            where = f"in epoch {epoch}, step {step + 1}, at a rate of"
            reached = lr * rate((epoch - 1) * steps + step)
            reason = f"the loss is not finite {where} {reached:.2g}: try less than {lr:g}"
            raise ParameterError("train.lr", reason)

        history.append(row)
        states = {name: part.state_dict() for name, part in parts.items()}
        unfinished.save(states | {"history": history})
        shown = "val_acc" if "val_acc" in row else "train_acc"
        print(
            f"epoch {epoch:2}  loss {row['train_loss']:.4f}  {shown} {row[shown]:.2%}"
            f"  {speed:,.0f} images/s",
            flush=True,
        )

    # The history's training columns were taken while the network still changed.
    metrics = score("train", images, labels)
    metrics |= {name: history[-1][name] for name in ("val_loss", "val_acc") if name in history[-1]}
    metrics |= {
        "parameters": sum(p.numel() for p in model.parameters()),
        "images": len(labels),
        "held_out": len(held_out),
        "device": device.type,
        "precision": str(precision).removeprefix("torch."),
        "compiled": "yes" if compiled else "no",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    history = pd.DataFrame(history, columns=COLUMNS)
    write_metrics("reports/metrics/train.json", metrics)
    write_state("data/cnn/model.pth", averaged.state_dict())
    write_table("data/cnn/history.csv", history)
    write_rows("reports/plots/history.json", history)
    unfinished.remove()


if __name__ == "__main__":
    run(main, section="train")
