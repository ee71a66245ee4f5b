"""Train the convolutional network of the assignment.

reads   params.yaml: train
        data/mnist/train.npz        training images; a fraction is held out for validation
        data/mnist/test.npz         test images, for reporting only
writes  data/network/model.pth      state dict of the final network (its EMA if train.ema > 0)
        data/network/weights.npz    the same weights as arrays, for stages without torch
        data/network/history.csv    one row per epoch: learning rate of its first step; loss and
                                    accuracy of train (mean over its steps, train mode, augmented,
                                    smoothed labels), val and test (after the epoch: EMA, eval mode,
                                    float32)
        reports/metrics/train.json  loss and accuracy of the final network on the training and
                                    validation images in eval mode and float32; losses of the
                                    first five steps, which identify the run; the machine
        reports/plots/history.json  the history for `dvc plots`; replaced after each epoch
"""

import time
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from common.files import write_arrays, write_bytes
from common.mnist import TEST, TRAIN
from common.model import MODEL, WEIGHTS, DigitClassification, scale
from common.stage import run
from common.weights import pack_state
from training import machine
from training.augment import Augment, distort, draw_epoch
from training.checkpoint import Checkpoint, make_key
from training.cuda_graph import GraphedStep
from training.data import count_batches, epoch_generator, read_splits, shuffled_batches
from training.history import describe_epoch, describe_splits, format_epoch, write_history
from training.optimizer import ema_decays, learning_rates, make_ema, make_optimizer

Fraction = Annotated[float, Field(ge=0, lt=1)]


def make_step(model, update_ema, optimizer, images, labels, label_smoothing, autocast, compiled):
    """The training step: a function of tensors that never synchronises with the host."""

    def forward(pixels, targets):
        with autocast:
            logits = model(scale(pixels))
            return logits, cross_entropy(logits, targets, label_smoothing=label_smoothing)

    if compiled:
        forward = machine.compile_function(forward)

    def step(batch, lr, ema_decay, distortion=None):
        """Update the model on images[batch]; return the loss () and the number correct ()."""
        pixels, targets = images[batch].float(), labels[batch]
        if distortion is not None:
            pixels = distort(pixels, distortion)
        logits, loss = forward(pixels, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"].copy_(lr)
        optimizer.step()
        update_ema(ema_decay)
        return loss.detach(), (logits.argmax(1) == targets).sum()

    return step


def main(
    seed: Annotated[int, Field(ge=0, lt=2**31)],
    optimizer: Literal["sgd", "adam"],
    lr: Annotated[float, Field(gt=0, le=1000)],
    schedule: Literal["linear", "cosine", "constant"],
    warmup: Fraction,
    weight_decay: Annotated[float, Field(ge=0, le=10)],
    ema: Annotated[float, Field(ge=0, le=0.1)],
    label_smoothing: Fraction,
    augment: Augment | None,
    epochs: Annotated[int, Field(ge=1, le=10_000)],
    batch_size: Annotated[int, Field(ge=2)],
    validation: Annotated[float, Field(ge=0, le=0.9)],
    precision: Literal["auto", "float32", "bfloat16"],
    device: Literal["auto", "cpu", "cuda", "mps"],
    compile: bool,
):
    settings = locals().copy()
    # machine
    machine.enable_determinism()
    machine.keep_freed_memory()
    torch_device = machine.choose_device(device)
    dtype = machine.choose_precision(precision, torch_device)
    autocast = torch.autocast(torch_device.type, dtype, enabled=dtype != torch.float32)

    # data
    splits = read_splits(validation, torch_device)
    images, labels = splits["train"]
    steps_per_epoch = count_batches(len(labels), batch_size)
    steps = epochs * steps_per_epoch

    # model, optimizer, schedules
    torch.manual_seed(seed)
    model = DigitClassification().to(torch_device, memory_format=torch.channels_last)
    ema_model, update_ema = make_ema(model)  # ema = 0: every decay is 0, an exact copy
    opt = make_optimizer(optimizer, model, weight_decay)
    lrs = learning_rates(lr, steps, schedule, warmup).to(torch_device)
    decays = ema_decays(ema, steps).to(torch_device)
    step = make_step(model, update_ema, opt, images, labels, label_smoothing, autocast, compile)
    if torch_device.type == "cuda":
        step = GraphedStep(step, [model, ema_model], opt)

    # checkpoint
    key = make_key([TRAIN, TEST], settings, torch_device.type, dtype)
    checkpoint = Checkpoint(key, model=model, ema_model=ema_model, optimizer=opt)
    history = checkpoint.load(torch_device)

    # training
    for epoch in range(len(history) + 1, epochs + 1):
        started, first_step = time.perf_counter(), (epoch - 1) * steps_per_epoch
        order = shuffled_batches(len(labels), batch_size, seed, epoch, torch_device)
        generator = epoch_generator(seed, epoch, torch_device)
        distortions = draw_epoch(augment, first_step, steps_per_epoch, steps, batch_size, generator)
        losses, correct = torch.empty(2, steps_per_epoch, device=torch_device)
        for i, batch in enumerate(tqdm(order, f"epoch {epoch}", leave=False, disable=None)):
            k = first_step + i
            losses[i], correct[i] = step(batch, lrs[k], decays[k], distortions[i])
        train_acc = correct.mean().item() / batch_size  # waits for the GPU
        speed = steps_per_epoch * batch_size / (time.perf_counter() - started)
        row = describe_epoch(epoch, lrs[first_step:], losses, train_acc, ema_model, splits)
        history.append(row)
        checkpoint.save(history)
        write_history(history)
        print(f"{format_epoch(row)}  {speed:,.0f} images/s", flush=True)

    # results
    state = {name: value.cpu().contiguous() for name, value in ema_model.state_dict().items()}
    write_history(history)  # again, because a resumed run may have no epochs left
    write_arrays(WEIGHTS, **{name: tensor.numpy() for name, tensor in state.items()})
    write_bytes(MODEL, pack_state(state))
    metrics = describe_splits(ema_model, splits) | {
        "first_losses": history[0]["first_losses"],
        "machine": [machine.describe(torch_device, dtype)],
    }
    checkpoint.remove()
    return metrics


if __name__ == "__main__":
    run(main, section="train")
