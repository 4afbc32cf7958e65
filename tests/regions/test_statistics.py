"""Lines and what is measured on them: against sampling, closed forms for random layers, and hand-made networks."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from kwta_theory import KWTA, LWTA
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.regions import Lines, data_lines, gradient_lines, line_regions, random_lines, region_statistics
from kwta_theory.theory import boundary_density, jump_size, relu_boundary_density


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng([41, seed]).standard_normal(shape))


def network(activation: nn.Module, seed: int = 0, inputs: int = 6, outputs: int = 3) -> nn.Sequential:
    widths = (inputs, 24, 20, outputs)
    layers: list[nn.Module] = []
    for number, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        linear = nn.Linear(fan_in, fan_out).double().requires_grad_(False)
        linear.weight.copy_(normal(100 * seed + number, fan_out, fan_in) * math.sqrt(2 / fan_in))
        linear.bias.copy_(0.3 * normal(100 * seed + 50 + number, fan_out))
        layers += [linear, activation]
    return nn.Sequential(*layers[:-1])


# ---------------------------------------------------------------------------------------------------------------- lines


@pytest.mark.parametrize("norm", ["euclidean", "maximum"])
def test_lines_have_the_radius_as_their_length_in_the_norm(norm):
    inputs, model = normal(1, 5, 6), network(nn.ReLU())
    order = {"euclidean": 2, "maximum": math.inf}[norm]
    for lines in (
        random_lines(inputs, 0.3, norm=norm, seed=0),
        gradient_lines(model, inputs, 0.3, norm=norm),
        data_lines(inputs, normal(2, 5, 6), 0.3, norm=norm),
    ):
        torch.testing.assert_close(lines.lengths, torch.full((5,), 0.3, dtype=torch.float64))
        expected = torch.linalg.vector_norm(lines.end - lines.start, ord=order, dim=1)
        torch.testing.assert_close(lines.lengths, expected)
        assert (lines.norm, lines.radius) == (norm, 0.3)
        assert torch.equal(lines.start, inputs)


def test_random_directions_come_from_the_seed_and_from_nothing_else():
    inputs = normal(1, 50, 6)
    before = torch.random.get_rng_state()
    first, same, other = (random_lines(inputs, 1.0, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.end, same.end)
    assert not torch.equal(first.end, other.end)
    assert set((first.end - first.start).abs().round(decimals=9).flatten().tolist()) == {1.0}


def test_gradient_lines_raise_the_loss_as_cross_entropy_does():
    model, inputs, labels = network(KWTA(0.25)), normal(1, 40, 6), torch.arange(40) % 3
    x = inputs.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(x), labels, reduction="sum"), x)
    sign = gradient_lines(model, inputs, 0.5, labels=labels)
    torch.testing.assert_close(sign.end - sign.start, 0.5 * gradient.sign())
    straight = gradient_lines(model, inputs, 0.5, labels=labels, norm="euclidean")
    torch.testing.assert_close(straight.end - straight.start, 0.5 * gradient / gradient.norm(dim=1, keepdim=True))
    predicted = gradient_lines(model, inputs, 0.5)
    assert torch.equal(predicted.end, gradient_lines(model, inputs, 0.5, labels=model(inputs).argmax(1)).end)
    assert not torch.equal(predicted.end, sign.end)


def test_the_gradient_of_a_sure_network_does_not_vanish():
    model = network(nn.ReLU())
    model[-1].weight.mul_(1e8)  # cross entropy is 0 in float64, and so is its gradient
    inputs = normal(1, 8, 6)
    lines = gradient_lines(model, inputs, 0.5)
    x = inputs.clone().requires_grad_(True)
    loss = nn.functional.cross_entropy(model(x), model(inputs).argmax(1), reduction="sum")
    assert not torch.autograd.grad(loss, x)[0].any()
    assert bool((lines.end != lines.start).all())


def test_one_output_is_its_own_loss():
    model = nn.Sequential(nn.Linear(2, 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -2.0]]))
    lines = gradient_lines(model, torch.zeros(1, 2), 1.0)
    assert lines.end.tolist() == [[1.0, -1.0]]


def test_data_lines_go_towards_the_targets_or_all_the_way():
    inputs, targets = normal(1, 4, 6), normal(2, 4, 6)
    whole = data_lines(inputs, targets)
    assert torch.equal(whole.end, targets)
    part = data_lines(inputs, targets, 0.1, norm="euclidean")
    cosine = nn.functional.cosine_similarity(part.end - part.start, targets - inputs)
    torch.testing.assert_close(cosine, torch.ones(4, dtype=torch.float64))


def test_bounds_clip_the_ends_as_an_attack_does():
    inputs = torch.tensor([[0.0, 0.5, 1.0], [0.05, 0.5, 0.95]])
    free, clipped = (random_lines(inputs, 0.2, seed=3, bounds=bounds) for bounds in (None, (0.0, 1.0)))
    assert not torch.equal(free.end, clipped.end)
    assert torch.equal(clipped.end, free.end.clamp(0, 1))
    assert bool((clipped.lengths <= 0.2 + 1e-12).all())


def test_what_intervals_are_about():
    inputs = normal(1, 4, 6)
    assert random_lines(inputs, 1.0, seed=0).sampled == "inputs and directions"
    assert random_lines(inputs[:1].expand(4, 6), 1.0, seed=0).sampled == "directions at one input"
    assert gradient_lines(network(nn.ReLU()), inputs, 1.0).sampled == "inputs"
    assert data_lines(inputs, normal(2, 4, 6), 1.0).sampled == "pairs of inputs"


def test_refused_lines():
    inputs, model = normal(1, 4, 6), network(nn.ReLU())
    twice = inputs[[0, 1, 2, 2]]
    with pytest.raises(InvalidArgumentError, match="4 rows and 3 different ones"):
        random_lines(twice, 1.0, seed=0)
    with pytest.raises(InvalidArgumentError, match="inputs has the same point twice"):
        gradient_lines(model, twice, 1.0)
    with pytest.raises(InvalidArgumentError, match="inputs and targets has the same point twice"):
        data_lines(inputs, inputs.roll(1, 0), 1.0)
    with pytest.raises(InvalidArgumentError, match="they must be the same"):
        data_lines(inputs, normal(2, 3, 6), 1.0)
    with pytest.raises(InvalidArgumentError, match="norm='l2' is not allowed"):
        random_lines(inputs, 1.0, seed=0, norm="l2")
    with pytest.raises(InvalidArgumentError, match="radius=0"):
        random_lines(inputs, 0, seed=0)
    with pytest.raises(InvalidArgumentError, match="seed=-1"):
        random_lines(inputs, 1.0, seed=-1)
    with pytest.raises(InvalidArgumentError, match="a line must begin inside"):
        random_lines(inputs, 1.0, seed=0, bounds=(0.0, 0.1))
    with pytest.raises(InvalidArgumentError, match="the line of row 0 without length"):
        data_lines(torch.zeros(1, 2), torch.full((1, 2), -1.0), 1.0, bounds=(0.0, 1.0))
    with pytest.raises(InvalidArgumentError, match="must be a tensor of real inputs"):
        random_lines(torch.zeros(3), 1.0, seed=0)
    with pytest.raises(InvalidArgumentError, match="NaN or infinity"):
        random_lines(torch.tensor([[math.nan]]), 1.0, seed=0)
    dead = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3))
    with torch.no_grad():
        dead[0].bias.fill_(-100.0)
    with pytest.raises(InvalidArgumentError, match="vanishes at row 0 of inputs"):
        gradient_lines(dead, torch.zeros(1, 2), 1.0)


# ----------------------------------------------------------------------------------------------------------- statistics


@pytest.mark.parametrize("activation", [nn.ReLU(), KWTA(0.25), LWTA(4)])
def test_statistics_are_those_of_the_regions_of_each_line(activation):
    """Every number again, from the regions in plain Python."""
    model, lines = network(activation), random_lines(normal(1, 12, 6), 0.4, norm="euclidean", seed=0)
    found = region_statistics(model, lines)
    regions = line_regions(model, lines.start, lines.end)
    assert found.crossing.successes == sum(line.count > 1 for line in regions)
    for i, line in enumerate(regions):
        places = line.breakpoints.tolist()
        assert found.boundaries.values[i] == pytest.approx(len(places) / 0.4)
        by_layer = {name: sample.values[i] for name, sample in found.boundaries_of_layer.items()}
        assert sum(by_layer.values()) == pytest.approx(len(places) / 0.4)
        if not places:
            assert found.nearest.values[i] == math.inf
            assert math.isnan(found.jump.values[i])
            continue
        assert found.nearest.values[i] == pytest.approx(0.4 * places[0])
        sizes = [float((right - left).norm()) for left, right in zip(line.left_values, line.right_values, strict=True)]
        assert found.jump.values[i] == pytest.approx(sum(sizes) / len(sizes), abs=1e-13)
        assert found.largest_jump.values[i] == pytest.approx(max(sizes), abs=1e-13)
        assert found.root_mean_square_jump.values[i] == pytest.approx(
            math.sqrt(sum(s * s for s in sizes) / len(sizes)), abs=1e-13
        )
        turns = [float((b - a).norm()) / 0.4 for a, b in zip(line.slopes[:-1], line.slopes[1:], strict=True)]
        assert found.slope_change.values[i] == pytest.approx(sum(turns) / len(turns))
        # The slope at 20,000 points, of which each boundary spoils at most one interval.
        t = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
        slopes = line.slopes[line.region_at(t)]
        share = 1 - float(slopes.mean(0).square().sum() / slopes.square().sum(1).mean())
        assert found.slope_variation.values[i] == pytest.approx(share, abs=2e-3)
    starts = model(lines.start)
    assert found.output_scale == pytest.approx(float((starts - starts.mean(0)).square().sum(1).mean().sqrt()))


def test_jumps_of_a_continuous_network_are_rounding_and_those_of_k_wta_are_not():
    lines = random_lines(normal(1, 12, 6), 1.0, seed=0)
    relu, kwta = (region_statistics(network(activation), lines) for activation in (nn.ReLU(), KWTA(0.25)))
    assert max(v for v in relu.largest_jump.defined) < 1e-12 < 1e-2 < kwta.largest_jump.median


def test_slope_variation_and_distance_of_the_absolute_value():
    """|x| from -1 to 3: slope -1 for a quarter, 1 for the rest; mean 1/2, mean square 1; the boundary is 1 away."""
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        model[2].weight.fill_(1.0)
    lines = data_lines(torch.tensor([[-1.0]]), torch.tensor([[3.0]]))
    found = region_statistics(model, lines, fractions=(0.125, 0.5))
    assert found.slope_variation.values[0] == pytest.approx(0.75)
    assert found.nearest.values == (1.0,)
    assert found.nearest_first_layer.values == (1.0,)
    assert found.boundaries.values == (0.25,)
    assert found.slope_change.values == (2.0,)
    assert found.coherence[0.125].values == (1.0,)
    assert found.coherence[0.5].values == (-1.0,)


def test_coherence_is_the_cosine_of_gradients_of_cross_entropy():
    model, inputs, labels = network(KWTA(0.25)), normal(1, 10, 6), torch.arange(10) % 3
    lines = random_lines(inputs, 0.7, seed=0)
    found = region_statistics(model, lines, labels=labels, fractions=[0.3])

    def gradient(points: torch.Tensor) -> torch.Tensor:
        x = points.clone().requires_grad_(True)
        return torch.autograd.grad(nn.functional.cross_entropy(model(x), labels, reduction="sum"), x)[0]

    away = gradient(lines.start + 0.3 * (lines.end - lines.start))
    expected = nn.functional.cosine_similarity(gradient(lines.start), away)
    np.testing.assert_allclose(found.coherence[0.3].values, expected, atol=1e-12)
    assert list(found.coherence) == [0.3]
    assert found.coherence[0.3].values != region_statistics(model, lines, fractions=[0.3]).coherence[0.3].values
    interval = found.coherence[0.3].mean_interval(0.05)
    assert -1 <= interval.lower <= found.coherence[0.3].mean <= interval.upper <= 1


def test_an_affine_network_has_none_of_it():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    found = region_statistics(model, random_lines(torch.eye(3), 1.0, seed=0))
    assert found.crossing.successes == 0
    assert found.boundaries.values == (0.0,) * 3
    assert found.boundaries_of_layer == {}
    assert found.nearest.values == found.nearest_first_layer.values == (math.inf,) * 3
    assert found.jump.undefined == 3
    assert max(found.slope_variation.values) < 1e-12
    assert all(min(sample.values) > 1 - 1e-12 for sample in found.coherence.values())


def test_a_vanishing_gradient_has_no_cosine():
    dead = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        dead[0].weight.fill_(1.0)
        dead[0].bias.zero_()
        dead[2].weight.copy_(torch.eye(2) * torch.tensor([1.0, 2.0]))
    found = region_statistics(dead, data_lines(torch.tensor([[1.0], [2.0]]), torch.tensor([[-1.0], [3.0]])))
    assert found.coherence[1.0].undefined == 1
    assert found.coherence[1.0].defined == (1.0,)


def test_the_model_and_its_mode_are_left_alone():
    model = network(KWTA(0.25)).float().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        region_statistics(model, random_lines(normal(1, 3, 6), 0.2, seed=0))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_options_are_passed_on():
    model, lines = network(KWTA(0.25)), random_lines(normal(1, 6, 6), 1.0, seed=0)
    found = region_statistics(model, lines)
    split = region_statistics(model, lines, memory=1, device="cpu")
    assert found.boundaries == split.boundaries
    np.testing.assert_allclose(found.jump.values, split.jump.values, atol=1e-12)
    merged = region_statistics(model, lines, tolerance=1e-3)
    assert merged.boundaries.mean < found.boundaries.mean


def test_refused_arguments():
    model, lines = network(nn.ReLU()), random_lines(normal(1, 3, 6), 0.2, seed=0)
    with pytest.raises(InvalidArgumentError, match="lines is a tuple"):
        region_statistics(model, (lines.start, lines.end))
    with pytest.raises(InvalidArgumentError, match=r"fractions\[1\]=1.5"):
        region_statistics(model, lines, fractions=(1.0, 1.5))
    with pytest.raises(InvalidArgumentError, match="must be a tensor of 3 classes"):
        region_statistics(model, lines, labels=torch.zeros(2, dtype=torch.int64))
    with pytest.raises(InvalidArgumentError, match=r"labels goes from 0 to 3: it must be in \[0, 2\]"):
        region_statistics(model, lines, labels=torch.tensor([0, 1, 3]))
    with pytest.raises(InvalidArgumentError, match=r"it must be \(3, classes\)"):
        region_statistics(nn.Sequential(nn.Linear(6, 4), nn.Unflatten(1, (2, 2))), lines)


# ---------------------------------------------------------------------------------------- random layers and the theory

LINES, WIDTH, K, RADIUS = 512, 48, 12, 0.5


def independent_lines() -> Lines:
    """Lines in planes that are orthogonal to one another: on them one Gaussian layer is as good as one layer each."""
    axes = torch.eye(2 * LINES, dtype=torch.float64)
    return Lines(axes[::2], axes[::2] + RADIUS * axes[1::2], "random", "euclidean", RADIUS, "layers")


def random_layer(activation: nn.Module) -> nn.Sequential:
    linear = nn.Linear(2 * LINES, WIDTH, bias=False).double().requires_grad_(False)
    linear.weight.copy_(normal(7, WIDTH, 2 * LINES))
    return nn.Sequential(linear, activation)


def z_score(values: np.ndarray, expected: float) -> float:
    return float((values.mean() - expected) / (values.std(ddof=1) / math.sqrt(len(values))))


def test_random_layers_have_the_density_of_the_formula():
    """512 lines with 5 to 7 boundaries each: a density off by 10 % is 5 standard errors or more away."""
    turn = math.atan(RADIUS)  # along x + t u, d(angle) = dt / (1 + t^2)
    expected = {"kwta": boundary_density(WIDTH, K) * turn, "relu": relu_boundary_density(WIDTH) * turn}
    for name, activation in (("kwta", KWTA(K / WIDTH)), ("relu", nn.ReLU())):
        found = region_statistics(random_layer(activation), independent_lines(), fractions=())
        counts = RADIUS * np.array(found.boundaries.values)
        assert abs(z_score(counts, expected[name])) < 4.6
        other = expected["relu" if name == "kwta" else "kwta"]
        assert abs(z_score(counts, other)) > 4.6  # the negative control: ReLU's formula for k-WTA, and the other way
        assert found.boundaries.standard_error == pytest.approx(counts.std(ddof=1) / math.sqrt(LINES) / RADIUS)


def test_random_layers_jump_as_far_as_the_formula_says():
    """The two units that swap jump by ``x*`` each: the squares of the jumps of a line sum to ``rho r E[2 x*^2]``."""
    found = region_statistics(random_layer(KWTA(K / WIDTH)), independent_lines(), fractions=())
    counts = RADIUS * np.array(found.boundaries.values)
    squares = counts * np.nan_to_num(np.square(found.root_mean_square_jump.values))
    density = boundary_density(WIDTH, K)
    assert abs(z_score(squares, density * RADIUS * jump_size(WIDTH, K) ** 2)) < 4.6
    assert abs(z_score(squares, density * RADIUS * jump_size(WIDTH, K // 2) ** 2)) > 4.6  # the control: half as many


def test_a_frozen_record():
    found = region_statistics(network(nn.ReLU()), random_lines(normal(1, 3, 6), 0.2, seed=0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.radius = 1.0
