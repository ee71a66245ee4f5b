"""The network of the assignment."""

from copy import deepcopy

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse

MODEL, WEIGHTS = "data/network/model.pth", "data/network/weights.npz"


class DigitClassification(nn.Module):
    """Three convolution blocks, then two linear layers: images (n, 1, 28, 28) to logits (n, 10).

    cross_entropy takes logits and applies the softmax. Module names are the assignment's, so its
    own class can load the state dict.
    """

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5, padding="same")
        self.bn1 = nn.BatchNorm2d(32)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool1 = nn.AvgPool2d(2, 2)

        self.conv2 = nn.Conv2d(32, 32, 5, padding="same")
        self.bn2 = nn.BatchNorm2d(32)
        self.relu2 = nn.ReLU(inplace=True)
        self.pool2 = nn.AvgPool2d(2, 2)

        self.conv3 = nn.Conv2d(32, 64, 5, padding="same")
        self.bn3 = nn.BatchNorm2d(64)
        self.relu3 = nn.ReLU(inplace=True)
        self.pool3 = nn.AvgPool2d(2, 2)

        self.linear1 = nn.Linear(64 * 3 * 3, 64)
        self.bn4 = nn.BatchNorm1d(64)
        self.relu4 = nn.ReLU(inplace=True)
        self.linear2 = nn.Linear(64, 10)

        assert sum(p.numel() for p in self.parameters()) == 115_690

    def forward(self, images):
        x = self.pool1(self.relu1(self.bn1(self.conv1(images))))  # (n, 32, 14, 14)
        x = self.pool2(self.relu2(self.bn2(self.conv2(x))))  # (n, 32, 7, 7)
        x = self.pool3(self.relu3(self.bn3(self.conv3(x))))  # (n, 64, 3, 3)
        x = self.relu4(self.bn4(self.linear1(x.flatten(1))))  # (n, 64)
        return self.linear2(x)


def scale(images):
    """Map pixels (n, 28, 28) in [0, 255] to (n, 1, 28, 28) float32 in [-1, 1]."""
    return images[:, None].float() / 127.5 - 1


@torch.inference_mode()
def predict(model, images, batch_size=250):
    """Logits (n, 10) for pixels (n, 28, 28) uint8, in eval mode; BatchNorm is folded into the
    preceding layers.
    """
    folded = fuse(deepcopy(model).eval(), inplace=True)
    return torch.cat([folded(scale(batch)) for batch in images.split(batch_size)])
