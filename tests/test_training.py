"""The pieces of the training: alterations, learning rate, averaged weights, and going on."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import outputs, remove, small_params
from torch.nn.functional import affine_grid, grid_sample

import cnn_train
from common.model import DigitClassification
from training.augment import basis, distort, draw_weights
from training.recipe import generator_for, make_optimizer, move_average, relative_rate

STATES = Path(".dvc/tmp/training")


def maps(count=500, **changes):
    """Maps of `count` images, with no alteration but those named."""
    none = {"shift": 0, "rotation": 0, "scale": 0, "shear": 0, "elastic": 0}
    return draw_weights(count, generator_for(0, 1, "cpu"), **none | changes)


def test_without_alterations_an_image_stays_as_it_is():
    images = torch.randint(0, 256, (5, 28, 28), dtype=torch.uint8)
    torch.testing.assert_close(distort(images.float(), maps(5)), images.float(), atol=1e-3, rtol=0)


def test_an_image_is_moved_by_whole_pixels_and_nothing_comes_round():
    images = torch.randint(1, 256, (200, 28, 28), dtype=torch.uint8)
    moves = maps(200, shift=2)
    copies = distort(images.float(), moves)
    seen = set()
    for image, copy, (right, down) in zip(images, copies, moves[:, :, 2].long(), strict=True):
        padded = torch.nn.functional.pad(image, (2, 2, 2, 2))
        expected = padded[2 + down : 30 + down, 2 + right : 30 + right].float()
        torch.testing.assert_close(copy, expected, atol=1e-2, rtol=0)
        seen.add((int(right), int(down)))
    assert len(seen) == 25


def test_a_quarter_turn_is_a_quarter_turn():
    image = torch.randint(0, 256, (1, 28, 28), dtype=torch.uint8)
    turn = torch.tensor([[[0.0, -1, 0], [1, 0, 0]]])
    torch.testing.assert_close(
        distort(image.float(), turn)[0], torch.rot90(image[0].float()), atol=1e-2, rtol=0
    )


def test_distorting_agrees_with_torchs_own_affine_grid():
    images = torch.randint(0, 256, (50, 28, 28), dtype=torch.uint8)
    drawn = maps(50, shift=2, rotation=30, scale=0.2, shear=0.2)
    theirs = drawn.clone()
    theirs[:, :, 2] /= 14  # torch counts from -1 to 1
    grid = affine_grid(theirs, (50, 1, 28, 28), align_corners=False)
    expected = grid_sample(images[:, None].float(), grid, align_corners=False)[:, 0]
    torch.testing.assert_close(distort(images.float(), drawn), expected, atol=1e-2, rtol=0)


def test_each_image_is_altered_by_a_draw_of_its_own_within_the_limits():
    turned = maps(rotation=10)
    angles = torch.rad2deg(torch.atan2(turned[:, 1, 0], turned[:, 0, 0]))
    assert len(angles.unique()) == 500
    assert 9 < angles.abs().max() <= 10.001
    assert abs(angles.mean()) < 1
    sides = maps(scale=0.1)[:, [0, 1], [0, 1]].log()
    assert 0.095 < sides.abs().max() <= 0.1001
    assert not torch.equal(sides[:, 0], sides[:, 1])


def test_bumps_move_every_pixel_as_far_and_neighbours_together():
    still = maps(4000)
    moved = maps(4000, elastic=0.6)
    assert moved.shape == (4000, 2, 84)
    places = basis(torch.device("cpu"))
    moves = (moved @ places - still @ places[:3]).view(4000, 2, 28, 28)
    spread = moves.std(0)  # of each pixel, over the images
    assert spread.min() > 0.55
    assert spread.max() < 0.65
    assert moves.mean().abs() < 0.01
    near = (moves[..., 1:] - moves[..., :-1]).std()
    assert 0.02 < near < 0.2  # a pixel and the next one differ by far less than 0.6
    apart = np.corrcoef(moves[:, 0, 14, 2], moves[:, 0, 14, 25])[0, 1]
    assert abs(apart) < 0.1


def test_a_bump_carries_what_is_under_it_and_leaves_the_rest():
    image = torch.arange(28).expand(1, 28, 28) * 4 + torch.arange(28)[:, None] * 5
    weights = torch.cat([maps(1), torch.zeros(1, 2, 81)], 2)
    weights[0, 0, 3] = 300.0  # the first bump, beyond the upper left corner, far to the right
    copy = distort(image.float(), weights)[0]
    assert copy[0, 0] == 0  # it comes from outside
    torch.testing.assert_close(copy[20:, 20:], image[0, 20:, 20:].float(), atol=0.5, rtol=0)


def test_another_epoch_and_another_seed_alter_otherwise():
    draws = [
        torch.rand(3, generator=generator_for(*key, "cpu")) for key in ((1, 1), (1, 2), (2, 1))
    ]
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(draws[0], torch.rand(3, generator=generator_for(1, 1, "cpu")))


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0, 0.2, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
def test_the_rate_rises_to_its_peak_and_falls_as_it_should(schedule, warmup, steps):
    rates = [relative_rate(step, steps, schedule, warmup) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    peak = rates.index(max(rates))
    assert peak == pytest.approx(max(0, warmup * steps - 1), abs=1)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    if steps == 1000:
        assert max(rates) > 0.99
        assert rates[-1] == 1 if schedule == "constant" else rates[-1] < 0.1


def test_the_average_is_that_of_the_formula_with_batchnorms_statistics():
    model, average = DigitClassification(), DigitClassification()
    expected = average.state_dict()["bn1.running_mean"].clone()
    for step in range(30):
        with torch.no_grad():
            model.bn1.running_mean.normal_()
            model.bn1.num_batches_tracked += 1
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.bn1.running_mean
        move_average([*average.buffers()], [*model.buffers()], step, 0.5)
    torch.testing.assert_close(average.bn1.running_mean, expected)
    assert average.bn1.num_batches_tracked == 30


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_weight_decay_draws_weights_to_zero(name):
    model = torch.nn.Linear(3, 1)
    optimizer = make_optimizer(name, model, lr=0.1, weight_decay=0.5)
    before = model.weight.detach().clone()
    model.weight.grad, model.bias.grad = torch.zeros(1, 3), torch.zeros(1)
    optimizer.step()
    assert (model.weight.abs() < before.abs()).all()


def test_a_training_killed_at_random_moments_ends_with_the_same_bytes(images, written, start):
    undisturbed = start(epochs=8)
    assert undisturbed.wait(600) == 0, undisturbed.stderr.read()
    expected = outputs(written)
    remove(expected)

    went_on, finished, rng = 0, False, np.random.default_rng(0)
    for _ in range(8):
        process = start(epochs=8)
        lines = rng.integers(1, 3)  # killed while it learns, some time after so many epochs
        said = [process.stdout.readline() for _ in range(lines)]
        time.sleep(rng.random() * 0.3)
        os.killpg(process.pid, signal.SIGKILL)
        said += process.communicate()[0].splitlines()
        went_on += any("going on after epoch" in line for line in said)
        if finished := process.returncode == 0:
            break
    if not finished:
        process = start(epochs=8)
        assert process.wait(600) == 0
        went_on += "going on after epoch" in process.stdout.read()
    assert went_on > 0
    assert outputs(written) == expected
    assert [*STATES.iterdir()] == []


def test_a_damaged_or_foreign_state_is_set_aside_and_training_starts_anew(
    images, written, capsys, monkeypatch
):
    parameters = small_params()["train"]
    cnn_train.main(**parameters)
    expected = outputs(written)
    monkeypatch.setattr(cnn_train.UnfinishedTraining, "remove", lambda self: self.lock.release())
    cnn_train.main(**parameters)
    (state,) = (path for path in STATES.iterdir() if path.suffix != ".lock")
    whole = state.read_bytes()

    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for broken in (bytes(flipped), whole[:1000], b""):
        state.write_bytes(broken)
        capsys.readouterr()
        cnn_train.main(**parameters)
        captured = capsys.readouterr()
        assert captured.err.count("not the state of this training") == 1
        assert "going on" not in captured.out
        assert outputs(written) == expected

    capsys.readouterr()
    cnn_train.main(**parameters | {"seed": 1})  # another training does not look at it
    assert "going on" not in capsys.readouterr().out
    others = [path for path in STATES.iterdir() if path.suffix == "" and path != state]
    others[0].replace(state)
    cnn_train.main(**parameters)
    captured = capsys.readouterr()
    assert "not the state of this training" in captured.err
    assert outputs(written) == expected


def test_two_equal_trainings_at_once_share_no_state(images, written, capsys, monkeypatch):
    parameters = small_params()["train"]
    key = cnn_train.UnfinishedTraining("a key")
    other = cnn_train.UnfinishedTraining("a key")
    assert "the same training runs elsewhere" in capsys.readouterr().err
    other.save({"history": []})
    assert not other.path.exists()
    key.save({"history": []})
    assert other.load() is None
    other.remove()
    assert key.load() == {"history": []}
    key.remove()
    cnn_train.main(**parameters | {"resume": False})
    assert [*STATES.iterdir()] == []


def test_ctrl_c_stops_at_once_with_one_line(images, start):
    process = start(epochs=1000)
    process.stdout.readline()
    started = time.perf_counter()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    took = time.perf_counter() - started
    assert process.returncode == 130
    assert errors == "interrupted\n"
    assert took < 5  # within a second on a machine that has nothing else to do


def test_the_line_about_a_loss_that_is_not_finite_says_where(images, written):
    before = outputs(written)
    changes = {"lr": 1e30, "schedule": "constant", "warmup": 0, "average": 0, "epochs": 3}
    with pytest.raises(cnn_train.ParameterError) as refused:
        cnn_train.main(**small_params()["train"] | changes)
    assert str(refused.value).startswith(
        "params.yaml: train.lr: the loss is not finite in epoch 1, step 2, at a rate of 1e+30: try"
    )
    assert outputs(written) == before
