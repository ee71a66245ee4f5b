"""Learning rates, weight decay and the EMA follow their formulas."""

import pytest
import torch

from common.model import DigitClassification
from training.optimizer import ema_decays, learning_rates, make_ema, make_optimizer


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
    for steps in (50, 421, 4210):  # every value up to the bound of train.ema has an effect
        assert not torch.equal(ema_decays(0.09, steps), ema_decays(0.1, steps))


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
