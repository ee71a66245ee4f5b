"""The training step, eager and as a CUDA graph."""

from contextlib import contextmanager, nullcontext
from copy import deepcopy

import pytest
import torch
from test_augment import draws
from torch.nn.functional import cross_entropy

import cnn_train
from common.model import DigitClassification, scale
from common.params import ParameterError
from training import cuda_graph
from training.optimizer import make_ema, make_optimizer

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
        "operation not permitted when stream is capturing; set it to cpu"
    )
