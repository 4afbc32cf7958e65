"""Laws that the regions of a line obey, ties, and the mean count against the closed form."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from region_networks import KINDS, drawn, network
from torch import nn

from kwta_theory import KWTA
from kwta_theory.regions import LineRegions, line_regions
from kwta_theory.theory import boundary_density, lwta_boundary_density, relu_boundary_density

seeds = st.integers(0, 10**6)


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


@given(seed=seeds, kind=st.sampled_from(list(KINDS)))
@settings(max_examples=20, deadline=None)
def test_reversal(seed, kind):
    """The other way round: the same breakpoints, units and layers, limits exchanged, slopes of the other sign."""
    rng = np.random.default_rng(seed)
    model, start, end = network(kind, rng), drawn(rng, 1, 4), drawn(rng, 1, 4)
    (there,), (back,) = line_regions(model, start, end), line_regions(model, end, start)
    assert there.count == back.count
    close(there.breakpoints, 1 - back.breakpoints.flip(0))
    close(there.values, back.values.flip(0, 1))
    close(there.slopes, -back.slopes.flip(0))
    assert there.layers == back.layers[::-1]
    assert all(torch.equal(a, b) for a, b in zip(there.units, back.units[::-1], strict=True))


@given(seed=seeds, kind=st.sampled_from(list(KINDS)), at=st.floats(0.05, 0.95))
@settings(max_examples=20, deadline=None)
def test_splitting(seed, kind, at):
    """Two parts of a line have its breakpoints between them."""
    rng = np.random.default_rng(seed)
    model, start, end = network(kind, rng), drawn(rng, 1, 4), drawn(rng, 1, 4)
    middle = start + at * (end - start)
    whole, first, second = line_regions(model, torch.cat([start, start, middle]), torch.cat([end, middle, end]))
    assert whole.count == first.count + second.count - 1
    close(whole.breakpoints, torch.cat([at * first.breakpoints, at + (1 - at) * second.breakpoints]))
    assert whole.layers == first.layers + second.layers


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_rescaling_hidden_units_of_relu(seed):
    """A unit times c > 0 on its way in and divided by c on its way out is the same function with the same regions."""
    rng = np.random.default_rng(seed)
    model, start, end = network("relu", rng), drawn(rng, 1, 4), drawn(rng, 1, 4)
    scaled = copy.deepcopy(model)
    for first, second in ((0, 2), (2, 4)):
        c = torch.from_numpy(np.exp(rng.uniform(-3, 3, scaled[first].out_features)))
        scaled[first].weight.mul_(c[:, None])
        scaled[first].bias.mul_(c)
        scaled[second].weight.div_(c)
    (a,), (b,) = line_regions(model, start, end), line_regions(scaled, start, end)
    assert a.layers == b.layers
    assert all(torch.equal(x, y) for x, y in zip(a.units, b.units, strict=True))
    close(a.breakpoints, b.breakpoints)
    close(a.values, b.values)


@given(seed=seeds, kind=st.sampled_from(list(KINDS)))
@settings(max_examples=20, deadline=None)
def test_patterns_of_the_first_layer_never_return(seed, kind):
    """Cells of one layer are convex: along a line each of its patterns is met once, and it is met in one stretch."""
    rng = np.random.default_rng(seed)
    (line,) = line_regions(network(kind, rng), 2 * drawn(rng, 1, 4), 2 * drawn(rng, 1, 4), patterns=True)
    assert line.patterns is not None
    met = line.patterns["1"]
    changes = int((met[1:] != met[:-1]).any(1).sum())
    assert len(met.unique(dim=0)) == changes + 1 == line.layers.count("1") + 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_its_lines(kind):
    rng = np.random.default_rng(7)
    model, start, end = network(kind, rng), drawn(rng, 9, 4), drawn(rng, 9, 4)
    end[3] = start[3]
    together = line_regions(model, start, end)
    assert len(together) == 9
    assert together[3].count == 1
    for i, line in enumerate(together):
        equal_lines(line, *line_regions(model, start[i : i + 1], end[i : i + 1]))


def equal_lines(a: LineRegions, b: LineRegions) -> None:
    assert a.layers == b.layers
    assert all(torch.equal(x, y) for x, y in zip(a.units, b.units, strict=True))
    close(a.breakpoints, b.breakpoints)
    close(a.values, b.values)
    close(a.slopes, b.slopes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_memory_gives_the_same(kind, monkeypatch):
    """Passes of a few pieces each, cut short and gone on with, against one pass."""
    rng = np.random.default_rng(8)
    model, start, end = network(kind, rng), 3 * drawn(rng, 3, 4), 3 * drawn(rng, 3, 4)
    passes = []
    original = nn.Sequential.forward
    monkeypatch.setattr(nn.Sequential, "forward", lambda self, x: (passes.append(1), original(self, x))[1])
    large = line_regions(model, start, end, patterns=True)
    before = len(passes)
    small = line_regions(model, start, end, patterns=True, memory=80 * 16 * 10)
    assert before == 2  # one of them to look at the layers
    assert len(passes) - before > 6
    for a, b in zip(large, small, strict=True):
        equal_lines(a, b)
        assert a.patterns is not None
        assert b.patterns is not None
        assert all(torch.equal(a.patterns[name], b.patterns[name]) for name in a.layer_names)


def test_the_model_is_left_as_it_was():
    rng = np.random.default_rng(9)
    model = network("relu", rng).float().requires_grad_(True)
    model.append(nn.BatchNorm1d(2)).eval()
    calls = []
    model[1].register_forward_hook(lambda *_: calls.append(1))
    model(torch.ones(2, 4)).sum().backward()
    before = copy.deepcopy(model.state_dict())
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    global_state = torch.random.get_rng_state()
    (line,) = line_regions(model, torch.zeros(1, 4), torch.ones(1, 4))
    assert line.values.dtype == torch.float64
    assert not line.values.requires_grad
    assert all(
        torch.equal(before[name], value) and value.dtype == before[name].dtype
        for name, value in model.state_dict().items()
    )
    assert all(torch.equal(a, p.grad) for a, p in zip(gradients, model.parameters(), strict=True))
    assert all(p.requires_grad for p in model.parameters())
    assert not model.training
    assert len(model[1]._forward_hooks) == 1
    assert not model[1]._forward_pre_hooks
    assert "forward" not in vars(model[1])
    assert torch.equal(global_state, torch.random.get_rng_state())


def test_float32_and_half_precision_models_are_computed_in_float64():
    rng = np.random.default_rng(10)
    single = network("kwta", rng).float()
    start, end = drawn(rng, 2, 4).float(), drawn(rng, 2, 4).float()
    for model in (single, copy.deepcopy(single).half()):
        double = copy.deepcopy(model).double()
        for a, b in zip(
            line_regions(model, start, end), line_regions(double, start.double(), end.double()), strict=True
        ):
            assert torch.equal(a.breakpoints, b.breakpoints)
            assert torch.equal(a.values, b.values)
        model.bfloat16()  # the double copy above was a copy


# Ties -------------------------------------------------------------------------------------------------------------


def duplicated(model: nn.Sequential) -> nn.Sequential:
    """Every unit of the first layer twice, next to one another; the next layer takes half of each."""
    twin = copy.deepcopy(model)
    twin[0].weight = nn.Parameter(model[0].weight.repeat_interleave(2, 0), requires_grad=False)
    twin[0].bias = nn.Parameter(model[0].bias.repeat_interleave(2, 0), requires_grad=False)
    twin[2].weight = nn.Parameter(model[2].weight.repeat_interleave(2, 1) / 2, requires_grad=False)
    return twin


@pytest.mark.parametrize("noise", [0.0, 1e-15])
def test_duplicate_units_of_relu_change_at_one_breakpoint(noise):
    """The same function, the same regions; an event of the first layer has two units, whatever the rounding."""
    rng = np.random.default_rng(11)
    model, start, end = network("relu", rng), drawn(rng, 3, 4), drawn(rng, 3, 4)
    twin = duplicated(model)
    twin[0].weight.mul_(1 + noise * drawn(rng, *twin[0].weight.shape))
    for a, b in zip(line_regions(model, start, end), line_regions(twin, start, end), strict=True):
        assert a.layers == b.layers
        close(a.breakpoints, b.breakpoints)
        for name, x, y in zip(a.layers, a.units, b.units, strict=True):
            assert y.tolist() == ([2 * int(x), 2 * int(x) + 1] if name == "1" else x.tolist())


@pytest.mark.parametrize("noise", [0.0, 1e-15])
@pytest.mark.parametrize("kind", ["kwta", "lwta"])
def test_duplicate_units_of_a_competition_lose_by_their_index(kind, noise):
    """The earlier twin wins first, and rounding in the weights changes neither patterns nor counts."""
    rng = np.random.default_rng(12)
    model, start, end = network(kind, rng), drawn(rng, 3, 4), drawn(rng, 3, 4)
    twin = duplicated(model)
    noisy = copy.deepcopy(twin)
    noisy[0].weight.mul_(1 + noise * drawn(rng, *twin[0].weight.shape))
    for a, b in zip(
        line_regions(twin, start, end, patterns=True), line_regions(noisy, start, end, patterns=True), strict=True
    ):
        assert a.layers == b.layers
        close(a.breakpoints, b.breakpoints)
        assert a.patterns is not None
        assert b.patterns is not None
        first = a.patterns["1"]
        assert bool((first[:, 0::2] >= first[:, 1::2]).all())
        assert torch.equal(first, b.patterns["1"])


def test_an_odd_number_of_winners_among_twins():
    """7 winners of 16 twins: three pairs and the earlier twin of a fourth; a swap of places moves two units or four."""
    rng = np.random.default_rng(13)
    model = nn.Sequential(nn.Linear(3, 8).double(), KWTA(3.5 / 8), nn.Linear(8, 1).double()).requires_grad_(False)
    model[0].weight.copy_(drawn(rng, 8, 3))
    twin = duplicated(model)
    (line,) = line_regions(twin, 2 * drawn(rng, 1, 3), 2 * drawn(rng, 1, 3), patterns=True)
    assert line.patterns is not None
    met = line.patterns["1"].view(-1, 8, 2).sum(2)
    assert line.count > 3
    assert bool((met.sort(1).values == torch.tensor([0, 0, 0, 0, 1, 2, 2, 2])).all())
    assert all(len(units) in (2, 4) for units in line.units)


@pytest.mark.parametrize("kind", ["relu", "kwta", "lwta"])
@pytest.mark.parametrize("bias", [False, True])
def test_constant_borders_of_images(kind, bias):
    """A convolution over a constant border: most positions have the same value, to the last digits or exactly.

    The line moves only the middle of the image, so the count is that of the line seen without rounding: the tolerance
    is
    varied by a factor of 4096, and every pattern takes the first of those that are equal.
    """
    rng = np.random.default_rng(14)
    model = (
        nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, bias=bias),
            KINDS[kind](),
            nn.Conv2d(4, 4, 3, padding=1),
            KINDS[kind](),
            nn.Flatten(),
            nn.Linear(4 * 144, 2),
        )
        .double()
        .requires_grad_(False)
    )
    for p in model.parameters():
        p.copy_(0.5 * drawn(rng, *p.shape))
    start = torch.full((1, 1, 12, 12), 0.3, dtype=torch.float64)
    end = start.clone()
    end[:, :, 4:8, 4:8] += drawn(rng, 4, 4)
    counts = {line_regions(model, start, end, tolerance=2.0**-p)[0].count for p in (34, 38, 40, 42, 46)}
    assert len(counts) == 1
    assert counts.pop() > 3


def test_dead_units_zero_slopes_and_zero_lines():
    """Units without weights and bias, a line along which nothing moves, a zero network."""
    rng = np.random.default_rng(15)
    for kind in KINDS:
        model = network(kind, rng)
        model[0].weight[3:9] = 0.0
        model[0].bias[3:9] = 0.0
        (line,) = line_regions(model, 2 * drawn(rng, 1, 4), 2 * drawn(rng, 1, 4))
        assert 1 < line.count < 60
        model[0].weight.zero_()
        (line,) = line_regions(model, drawn(rng, 1, 4), drawn(rng, 1, 4))
        assert line.count == 1
        for p in model.parameters():
            p.zero_()
        (line,) = line_regions(model, drawn(rng, 1, 4), drawn(rng, 1, 4))
        assert line.count == 1
        assert line.slopes.abs().max() == 0


def test_a_line_through_the_origin_of_a_network_without_biases():
    """Every unit of every layer changes at t = 1/2, and nowhere else: one breakpoint, all units of the first layer."""
    rng = np.random.default_rng(16)
    for kind, of_all in (("relu", True), ("leaky", True), ("kwta", False), ("lwta", False)):
        model = network(kind, rng)
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.bias.zero_()
        x = drawn(rng, 1, 4)
        (line,) = line_regions(model, -x, x)
        assert line.count == 2
        assert float(line.breakpoints[0]) == pytest.approx(0.5, abs=1e-15)
        assert line.layers == ("1",)
        assert (len(line.units[0]) == 16) == of_all


def test_changes_closer_than_rounding_are_one_and_others_are_two():
    """Two units whose zeros are ``gap`` apart: merged up to the tolerance, told apart a thousand times above it."""
    for gap, count in ((1e-16, 2), (1e-14, 2), (1e-9, 3), (1e-6, 3)):
        model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).double().requires_grad_(False)
        model[0].weight.fill_(1.0)
        model[0].bias.copy_(torch.tensor([-0.5, -0.5 - gap], dtype=torch.float64))
        (line,) = line_regions(model, torch.zeros(1, 1), torch.ones(1, 1))
        assert line.count == count
        (line,) = line_regions(model, torch.zeros(1, 1), torch.ones(1, 1), tolerance=1e-4)
        assert line.count == 2


# The mean count ---------------------------------------------------------------------------------------------------


def mean_counts(kind: str, width: int, trials: int, seed: int) -> tuple[np.ndarray, float]:
    """Breakpoints of random layers ``W``, no bias, from ``e_1`` to ``e_1 + e_2``, an angle of ``pi / 4``."""
    rng = np.random.default_rng(seed)
    counts = []
    start, end = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    for _ in range(trials):
        linear = nn.Linear(2, width, bias=False).double().requires_grad_(False)
        linear.weight.copy_(drawn(rng, width, 2))
        (line,) = line_regions(nn.Sequential(linear, KINDS[kind]()), start, end)
        counts.append(line.count - 1)
    return np.array(counts), math.pi / 4


@pytest.mark.parametrize(
    ("kind", "density"),
    [
        ("relu", relu_boundary_density(256)),
        ("kwta", boundary_density(256, 64)),
        ("lwta", lwta_boundary_density(256, 4)),
    ],
)
def test_the_mean_count_of_random_layers_is_the_closed_form(kind, density):
    """100 layers: a standard error of about 1 % of the 30 to 80 breakpoints, so a bias of 8 % is seen at 4.6."""
    counts, angle = mean_counts(kind, 256, 100, seed=17)
    error = counts.std(ddof=1) / math.sqrt(len(counts))
    assert abs(counts.mean() - density * angle) < 4.6 * error
    # Negative control: 10 % more or less is rejected.
    assert abs(counts.mean() - 1.1 * density * angle) > 4.6 * error
    assert abs(counts.mean() - 0.9 * density * angle) > 4.6 * error
