"""Data augmentation: a random affine and elastic distortion per image.

Pixel p of a distorted image is sampled from the original at Σ_k c_k φ_k(p). The basis φ consists of
x, y, 1 and Gaussian bumps on a grid; random coefficients of the bumps move neighbouring pixels
together (Simard et al. 2003, Best practices for convolutional neural networks, section 2).
"""

import math
from functools import cache
from typing import Annotated

import torch
from pydantic import ConfigDict, Field, Strict
from pydantic.dataclasses import dataclass
from torch.nn.functional import grid_sample

SIDE = 28  # pixels
SPACING = 4  # distance and standard deviation of the bumps, pixels


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Augment:
    """The parameters in train.augment."""

    shift: Annotated[int, Strict(), Field(ge=0, le=14)]
    rotation: Annotated[float, Strict(), Field(ge=0, le=180)]
    scale: Annotated[float, Strict(), Field(ge=0, le=1)]
    shear: Annotated[float, Strict(), Field(ge=0, le=1)]
    elastic: Annotated[float, Strict(), Field(ge=0, le=14)]
    until: Annotated[float, Strict(), Field(ge=0, le=1)]


def draw_distortions(count, augment, generator):
    """Random coefficients (count, 2, 3 or 84) of the basis for x and y of the sampled points.

    Uniform: translation ±shift (whole pixels), rotation (degrees), shear, and the logarithm of each
    side's scale. Normal: bumps; `elastic` is the standard deviation of a pixel's displacement along
    each axis (pixels). If it is 0, the bumps are omitted.
    """
    options = {"generator": generator, "device": generator.device}
    draws = 2 * torch.rand(6, count, **options) - 1
    angle = draws[0] * math.radians(augment.rotation)
    cos, sin = angle.cos(), angle.sin()
    width, height = (draws[1:3] * augment.scale).exp()
    shear = draws[3] * augment.shear
    shift = augment.shift
    right, down = (draws[4:] * (shift + 0.5)).round().clamp(-shift, shift)
    rows = [cos * width, (cos * shear - sin) * height, right]
    rows += [sin * width, (sin * shear + cos) * height, down]
    coefficients = torch.stack(rows, 1).view(count, 2, 3)
    if augment.elastic:
        bumps = augment.elastic * torch.randn(count, 2, len(basis(generator.device)) - 3, **options)
        coefficients = torch.cat([coefficients, bumps], 2)
    return coefficients


def draw_epoch(augment, first_step, batches, steps, batch_size, generator):
    """Coefficients (batch_size, 2, 3 or 84) of each step of an epoch; None: no augmentation."""
    augmented = round(augment.until * steps) if augment else 0
    count = min(max(augmented - first_step, 0), batches)
    if not count:
        return [None] * batches
    draws = draw_distortions(count * batch_size, augment, generator).split(batch_size)
    return [*draws, *[None] * (batches - count)]


@cache
def basis(device):
    """The basis (84, 784) at every pixel: x and y (pixels from the centre), 1, 81 bumps."""
    position = torch.arange(SIDE, device=device) - (SIDE - 1) / 2
    y, x = torch.cartesian_prod(position, position).T  # (784,)
    centre = torch.arange(-SIDE // 2 - 2, SIDE // 2 + 3, SPACING, device=device)
    down, right = torch.cartesian_prod(centre, centre).T[:, :, None]  # (81, 1)
    bumps = torch.exp(-((x - right) ** 2 + (y - down) ** 2) / (2 * SPACING**2))
    bumps /= bumps.square().sum(0).sqrt()  # unit variance of each pixel's displacement
    return torch.cat([torch.stack([x, y, torch.ones_like(x)]), bumps])


def distort(images, coefficients):
    """Distorted copies of images (n, 28, 28) float32, padded with zeros.

    torchvision applies one distortion per batch (vision issue 8484), hence grid_sample.
    """
    points = coefficients @ basis(images.device)[: coefficients.shape[2]]  # (n, 2, 784), in pixels
    grid = points.view(-1, 2, SIDE, SIDE).permute(0, 2, 3, 1) / (SIDE / 2)
    return grid_sample(images[:, None], grid, align_corners=False)[:, 0]
