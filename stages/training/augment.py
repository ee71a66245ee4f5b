"""Data augmentation: images moved, turned, stretched, slanted and warped, each by its own draw.

A copy's pixel comes from a place in the image that is a weighted sum of a basis: the pixel's own
place, a constant, and bumps on a grid, whose random weights move neighbouring pixels together
(Simard et al. 2003, Best practices for convolutional neural networks, section 2).
"""

import math
from functools import cache

import torch
from torch.nn.functional import grid_sample

SIDE = 28  # pixels
SPACING = 4  # pixels between two bumps, and the standard deviation of each


def draw_weights(count, generator, shift, rotation, scale, shear, elastic):
    """Weights (count, 2, 3 or 84) of the basis, for the two coordinates in the image.

    The draws are uniform in ±shift (whole pixels), ±rotation (degrees) and ±shear, and for each
    side in exp(±scale). Bumps move each pixel by a normal draw whose standard deviation is
    `elastic` (pixels); without it they have no weights.
    """
    chance = {"generator": generator, "device": generator.device}
    draws = 2 * torch.rand(6, count, **chance) - 1
    angle = draws[0] * math.radians(rotation)
    cos, sin = angle.cos(), angle.sin()
    wide, high = (draws[1:3] * scale).exp()
    slant = draws[3] * shear
    right, down = (draws[4:] * (shift + 0.5)).round().clamp(-shift, shift)
    rows = [cos * wide, (cos * slant - sin) * high, right]
    rows += [sin * wide, (sin * slant + cos) * high, down]
    weights = torch.stack(rows, 1).view(count, 2, 3)
    if elastic:
        bumps = len(basis(generator.device)) - 3
        weights = torch.cat([weights, elastic * torch.randn(count, 2, bumps, **chance)], 2)
    return weights


@cache
def basis(device):
    """The basis (84, 784) over an image's pixels, in pixels from the middle: x, y, 1, 81 bumps."""
    place = torch.arange(SIDE, device=device) - (SIDE - 1) / 2
    y, x = torch.cartesian_prod(place, place).T  # (784,)
    centre = torch.arange(-SIDE // 2 - 2, SIDE // 2 + 3, SPACING, device=device)
    down, right = torch.cartesian_prod(centre, centre).T[:, :, None]  # (81, 1)
    bumps = torch.exp(-((x - right) ** 2 + (y - down) ** 2) / (2 * SPACING**2))
    bumps /= bumps.square().sum(0).sqrt()  # so that each pixel's draw has a variance of 1
    return torch.cat([torch.stack([x, y, torch.ones_like(x)]), bumps])


def distort(images, weights):
    """Copies of images (n, 28, 28) float32; what comes from outside is 0.

    torchvision draws one map for a whole batch (vision issue 8484), hence grid_sample.
    """
    places = weights @ basis(images.device)[: weights.shape[2]]  # (n, 2, 784), in pixels
    grid = places.view(-1, 2, SIDE, SIDE).permute(0, 2, 3, 1) / (SIDE / 2)
    return grid_sample(images[:, None], grid, align_corners=False)[:, 0]
