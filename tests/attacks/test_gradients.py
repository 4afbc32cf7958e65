"""Directions of ascent against closed forms: z-tests at fixed n, each beside a wrong formula that it rejects."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import nn

from kwta_theory.attacks import TRAMER_PAIRS, Averaged, FiniteDifference, Gradient, Plain, Surrogate, Target, margin
from kwta_theory.attacks.draws import Draws
from kwta_theory.attacks.gradients import attack_mode
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.robustness import counted
from kwta_theory.seeding import Stream

LARGEST_Z = 4.6
SAMPLES = 40_000  # a factor wrong by 5 % is 0.05 g sqrt(n)/sd = 6 standard errors or more in every test below
EPSILON = 0.4


class Value(nn.Module):
    """Logits ``(0, L(x))``, so that the margin of class 0 is ``L(x)``."""

    def __init__(self, loss: object) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = self.loss(x.flatten(1))
        return torch.stack([torch.zeros_like(value), value], 1)


MATRIX = torch.tensor([[2.0, 0.5, -1.0], [0.5, 1.0, 0.3], [-1.0, 0.3, -0.7]], dtype=torch.float64)
LINEAR = torch.tensor([0.3, -1.2, 0.8], dtype=torch.float64)
POINT = torch.tensor([[0.4, 0.6, 0.5]], dtype=torch.float64)
QUADRATIC = Value(lambda x: 0.5 * ((x @ MATRIX) * x).sum(1) + x @ LINEAR)
SLOPE = (POINT @ MATRIX + LINEAR)[0]


def target(model: nn.Module, count: int = 1, seed: int = 0, **more: object) -> Target:
    draws = Draws.of(Stream(seed, "test"), 0, range(count), torch.device("cpu"))
    return Target(model, torch.zeros(count, dtype=torch.int64), margin, EPSILON, draws, **more)


def z_scores(gradient: Gradient, model: nn.Module, mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Of one estimate from ``SAMPLES`` independent terms of a mean and a variance."""
    found, _ = gradient(target(model), POINT)
    return (found[0] - mean) / (variance / SAMPLES).sqrt()


def test_the_plain_gradient_and_its_logits() -> None:
    found, logits = Plain()(target(QUADRATIC), POINT)
    torch.testing.assert_close(found[0], SLOPE)
    torch.testing.assert_close(logits, QUADRATIC(POINT))


def test_averaged_has_the_mean_of_the_gradients_at_the_copies() -> None:
    # A copy's gradient is A (x + s u) + b: mean A x + b, variance s^2 sum_j A_ij^2.
    radius = 0.25 * EPSILON
    variance = radius**2 * MATRIX.square().sum(1)
    gradient = Averaged(SAMPLES, 0.25)
    assert float(z_scores(gradient, QUADRATIC, SLOPE, variance).abs().max()) < LARGEST_Z
    # Negative controls: the sum of two copies in place of their mean, a bias of a twentieth of the deviation.
    assert float(z_scores(gradient, QUADRATIC, 2 * SLOPE, variance).abs().max()) > LARGEST_Z
    assert float(z_scores(gradient, QUADRATIC, SLOPE + 0.05 * radius, variance).abs().max()) > LARGEST_Z


def test_averaged_has_the_deviation_that_it_was_told() -> None:
    # For L = sum x^3/3 the gradient at a copy is (x + s u)^2: mean x^2 + s^2, variance 4 x^2 s^2 + 2 s^4.
    cubic, radius = Value(lambda x: (x**3).sum(1) / 3), 0.5 * EPSILON
    variance = 4 * POINT[0] ** 2 * radius**2 + 2 * radius**4
    gradient = Averaged(SAMPLES, 0.5)
    assert float(z_scores(gradient, cubic, POINT[0] ** 2 + radius**2, variance).abs().max()) < LARGEST_Z
    for wrong in (0.0, 0.5 * radius**2, (0.5 * EPSILON**2) ** 2):  # no noise, half of it, epsilon squared
        assert float(z_scores(gradient, cubic, POINT[0] ** 2 + wrong, variance).abs().max()) > LARGEST_Z


def test_finite_differences_of_a_quadratic_are_unbiased() -> None:
    # A pair gives (g u) u exactly: mean g, variance of entry i  |g|^2 + g_i^2.
    variance = SLOPE.square().sum() + SLOPE**2
    gradient = FiniteDifference(SAMPLES)
    assert float(z_scores(gradient, QUADRATIC, SLOPE, variance).abs().max()) < LARGEST_Z
    # Negative controls: division by s or by 4 s in place of 2 s (the published code has the latter, where only the
    # sign matters), a tenth too much.
    for wrong in (2 * SLOPE, 0.5 * SLOPE, 1.1 * SLOPE):
        assert float(z_scores(gradient, QUADRATIC, wrong, variance).abs().max()) > LARGEST_Z


def test_finite_differences_see_a_jump_and_averages_of_gradients_do_not() -> None:
    # L = 1{x_0 > c}, t = (c - x_0)/s > 0: the smoothed loss is Q((c - x_0)/s), with slope phi(t)/s; a pair gives
    # |u|/(2 s) where |u| > t, whose second moment is 2 (t phi(t) + Q(t)) / (4 s^2).
    radius, level = 0.25 * EPSILON, 0.45
    jump = Value(lambda x: (x[:, 0] > level).to(x.dtype) + 0 * x.sum(1))
    t = (level - 0.4) / radius
    mean = stats.norm.pdf(t) / radius
    second = 2 * (t * stats.norm.pdf(t) + stats.norm.sf(t)) / (4 * radius**2)
    found = FiniteDifference(SAMPLES)(target(jump), POINT)[0][0, 0]
    scale = math.sqrt((second - mean**2) / SAMPLES)
    assert abs(float(found) - mean) < LARGEST_Z * scale
    assert abs(float(found) - 0.95 * mean) > LARGEST_Z * scale
    assert float(Averaged(100)(target(jump), POINT)[0].abs().max()) == 0


def test_finite_differences_do_not_depend_on_the_size_of_a_forward_pass() -> None:
    x = POINT.repeat(3, 1)
    found = [FiniteDifference(37, largest_batch=size)(target(QUADRATIC, 3), x)[0] for size in (2, 20, 2048)]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-12, atol=1e-12)
    # ... and one image gets what it gets beside others.
    torch.testing.assert_close(FiniteDifference(37)(target(QUADRATIC), POINT)[0][0], found[0][0])


def test_the_batch_of_a_forward_pass_is_bounded() -> None:
    sizes = []
    model = Value(lambda x: sizes.append(len(x)) or x.sum(1))
    FiniteDifference(50, largest_batch=16)(target(model, 3), POINT.repeat(3, 1))
    assert max(sizes) <= 16
    assert sum(sizes) == 2 * 50 * 3


def test_the_sample_budget_grows() -> None:
    tramer = FiniteDifference(TRAMER_PAIRS, deviation=1.0)
    # The published attack has 100 steps: 100 samples up to step 20, 1,000 up to step 40, then 20,000.
    assert [2 * tramer.pairs_at(step / 100, 0) for step in (0, 19, 20, 39, 40, 99)] == [100, 100, 1000, 1000] + [
        20000
    ] * 2
    assert [FiniteDifference(10, growth=3.0).pairs_at(0.5, restart) for restart in range(3)] == [10, 30, 90]
    growing = FiniteDifference(((0.0, 2), (0.5, 7)), growth=2.0)
    for progress, restart, due in ((0.0, 0, 4), (0.5, 0, 14), (0.9, 1, 28)):
        with counted(QUADRATIC) as passes:
            growing(target(QUADRATIC, progress=progress, restart=restart), POINT)
        assert passes.forward == due == growing.passes(progress, restart)


@pytest.mark.parametrize("gradient", [Plain(), Averaged(3), FiniteDifference(5), Surrogate("wide", Averaged(2))])
def test_passes_and_logits_are_as_announced(gradient: Gradient) -> None:
    with counted(QUADRATIC) as passes:
        direction, logits = gradient(target(QUADRATIC, 4), POINT.repeat(4, 1))
    assert passes.forward == 4 * gradient.passes(0.0, 0)
    assert (logits is not None) == gradient.tests_iterate
    assert direction.shape == (4, 3)
    assert not direction.requires_grad


def test_a_network_that_cuts_its_gradient_off_gives_zero() -> None:
    for loss in (lambda x: (x > 0.5).double().sum(1), lambda x: x.detach().sum(1), lambda x: x.round().sum(1)):
        assert float(Plain()(target(Value(loss)), POINT)[0].abs().max()) == 0
    # A parameter beside the path asks for a gradient, the image is not part of it.
    model = Value(lambda x: x.detach().sum(1) * scale)
    scale = nn.Parameter(torch.ones((), dtype=torch.float64))
    assert float(Plain()(target(model), POINT)[0].abs().max()) == 0
    assert scale.grad is None


def test_no_ball_no_slope() -> None:
    still = Target(QUADRATIC, torch.zeros(1, dtype=torch.int64), margin, 0.0, target(QUADRATIC).draws)
    assert float(FiniteDifference(3)(still, POINT)[0].abs().max()) == 0


def test_modes_come_back_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Dropout()).train()
    model[1].eval()
    seen = []

    def fail() -> None:
        seen.append((torch.is_grad_enabled(), model[0].training))
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"), torch.no_grad(), attack_mode(model):
        fail()
    assert seen == [(True, False)]
    assert (model[0].training, model[1].training) == (True, False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Averaged(0), "copies=0"),
        (lambda: Averaged(1, -0.1), "deviation=-0.1"),
        (lambda: FiniteDifference(0), "pairs=0"),
        (lambda: FiniteDifference(1, deviation=0.0), "deviation=0.0"),
        (lambda: FiniteDifference(1, growth=0.5), "growth=0.5"),
        (lambda: FiniteDifference(1, largest_batch=1), "largest_batch=1"),
        (lambda: FiniteDifference(()), "its shares must rise from 0"),
        (lambda: FiniteDifference(((0.5, 3),)), "its shares must rise from 0"),
        (lambda: FiniteDifference(((0.0, 3), (0.0, 4))), "its shares must rise from 0"),
        (lambda: FiniteDifference(((0.0, 3), (1.0, 4))), "pairs share=1.0"),
        (lambda: FiniteDifference(((0.0, 0),)), "pairs=0"),
    ],
)
def test_wrong_settings_are_sentences(make: object, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        make()
