"""Altered copies of images: moved, turned, stretched and slanted, each by a draw of its own."""

import math

import torch
from torch.nn.functional import grid_sample


def draw_maps(count, generator, shift, rotation, scale, shear):
    """Affine maps (count, 2, 3) from a pixel's place in the copy to its place in the image.

    Places are in pixels from the middle. The draws are uniform in ±shift (whole pixels),
    ±rotation (degrees) and ±shear, and for each side in exp(±scale).
    """
    draws = 2 * torch.rand(6, count, generator=generator, device=generator.device) - 1
    angle = draws[0] * math.radians(rotation)
    cos, sin = angle.cos(), angle.sin()
    wide, high = (draws[1:3] * scale).exp()
    slant = draws[3] * shear
    right, down = (draws[4:] * (shift + 0.5)).round().clamp(-shift, shift)
    rows = [cos * wide, (cos * slant - sin) * high, right]
    rows += [sin * wide, (sin * slant + cos) * high, down]
    return torch.stack(rows, 1).view(count, 2, 3)


def distort(images, maps):
    """Copies (n, 28, 28) float32 of images (n, 28, 28) uint8; what comes from outside is 0.

    torchvision draws one map for a whole batch (vision issue 8484), hence grid_sample.
    """
    size = images.shape[-1]
    place = torch.arange(size, device=images.device) - (size - 1) / 2
    y, x = torch.meshgrid(place, place, indexing="ij")
    places = torch.stack([x.flatten(), y.flatten(), torch.ones_like(x).flatten()])  # (3, 784)
    grid = (maps @ places).view(-1, 2, size, size).permute(0, 2, 3, 1) / (size / 2)
    return grid_sample(images[:, None].float(), grid, align_corners=False)[:, 0]
