"""Time the three convolutions alone, forward and backward, on random inputs: an upper bound on
training speed with PyTorch's convolutions.

python benchmarks/floor.py PRECISION BATCH_SIZE [SECONDS] prints images/s.
"""

import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "stages"))
from common.model import DigitClassification
from training.machine import keep_freed_memory


def main(precision, batch_size, seconds=10.0):
    keep_freed_memory()
    model = DigitClassification().to(memory_format=torch.channels_last)
    layers = [(model.conv1, 1, 28), (model.conv2, 32, 14), (model.conv3, 32, 7)]
    inputs = [
        torch.randn(batch_size, channels, side, side)
        .to(precision, memory_format=torch.channels_last)
        .requires_grad_(channels > 1)  # conv1 needs no input gradient
        for _, channels, side in layers
    ]
    gradients = [None] * len(layers)

    def step():
        for k, (layer, _, _) in enumerate(layers):
            with torch.autocast("cpu", precision, enabled=precision != torch.float32):
                output = layer(inputs[k])
            if gradients[k] is None:
                gradients[k] = torch.randn_like(output)
            layer.zero_grad()
            inputs[k].grad = None
            output.backward(gradients[k])

    for _ in range(5):
        step()
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        step()
        steps += 1
    print(f"{steps * batch_size / (time.perf_counter() - started):,.0f} images/s")


if __name__ == "__main__":
    main(getattr(torch, sys.argv[1]), int(sys.argv[2]), *map(float, sys.argv[3:]))
