"""The measures of roughness against exact jumps, the surfaces against loops, the prediction against its limit."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from torch.nn import functional

from kwta_theory import KWTA
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.robustness import landscape, prediction
from kwta_theory.seeding import Stream


def network(activation: nn.Module, seed: int = 0, inputs: int = 16, width: int = 40) -> nn.Sequential:
    generator = Stream(seed, "test network").generator(0)
    layers = [nn.Linear(inputs, width), nn.Linear(width, 4)]
    for layer in layers:
        layer.weight = nn.Parameter(torch.from_numpy(generator.standard_normal(tuple(layer.weight.shape))).float())
        layer.bias = nn.Parameter(torch.from_numpy(generator.standard_normal(layer.bias.shape[0])).float())
    return nn.Sequential(nn.Flatten(), layers[0], activation, layers[1])


def image(seed: int = 0) -> torch.Tensor:
    return Stream(seed, "test image").uniforms((0,), (1, 4, 4), torch.device("cpu")).float()


# Roughness.


def test_the_share_of_a_staircase_on_a_slope_is_known():
    t = np.linspace(0, 1, 1001)
    values = 2 * t + 3 * (t > 0.2005) - (t > 0.7005)
    found = landscape.roughness(values, np.full(1000, 2.0), 1.0)
    assert found.jumps == pytest.approx(4.0)
    assert found.continuous == pytest.approx(2.0)
    assert found.share == pytest.approx(4 / 6)
    assert found.cells == 1000


@pytest.mark.parametrize(("bound", "function"), [(1e-6, torch.sin), (2e-3, lambda t: (t - 0.123456).abs())])
def test_what_is_continuous_has_a_share_that_falls_with_refinement(bound, function):
    # A kink leaves at most its change of slope times a cell: 2/1024 of a variation of about 1.
    fine = landscape.roughness(*landscape.sampled(function, 0.0, 1.0, 1024), 1.0).share
    assert 0 < fine < bound


def test_nothing_varies_has_no_share_and_rounding_is_no_jump():
    assert landscape.roughness(np.full(5, 0.1), np.zeros(4), 1.0).share == 0
    values = np.full(5, 1.0)
    values[2] += 2e-16
    assert landscape.roughness(values, np.zeros(4), 1.0).share == 0


def test_jumps_of_a_layer_agree_with_all_crossings_found_exactly():
    # Two routes: cells and slopes, and all pairwise crossings of the affine pre-activations, solved for.
    model = network(KWTA(0.2)).double()
    x, g = image().double().flatten(), torch.ones(16, dtype=torch.float64)
    first, last = model[1], model[3]
    start, slope = (first(x)).detach().numpy(), (first.weight @ g).detach().numpy()
    crossings = [(start[j] - start[i]) / (slope[i] - slope[j]) for i, j in itertools.combinations(range(len(start)), 2)]
    before = 0.0
    places = np.array([-0.5, *sorted(t for t in crossings if -0.5 < t < 0.5), 0.5])
    jumps = continuous = 0.0
    weight = last.weight[0].detach().numpy()
    for left, middle, right in zip(places[:-1], (places[1:] + places[:-1]) / 2, places[1:], strict=True):
        mask = np.argsort(-(start + middle * slope), kind="stable")[:8]
        ends = [float(weight[mask] @ (start + t * slope)[mask]) for t in (left, right)]
        if left > -0.5:
            jumps += abs(ends[0] - before)
        continuous += abs(ends[1] - ends[0])
        before = ends[1]
    assert jumps > 1

    def output(t):
        return model((x + t[:, None] * g)[:, None, :])[:, 0]

    shares = []
    for cells in (2_000, 50_000):
        found = landscape.roughness(*landscape.sampled(output, -0.5, 0.5, cells), 1.0)
        shares.append(abs(found.share - jumps / (jumps + continuous)))
    assert shares[1] < 0.005 < 0.05 < abs(0.5 * jumps / (jumps + continuous))  # half of it would be noticed
    assert shares[1] <= shares[0]


def test_k_wta_jumps_along_a_line_and_relu_does_not():
    rough = {}
    for name, activation in (("kwta", KWTA(0.1)), ("relu", nn.ReLU())):
        model = network(activation)
        first, _ = landscape.directions(model, image(), 1)
        rough[name] = [landscape.line_roughness(model, image(), 1, first, extent=0.5, cells=n) for n in (128, 1024)]
    assert rough["kwta"][1].share > 0.2
    assert rough["relu"][1].share < 0.02
    assert rough["relu"][1].share < rough["relu"][0].share / 4
    assert rough["kwta"][1].share > rough["kwta"][0].share / 2


def test_extent_of_a_line_counts_and_batches_do_not():
    model = network(KWTA(0.1))
    first, _ = landscape.directions(model, image(), 1)
    short = landscape.line_roughness(model, image(), 1, first, extent=0.05, cells=100)
    long = landscape.line_roughness(model, image(), 1, first, extent=0.1, cells=100)
    assert short.continuous < long.continuous
    again = landscape.line_roughness(model, image(), 1, first, extent=0.1, cells=100, batch_size=7)
    assert again.jumps == pytest.approx(long.jumps, rel=1e-9)


@pytest.mark.parametrize(
    ("values", "slopes", "length", "match"),
    [
        ([0, 1], [1, 1], 1.0, "do not fit"),
        ([0], [], 1.0, "do not fit"),
        ([0, np.nan], [1], 1.0, "finite"),
        ([0, 1], [np.inf], 1.0, "finite"),
        ([0, 1], [1], 0.0, "length"),
    ],
)
def test_roughness_refuses_what_is_no_line(values, slopes, length, match):
    with pytest.raises(InvalidArgumentError, match=match):
        landscape.roughness(values, slopes, length)


# Surfaces.


def test_the_surface_is_the_loss_point_by_point():
    model, x = network(KWTA(0.2)), image()
    model.train()
    first, second = landscape.directions(model, x, 2, seed=5)
    surface = landscape.landscape(model, x, 2, first, second, extent=0.3, samples=5, batch_size=4)
    assert surface.loss.shape == (5, 5)
    assert surface.offsets.tolist() == pytest.approx([-0.3, -0.15, 0, 0.15, 0.3])
    for i, j in ((0, 0), (1, 4), (4, 2)):
        point = x + surface.offsets[i] * first + surface.offsets[j] * second
        expected = functional.cross_entropy(model(point[None].float()), torch.tensor([2])).detach()
        assert surface.loss[i, j] == pytest.approx(float(expected), abs=1e-5)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_directions_are_signs_and_the_first_climbs():
    model, x = network(nn.ReLU()), image()
    first, second = landscape.directions(model, x, 0, seed=1)
    y = x[None].clone().requires_grad_()
    functional.cross_entropy(model(y), torch.tensor([0])).backward()
    assert torch.equal(first, y.grad[0].sign())
    assert set(second.unique().tolist()) == {-1.0, 1.0}
    assert not torch.equal(second, landscape.directions(model, x, 0, seed=2)[1])
    assert torch.equal(second, landscape.directions(model, x, 0, seed=1)[1])


@pytest.mark.parametrize("option", [{"extent": 0.0}, {"samples": 1}, {"batch_size": 0}])
def test_a_surface_refuses_wrong_sizes(option):
    with pytest.raises(InvalidArgumentError, match=next(iter(option))):
        landscape.landscape(network(nn.ReLU()), image(), 0, image(), image(), **option)


# Weights.


def test_the_loss_along_weights_ends_at_both_networks_and_has_their_slope():
    first, second = network(nn.ReLU(), 0), network(nn.ReLU(), 1)
    images = torch.stack([image(seed) for seed in range(3)])
    labels = torch.tensor([0, 1, 2])
    values, slopes = landscape.weight_line(first, second, images, labels, cells=50)
    assert values.shape == (51, 3)
    for row, model in ((values[0], first), (values[-1], second)):
        precise = copy.deepcopy(model).double()
        expected = functional.cross_entropy(precise(images.double()), labels, reduction="none")
        assert row == pytest.approx(expected.detach().numpy())
    fine = landscape.weight_line(first, second, images, labels, cells=400)
    coarse, finer = (landscape.roughness(v.mean(1), s.mean(1), 1.0).share for v, s in ((values, slopes), fine))
    assert finer < coarse / 3 < 0.02  # no jumps with ReLU
    # The other route: autograd through the weights.
    t = torch.tensor(12.5 / 50, dtype=torch.float64, requires_grad=True)
    other = {k: v.double() for k, v in second.state_dict().items()}
    weights = {k: (1 - t) * v.double() + t * other[k] for k, v in first.state_dict().items()}
    loss = functional.cross_entropy(
        torch.func.functional_call(copy.deepcopy(first).double(), weights, images.double()), labels
    )
    (slope,) = torch.autograd.grad(loss, t)
    assert slopes[12].mean() == pytest.approx(float(slope), rel=1e-4)


# Medians.


@pytest.mark.parametrize("n", [6, 11, 20, 37])
def test_the_interval_of_a_median_covers_it_as_promised(n):
    _, low, high = landscape.median_interval(range(1, n + 1), 0.05)
    # The true median lies between the order statistics unless fewer than `low` or more than `high - 1` are below it.
    missed = stats.binom.cdf(low - 1, n, 0.5) + stats.binom.sf(high - 1, n, 0.5)
    assert missed <= 0.05
    narrower = stats.binom.cdf(low, n, 0.5) + stats.binom.sf(high - 2, n, 0.5)
    assert narrower > 0.05


def test_a_median_of_few_says_so_and_of_none_is_refused():
    assert landscape.median_interval([1, 2, 3]) == (2.0, -np.inf, np.inf)
    for wrong in ([], [np.nan]):
        with pytest.raises(InvalidArgumentError, match="finite numbers"):
            landscape.median_interval(wrong)


# The prediction.


@pytest.mark.parametrize(("measure", "power"), [("total variation", 1), ("quadratic variation", 2)])
def test_the_prediction_is_the_limit_of_mathematics_section_3(measure, power):
    ratios = [0.02, 0.05, 0.0786, 0.159, 0.3]
    q = stats.norm.isf(ratios)
    limit = stats.norm.pdf(q) * q**power
    peak = stats.norm.pdf(power**0.5) * power ** (power / 2)
    assert prediction.predicted(ratios, measure) == pytest.approx(limit / peak, rel=0.01)
    assert prediction.predicted([stats.norm.sf(power**0.5)], measure)[0] == pytest.approx(1, abs=1e-3)
    wrong = stats.norm.pdf(q) * q ** (3 - power)
    assert prediction.predicted(ratios, measure) != pytest.approx(wrong / wrong.max(), rel=0.05)


def test_the_width_of_the_prediction_counts():
    assert prediction.predicted([0.3], "total variation", 10)[0] != prediction.predicted([0.3], "total variation")[0]


@pytest.mark.parametrize(("ratios", "measure"), [([0.0], "total variation"), ([0.1], "variation"), ([1.0], "x")])
def test_the_prediction_refuses_what_it_does_not_know(ratios, measure):
    with pytest.raises(InvalidArgumentError, match=r"ratio|measure"):
        prediction.predicted(ratios, measure)


truths = st.lists(st.booleans(), min_size=12, max_size=12).map(torch.tensor)


@given(truths, truths)
def test_the_sign_test_is_the_binomial_one_and_both_sides_cannot_win(first, second):
    wins, losses = int((first & ~second).sum()), int((second & ~first).sum())
    if wins + losses:
        expected = stats.binomtest(wins, wins + losses, 0.5, alternative="greater").pvalue
        assert prediction.beats(first, second) == pytest.approx(expected)
    assert prediction.beats(first, second) + prediction.beats(second, first) >= 1


def curve(shares: dict[float, float], n: int, generator: np.random.Generator) -> dict[float, torch.Tensor]:
    return {ratio: torch.from_numpy(generator.random(n) < share) for ratio, share in shares.items()}


def test_a_clear_peak_elsewhere_refutes_the_prediction_and_a_peak_at_it_does_not():
    # 300 images; 0.8 against 0.5 is 11 standard errors of a paired difference apart.
    generator = Stream(1, "test peaks").generator(0)
    shares = {0.02: 0.3, 0.05: 0.4, 0.1: 0.5, 0.16: 0.8, 0.3: 0.5, 0.5: 0.3}
    assert prediction.best(curve(shares, 300, generator)) == prediction.Best(0.16, (0.16,), (0.1, 0.3), 0.05)
    assert prediction.best(curve(shares, 300, generator)).allows(0.159)
    elsewhere = dict(zip(shares, (0.3, 0.8, 0.5, 0.4, 0.3, 0.2), strict=True))
    found = prediction.best(curve(elsewhere, 300, generator))
    assert not found.allows(0.159)
    assert found.allows(0.0786)


def test_the_best_ratio_is_rarely_excluded():
    # All equally good: one of four is excluded with probability at most 0.05. 600 trials see 0.1 with power > 0.999.
    generator = Stream(2, "test coverage").generator(0)
    missed = naive = 0
    for _ in range(600):
        robust = curve(dict.fromkeys((0.1, 0.2, 0.3, 0.4), 0.6), 50, generator)
        found = prediction.best(robust)
        missed += 0.2 not in found.candidates
        naive += found.observed != 0.2
    assert stats.binomtest(missed, 600, 0.05, alternative="greater").pvalue > 1e-5
    # Negative control: to believe the largest number alone misses the best far more often.
    assert stats.binomtest(naive, 600, 0.05, alternative="greater").pvalue < 1e-5


def test_the_level_of_the_best_counts_and_ties_leave_all():
    generator = Stream(3, "test level").generator(0)
    robust = curve({0.1: 0.5, 0.2: 0.6}, 100, generator)
    assert len(prediction.best(robust, 1e-6).candidates) == 2
    assert prediction.best({0.1: robust[0.1], 0.2: robust[0.1]}) == prediction.Best(0.1, (0.1, 0.2), (0.0, 1.0), 0.05)


def test_the_tests_refuse_what_is_not_paired():
    right = torch.ones(3, dtype=torch.bool)
    with pytest.raises(InvalidArgumentError, match="truth values"):
        prediction.beats(right.float(), right)
    with pytest.raises(InvalidArgumentError, match="must be the same"):
        prediction.beats(right, right[:2])
    with pytest.raises(InvalidArgumentError, match="at least two"):
        prediction.best({0.1: right})
    with pytest.raises(InvalidArgumentError, match="error"):
        prediction.best({0.1: right, 0.2: right}, 1.5)
