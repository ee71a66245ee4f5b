"""Data augmentation: distortions of images."""

import math

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample

from training.augment import Augment, basis, distort, draw_distortions, draw_epoch
from training.data import epoch_generator

NONE = {"shift": 0, "rotation": 0.0, "scale": 0.0, "shear": 0.0, "elastic": 0.0, "until": 1.0}


def draws(count=500, **changes):
    """Coefficients for `count` images with only the given distortions."""
    return draw_distortions(count, Augment(**NONE | changes), epoch_generator(0, 1, "cpu"))


def test_a_distortion_of_zero_leaves_images_unchanged():
    images = torch.randint(0, 256, (5, 28, 28), dtype=torch.uint8).float()
    torch.testing.assert_close(distort(images, draws(5)), images, atol=1e-3, rtol=0)


def test_an_image_is_shifted_by_whole_pixels_without_wrapping():
    images = torch.randint(1, 256, (200, 28, 28), dtype=torch.uint8)
    shifts = draws(200, shift=2)
    copies = distort(images.float(), shifts)
    seen = set()
    for image, copy, (right, down) in zip(images, copies, shifts[:, :, 2].long(), strict=True):
        padded = torch.nn.functional.pad(image, (2, 2, 2, 2))
        expected = padded[2 + down : 30 + down, 2 + right : 30 + right].float()
        torch.testing.assert_close(copy, expected, atol=1e-2, rtol=0)
        seen.add((int(right), int(down)))
    assert len(seen) == 25
    counts = draws(5000, shift=2)[:, 0, 2].unique(return_counts=True)[1] / 5000
    torch.testing.assert_close(counts, torch.full((5,), 0.2), atol=0.03, rtol=0)


def test_a_quarter_turn_agrees_with_rot90():
    image = torch.randint(0, 256, (1, 28, 28), dtype=torch.uint8).float()
    turn = torch.tensor([[[0.0, -1, 0], [1, 0, 0]]])
    expected = torch.rot90(image[0])
    torch.testing.assert_close(distort(image, turn)[0], expected, atol=1e-2, rtol=0)


def test_distorting_agrees_with_torchs_affine_grid():
    images = torch.randint(0, 256, (50, 28, 28), dtype=torch.uint8).float()
    drawn = draws(50, shift=2, rotation=30.0, scale=0.2, shear=0.2)
    torch_affine = drawn.clone()
    torch_affine[:, :, 2] /= 14  # torch uses coordinates from -1 to 1
    grid = affine_grid(torch_affine, (50, 1, 28, 28), align_corners=False)
    expected = grid_sample(images[:, None], grid, align_corners=False)[:, 0]
    torch.testing.assert_close(distort(images, drawn), expected, atol=1e-2, rtol=0)


def test_each_image_has_its_own_distortion_within_the_limits():
    turned = draws(rotation=10.0)
    angles = torch.rad2deg(torch.atan2(turned[:, 1, 0], turned[:, 0, 0]))
    assert len(angles.unique()) == 500
    assert 9 < angles.abs().max() <= 10.001
    assert abs(angles.mean()) < 1
    sides = draws(scale=0.1)[:, [0, 1], [0, 1]].log()
    assert 0.095 < sides.abs().max() <= 0.1001
    assert not torch.equal(sides[:, 0], sides[:, 1])


def test_an_image_is_scaled_then_sheared_then_rotated():
    drawn = draws(rotation=30.0, scale=0.2, shear=0.1)[:, :, :2]
    angles = torch.atan2(drawn[:, 1, 0], drawn[:, 0, 0])
    rotation = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], 1)
    rest = rotation.view(-1, 2, 2).mT @ drawn  # [[width, shear · height], [0, height]]
    torch.testing.assert_close(rest[:, 1, 0], torch.zeros(500), atol=1e-6, rtol=0)
    shears = rest[:, 0, 1] / rest[:, 1, 1]
    sides = rest[:, [0, 1], [0, 1]].log()
    for values, limit in ((angles, math.radians(30)), (shears, 0.1), (sides, 0.2)):
        assert 0.95 * limit < values.abs().max() < 1.001 * limit
    together = torch.stack([angles, shears, *sides.T])
    assert (torch.corrcoef(together) - torch.eye(4)).abs().max() < 0.2  # drawn independently


def test_elastic_displacements_have_equal_variance_and_are_smooth():
    still = draws(4000)
    moved = draws(4000, elastic=0.6)
    assert moved.shape == (4000, 2, 84)
    functions = basis(torch.device("cpu"))
    moves = (moved @ functions - still @ functions[:3]).view(4000, 2, 28, 28)
    spread = moves.std(0)  # of each pixel, over the images
    assert spread.min() > 0.55
    assert spread.max() < 0.65
    assert moves.mean().abs() < 0.01
    near = (moves[..., 1:] - moves[..., :-1]).std()
    assert 0.02 < near < 0.2  # neighbouring pixels differ by much less than 0.6
    apart = np.corrcoef(moves[:, 0, 14, 2], moves[:, 0, 14, 25])[0, 1]
    assert abs(apart) < 0.1


def test_one_elastic_coefficient_displaces_only_nearby_pixels():
    image = torch.arange(28).expand(1, 28, 28) * 4 + torch.arange(28)[:, None] * 5
    coefficients = torch.cat([draws(1), torch.zeros(1, 2, 81)], 2)
    coefficients[0, 0, 3] = 300.0  # the first bump, near the upper left corner, moves far right
    copy = distort(image.float(), coefficients)[0]
    assert copy[0, 0] == 0  # sampled from outside the image
    torch.testing.assert_close(copy[20:, 20:], image[0, 20:, 20:].float(), atol=0.5, rtol=0)


def test_the_last_steps_of_a_run_have_no_augmentation():
    for until, expected in ((1.0, 22), (0.5, 11), (0.9, 20), (0.0, 0)):  # of 2 epochs of 11 steps
        augment = Augment(**NONE | {"shift": 1, "until": until})
        generator = epoch_generator(0, 1, "cpu")
        steps = [d for first in (0, 11) for d in draw_epoch(augment, first, 11, 22, 16, generator)]
        assert len(steps) == 22
        assert all(d.shape == (16, 2, 3) for d in steps[:expected])
        assert steps[expected:] == [None] * (22 - expected)
    assert draw_epoch(None, 0, 11, 22, 16, generator) == [None] * 11


def test_random_numbers_depend_on_epoch_and_seed():
    first, epoch, seed, again = (
        torch.rand(3, generator=epoch_generator(*key, "cpu"))
        for key in ((1, 1), (1, 2), (2, 1), (1, 1))
    )
    assert not torch.equal(first, epoch)
    assert not torch.equal(first, seed)
    assert torch.equal(first, again)
