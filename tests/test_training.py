"""The parts of a training run: augmentation, optimizer, EMA, step, CUDA graphs, checkpoints."""

import json
import os
import signal
import time
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import outputs, remove, small_params, train
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

import cnn_train
from common.model import DigitClassification, scale
from common.params import ParameterError
from training import cuda_graph
from training.augment import Augment, basis, distort, draw_distortions, draw_epoch
from training.checkpoint import Checkpoint
from training.data import epoch_generator
from training.optimizer import (
    ema_decays,
    learning_rates,
    make_ema,
    make_optimizer,
)

CHECKPOINTS = Path(".dvc/tmp/training")
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


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0, 0.2, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
def test_the_learning_rate_rises_to_its_peak_and_decays(schedule, warmup, steps):
    rates = learning_rates(1.0, steps, schedule, warmup).tolist()
    assert len(rates) == steps
    assert all(0 < rate <= 1 for rate in rates)
    peak = rates.index(max(rates))
    assert peak == pytest.approx(max(0, warmup * steps - 1), abs=1)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    if steps == 1000:
        assert max(rates) > 0.99
        assert rates[-1] == 1 if schedule == "constant" else rates[-1] < 0.1


def test_learning_rates_computed_by_hand():
    # Two steps of warm-up to 0.4, then three of linear decay, which would reach zero at step 6.
    assert learning_rates(0.4, 5, "linear", 0.4).tolist() == pytest.approx(
        [0.2, 0.4, 0.3, 0.2, 0.1]
    )
    assert learning_rates(0.4, 2, "constant", 0).tolist() == pytest.approx([0.4, 0.4])


def test_the_ema_decay_is_capped_early_and_then_has_the_time_constant():
    decays = ema_decays(0.1, 1000).tolist()
    assert decays[0] == pytest.approx(1 / 10)
    assert decays[50] == pytest.approx(51 / 60)
    assert decays[-1] == pytest.approx(1 - 1 / 100)
    assert decays == sorted(decays)
    assert ema_decays(0.1, 3).tolist() == [0, 0, 0]  # a time constant below one step


def test_the_ema_follows_its_formula_for_weights_and_batch_norm_statistics():
    model = DigitClassification()
    ema_model, update_ema = make_ema(model)
    averages, values = (
        [tensor for tensor in m.state_dict().values() if tensor.is_floating_point()]
        for m in (ema_model, model)
    )
    assert len(averages) == 18 + 8  # weights and biases; means and variances
    expected = [tensor.clone() for tensor in averages]
    for decay in (0.1, 0.5, 0.9):
        with torch.no_grad():
            for tensor in values:
                tensor.normal_()
            model.bn1.num_batches_tracked += 1
        expected = [decay * e + (1 - decay) * v for e, v in zip(expected, values, strict=True)]
        update_ema(torch.tensor(decay))
    for average, value in zip(averages, expected, strict=True):
        torch.testing.assert_close(average, value)
    assert ema_model.bn1.num_batches_tracked == 3


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_weight_decay_shrinks_weights_by_its_formula(name):
    model = torch.nn.Linear(3, 1)
    optimizer = make_optimizer(name, model, weight_decay=0.5)
    optimizer.param_groups[0]["lr"].fill_(0.1)
    before = model.weight.detach().clone()
    model.weight.grad, model.bias.grad = torch.zeros(1, 3), torch.zeros(1)
    optimizer.step()
    shrinkage = 0.1 * 0.5 * (1.9 if name == "sgd" else 1)  # Nesterov's first step: 1 + momentum
    torch.testing.assert_close(model.weight.detach(), before * (1 - shrinkage))


IMAGES = torch.randint(0, 256, (64, 28, 28), generator=torch.Generator().manual_seed(0)).byte()
LABELS = torch.arange(64) % 10


def make_run(name):
    """A new model, its EMA, an optimizer and the training step on IMAGES."""
    torch.manual_seed(0)
    model = DigitClassification()
    ema_model, update_ema = make_ema(model)
    optimizer = make_optimizer(name, model, weight_decay=0.01)
    data = IMAGES, LABELS, 0.1
    step = cnn_train.make_step(model, update_ema, optimizer, *data, nullcontext(), compiled=False)
    return model, ema_model, optimizer, step


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_training_steps_agree_with_torch_optim(name):
    model, ema_model, _, step = make_run(name)
    reference = deepcopy(model)
    if name == "sgd":
        options = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
        torch_optimizer = torch.optim.SGD(reference.parameters(), lr=1, **options)
    else:
        torch_optimizer = torch.optim.AdamW(reference.parameters(), lr=1, weight_decay=0.01)
    average = reference.conv2.weight.detach().clone()
    for batch, lr, decay in ((slice(0, 32), 0.01, 0.1), (slice(32, 64), 0.02, 0.5)):
        loss, correct = step(torch.arange(64)[batch], torch.tensor(lr), torch.tensor(decay))

        logits = reference(scale(IMAGES[batch]))
        expected = cross_entropy(logits, LABELS[batch], label_smoothing=0.1)
        torch_optimizer.param_groups[0]["lr"] = lr
        torch_optimizer.zero_grad()
        expected.backward()
        torch_optimizer.step()
        average = decay * average + (1 - decay) * reference.conv2.weight.detach()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
        assert correct.item() == (logits.argmax(1) == LABELS[batch]).sum().item()
    torch.testing.assert_close(model.conv2.weight, reference.conv2.weight, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(ema_model.conv2.weight, average, atol=1e-4, rtol=1e-3)


class ReplayedStep(cuda_graph.GraphedStep):
    """A graph without a GPU: its replay runs the step on the captured inputs."""

    def capture(self, tensors):
        graph, inputs, outputs = super().capture(tensors)

        def replay():
            for output, new in zip(outputs, self.step(*inputs), strict=True):
                output.copy_(new)

        graph.replay = replay
        return graph, inputs, outputs


@pytest.fixture
def no_gpu(monkeypatch):
    """Replace torch.cuda's graphs and streams with stubs."""

    class Stub:
        def wait_stream(self, other):
            pass

    for name in ("CUDAGraph", "Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, Stub)
    for name in ("stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, lambda _: nullcontext())


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_warm_up_and_capture_do_not_change_the_training_run(name, no_gpu):
    torch.use_deterministic_algorithms(True)
    runs = []
    for graphed in (False, True):
        model, ema_model, optimizer, step = make_run(name)
        if graphed:
            step = ReplayedStep(step, [model, ema_model], optimizer)
        for k in range(4):  # the last two steps have no distortion, so they use a second graph
            distortion = draws(16, shift=2) if k < 2 else None
            batch, lr, decay = torch.arange(16) + 16 * k, torch.tensor(0.01), torch.tensor(0.5)
            results = [value.clone() for value in step(batch, lr, decay, distortion)]
        runs.append([*results, *model.state_dict().values(), *ema_model.state_dict().values()])
    assert all(torch.equal(*pair) for pair in zip(*runs, strict=True))


def test_the_message_of_a_failed_capture_names_the_cause(no_gpu, monkeypatch):
    @contextmanager
    def failing_graph(_):
        try:
            yield
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    def step(tensor):
        if torch.cuda.graph is failing_graph and step.calls == 3:
            raise RuntimeError("operation not permitted\n when stream is capturing")
        step.calls += 1
        return tensor

    step.calls = 0
    monkeypatch.setattr(torch.cuda, "graph", failing_graph)
    model = torch.nn.Linear(1, 1)
    graphed = cuda_graph.GraphedStep(step, [model], torch.optim.SGD(model.parameters()))
    with pytest.raises(ParameterError) as refused:
        graphed(torch.zeros(1))
    assert str(refused.value) == (
        "params.yaml: train.device: could not capture the training step as a CUDA graph: "
        "operation not permitted when stream is capturing; try cpu, got 'cuda'"
    )


def kill_at_random_moments(kills, start, written, **changes):
    """Kill a training run several times, then let it finish; count continuations."""
    continued, rng = 0, np.random.default_rng(0)
    for _ in range(kills):
        remove(outputs(written))  # as DVC does before it runs a stage
        process = start(epochs=8, **changes)
        printed = [process.stdout.readline() for _ in range(rng.integers(1, 3))]
        time.sleep(rng.random() * 0.3)
        os.killpg(process.pid, signal.SIGKILL)
        printed += process.communicate()[0].splitlines()
        continued += any("continuing after epoch" in line for line in printed)
        if process.returncode == 0:
            return continued
    process = start(epochs=8, **changes)
    printed, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return continued + ("continuing after epoch" in printed)


@pytest.mark.parametrize(
    ("kills", "changes"),
    [
        pytest.param(2, {}, marks=pytest.mark.slow),
        pytest.param(8, {}, marks=pytest.mark.full),
        pytest.param(8, {"device": "cuda"}, marks=[pytest.mark.slow, pytest.mark.gpu]),
    ],
)
def test_a_training_run_killed_at_random_moments_ends_with_the_same_bytes(
    images, written, start, kills, changes
):
    undisturbed = start(epochs=8, **changes)
    assert undisturbed.wait(600) == 0, undisturbed.stderr.read()
    expected = outputs(written)
    assert kill_at_random_moments(kills, start, written, **changes) > 0
    assert outputs(written) == expected
    assert [*CHECKPOINTS.iterdir()] == []


@pytest.mark.slow
def test_a_rerun_after_an_interruption_in_the_last_step_writes_every_result(
    images, written, monkeypatch
):
    train()
    expected = outputs(written)

    def interrupt(path, table):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cnn_train, "write_table", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train()
    (path,) = CHECKPOINTS.glob("*.lock")
    path.unlink()  # this process still holds the lock of the interrupted run
    remove(outputs(written))  # as DVC does
    train()
    assert outputs(written) == expected


def test_an_interrupted_run_leaves_its_curves_and_no_results_of_another_run(
    images, written, monkeypatch
):
    train()
    names = outputs(written).keys()
    save = cnn_train.Checkpoint.save

    def interrupt(self, history):
        save(self, history)
        if len(history) == 3:  # before its curves are written
            raise KeyboardInterrupt

    monkeypatch.setattr(cnn_train.Checkpoint, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(epochs=4, seed=1)
    curves = "reports/plots/history.json"
    assert outputs(written).keys() == {name for name in names if "mnist" in name} | {curves}
    rows = json.loads(Path(curves).read_text())["rows"]
    assert [row["epoch"] for row in rows] == [*range(1, len(rows) + 1)]
    assert len(rows) >= 2


@pytest.mark.slow
def test_training_restarts_after_a_damaged_or_foreign_checkpoint(
    images, written, capsys, monkeypatch
):
    train(epochs=1)
    expected = outputs(written)
    monkeypatch.setattr(cnn_train.Checkpoint, "remove", lambda self: self.lock.release())
    train(epochs=1)
    (path,) = (path for path in CHECKPOINTS.iterdir() if path.suffix != ".lock")
    content = path.read_bytes()

    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (bytes(flipped), content[:1000], b""):
        path.write_bytes(damaged)
        capsys.readouterr()
        train(epochs=1)
        captured = capsys.readouterr()
        assert captured.err.count("not a checkpoint of this run") == 1
        assert "continuing" not in captured.out
        assert outputs(written) == expected

    capsys.readouterr()
    train(epochs=1, seed=1)  # a run with another seed does not load it
    assert "continuing" not in capsys.readouterr().out
    (other,) = (p for p in CHECKPOINTS.iterdir() if p.suffix == "" and p != path)
    other.replace(path)
    train(epochs=1)
    captured = capsys.readouterr()
    assert "not a checkpoint of this run" in captured.err
    assert outputs(written) == expected


def test_of_two_identical_concurrent_runs_only_the_first_has_a_checkpoint(workspace, capsys):
    first, second = Checkpoint("a key"), Checkpoint("a key")
    assert "an identical run is in progress" in capsys.readouterr().err
    second.save([{"epoch": 1}])
    assert not second.path.exists()
    first.save([{"epoch": 1}])
    assert second.load() == []
    second.remove()
    assert first.load() == [{"epoch": 1}]
    first.remove()
    assert [*CHECKPOINTS.iterdir()] == []


@pytest.mark.slow
def test_ctrl_c_stops_training_at_once_with_one_line(images, start):
    process = start(epochs=1000)
    process.stdout.readline()
    started = time.perf_counter()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    seconds = time.perf_counter() - started
    assert process.returncode == 130
    assert errors == "interrupted\n"
    assert seconds < 5  # within a second on an idle machine


def test_a_non_finite_loss_is_reported_with_its_step(images, written):
    before = outputs(written)
    changes = {"schedule": "constant", "warmup": 0, "ema": 0, "augment": None, "lr": 1e30}
    with pytest.raises(ParameterError) as refused:
        cnn_train.main(**small_params()["train"] | changes)
    assert str(refused.value) == (
        "params.yaml: train.lr: the loss is not finite in epoch 1, step 2, at a learning rate of "
        "1e+30; try a lower one"
    )
    assert outputs(written) == before
    assert {path.suffix for path in CHECKPOINTS.iterdir()} <= {".lock"}
