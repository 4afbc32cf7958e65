"""The whole audit on networks of which the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from region_networks import normal
from torch import nn

from kwta_theory import KWTA, LWTA, theory
from kwta_theory.audit import audit
from kwta_theory.audit.run import DTYPES
from kwta_theory.checks import InvalidArgumentError


def layer_of(weight: torch.Tensor, bias: torch.Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64).requires_grad_(False)
    layer.weight.copy_(weight)
    layer.bias.copy_(torch.zeros(len(weight)) if bias is None else bias)
    return layer


def test_dead_and_always_on_units():
    bias = torch.zeros(20, dtype=torch.float64)
    bias[[3, 7]], bias[11] = -100.0, 100.0
    model = nn.Sequential(layer_of(normal(0, 20, 6), bias), KWTA(0.25))
    (found,) = audit(model, normal(1, 300, 6), lines=0, error=0.01).layers
    z = normal(1, 300, 6) @ normal(0, 20, 6).T + bias
    wins = np.zeros(20, dtype=int)
    np.add.at(wins, np.argsort(-z.numpy(), axis=1)[:, :5].ravel(), 1)
    assert found.units.wins == tuple(wins.tolist())
    assert found.units.dead == (3, 7)
    assert found.units.always_on == (11,)
    # No win in n samples leaves open what has (1 - p)^n = error; 20 units, two sides, 15 claims of a layer.
    share = 0.01 / 15 / 40
    assert found.units.dead_bound == pytest.approx(1 - share ** (1 / 300), rel=1e-9)
    assert found.units.always_bound == pytest.approx(share ** (1 / 300), rel=1e-9)
    assert found.units.dead_if_alike == pytest.approx(20 * 0.75**300)


def test_the_bound_of_dead_units_is_right_as_often_as_it_says():
    # A layer with one unit of probability p: the bound fails where it never wins and p is above the bound.
    # 2,000 audits of 30 samples at an error of one half, of which this unit's share is 1/120: the count of failures is
    # binomial with a probability of at most 1/120, so 46 are rarer than 1e-9.
    rng = np.random.default_rng(0)
    bound = 1 - (0.5 / 15 / 4) ** (1 / 30)
    model = nn.Sequential(nn.Identity(), KWTA(0.5))
    x = np.where(rng.random((30, 1)) < 2, [[1.0, 0.0]], [[0.0, 1.0]])
    found = audit(model, x, lines=0, error=0.5, radius=0.1).layers[0].units
    assert (found.dead, found.always_on) == ((1,), (0,))
    assert found.dead_bound == pytest.approx(bound)

    def failures(p: float) -> int:
        return int((rng.random((2000, 30)) >= p).all(1).sum())

    assert failures(bound * 1.0001) <= 46
    assert failures(bound / 2) > 46  # negative control: half the bound would be wrong far more often


# In float32 1 + 1e-9 is 1; in float16 (11 bits) 1 + 1e-4; in bfloat16 (8 bits) 1 + 1e-3. The smaller index wins a tie.
TIED_IN = {1e-9: {"float32", "float16", "bfloat16"}, 1e-4: {"float16", "bfloat16"}, 1e-3: {"bfloat16"}, 0.1: set()}


def test_ties_by_dtype_by_hand():
    rows = [[1.0, 1.0 + apart, 0.0, -1.0] for apart in TIED_IN] + [[1.0, 1.0, 0.0, -1.0], [3.0, 2.0, 2.0, 2.0]]
    (found,) = audit(nn.Sequential(nn.Identity(), KWTA(0.25)), np.array(rows), lines=0).layers
    for name in DTYPES:
        tied = 1 + sum(name in names for names in TIED_IN.values())
        assert found.ties[name].ties.value == tied / 6
        assert found.ties[name].differs.value == (tied - 1) / 6  # the exact tie is one in float64, too
        assert found.ties[name].ties.n == 6
    (found,) = audit(LWTA(2), np.array([[1.0, 0.0, 2.0, 2.0], [1.0, 0.0, 2.0, 1.0]]), lines=0).layers
    assert found.ties["float64"].ties.value == 0.5  # in one of its groups


def test_what_overflows_is_counted_apart():
    x = np.array([[1e6, 1.0], [2.0, 1.0], [1.0, 3.0]])
    (found,) = audit(nn.Sequential(nn.Identity(), KWTA(0.5)), x, lines=0).layers
    half = found.ties["float16"]
    assert (half.not_finite, half.ties.n, half.ties.value) == (1, 2, 0.0)
    assert found.ties["bfloat16"].not_finite == 0
    (found,) = audit(nn.Sequential(nn.Identity(), KWTA(0.5)), x[:1].repeat(2, 0), lines=0).layers
    assert math.isnan(found.ties["float16"].ties.value)


def test_overlap_is_that_of_pairs_at_their_cosines():
    weight, x = normal(0, 1000, 30), normal(1, 400, 30) + 0.5
    (found,) = audit(nn.Sequential(layer_of(weight), KWTA(0.1)), x, lines=0).layers
    overlap = found.overlap
    assert (overlap.law, overlap.cosine_of, len(overlap.observed)) == ("large width", "inputs", 200)
    z = (x @ weight.T).numpy()
    patterns = z >= np.sort(z, axis=1)[:, -100:-99]
    common = patterns.astype(float) @ patterns.T
    unit = (x / x.norm(dim=1, keepdim=True)).numpy()
    table = {round(float(unit[i] @ unit[j]), 9): common[i, j] / 100 for i in range(400) for j in range(i)}
    for cosine, observed, expected in zip(overlap.cosine, overlap.observed, overlap.expected, strict=True):
        assert table[round(cosine, 9)] == observed
        assert expected == pytest.approx(theory.limiting_overlap(0.1, cosine), rel=1e-12)
    # 200 pairs on one Gaussian layer; the same with large biases is no such layer (negative control).
    assert 0.0 in overlap.difference.interval
    assert abs(overlap.difference.value) < 0.02
    bias = 20 * normal(2, 1000)
    (biased,) = audit(nn.Sequential(layer_of(weight, bias), KWTA(0.1)), x, lines=0).layers
    assert 0.0 not in biased.overlap.difference.interval
    assert biased.overlap.difference.value > 0.3


def test_overlap_of_routers_groups_and_values():
    router = nn.Sequential(layer_of(normal(0, 8, 16)), KWTA(2 / 8))
    (found,) = audit(router, normal(1, 60, 16), lines=0).layers
    assert found.overlap.law == "exact"
    for cosine, expected in zip(found.overlap.cosine[:5], found.overlap.expected, strict=False):
        exact = sum(j * theory.overlap_probability(8, 2, cosine, j) for j in range(3)) / 2
        assert expected == pytest.approx(exact, abs=5e-6)
    (found,) = audit(
        nn.Sequential(layer_of(normal(0, 10, 16)), LWTA(4, partial_group=True)), normal(1, 20, 16), lines=0
    ).layers
    for cosine, expected in zip(found.overlap.cosine[:5], found.overlap.expected, strict=False):
        groups = [theory.same_pattern(4, 1, cosine)] * 2 + [theory.same_pattern(2, 1, cosine)]
        assert expected == pytest.approx(np.mean(groups), abs=5e-6)
    (found,) = audit(nn.Sequential(nn.Identity(), KWTA(0.5)), normal(1, 20, 16), lines=0).layers
    assert found.overlap.cosine_of == "values"
    x = normal(1, 20, 16)
    x[0] = 0.0
    assert audit(router, x, lines=0).layers[0].overlap.undefined == 1


def test_kept_winners_and_shares_within():
    model, x = nn.Sequential(layer_of(normal(0, 40, 6)), KWTA(0.25)), normal(1, 50, 6)
    near, far = (audit(model, x, radius=radius, lines=50) for radius in (1e-6, 30.0))
    assert near.layers[0].kept.value == 1.0
    assert far.layers[0].kept.value < 0.6
    flips = far.layers[0].flips
    assert flips.within.value == sum(d <= 30.0 for d in flips.distances.exact) / 50 == 1.0
    assert flips.random.value == sum(math.isfinite(d) for d in flips.distances.random) / 50
    assert flips.median_upper.value == np.median(flips.distances.exact)
    assert flips.median_upper.value in flips.median_upper.interval
    assert near.layers[0].flips.median_random.value == math.inf
    assert near.layers[0].flips.within.value == sum(d <= 1e-6 for d in near.layers[0].flips.distances.exact) / 50


def test_options_change_something():
    model, x = nn.Sequential(layer_of(normal(0, 40, 6)), KWTA(0.25)), normal(1, 21, 6)
    base = audit(model, x)
    assert base.radius == pytest.approx(0.01 * np.sort(x.norm(dim=1).numpy())[10])
    assert (base.samples, base.lines, base.norm, base.error, base.seed) == (21, 21, "euclidean", 1e-3, 0)
    assert audit(model, x) == base
    assert audit(model, x.numpy(), batch_size=3, device="cpu") == base
    assert audit(model, x, lines=4).lines == 4
    assert audit(model, x, norm="maximum").radius == pytest.approx(0.01 * np.sort(x.abs().amax(1).numpy())[10])
    assert audit(model, x, seed=1).layers[0].overlap.cosine != base.layers[0].overlap.cosine
    assert audit(model, x, seed=1, radius=9.0).layers[0].kept != audit(model, x, radius=9.0).layers[0].kept
    assert audit(model, x, error=0.5).layers[0].units.dead_bound < base.layers[0].units.dead_bound
    said: list[str] = []
    audit(model, x, report=said.append)
    assert any("samples" in line for line in said)
    assert any("lines in a random direction" in line for line in said)
    none = audit(model, x, lines=0)
    assert (none.lines, none.layers[0].flips) == (0, None)
    assert "lines=0" in none.no_lines


def test_the_model_is_left_as_it_is():
    model = nn.Sequential(nn.Linear(6, 40), nn.BatchNorm1d(40), KWTA(0.25), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = audit(model, normal(0, 10, 6))
    assert model.training
    assert not found.no_lines
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model[0].weight.requires_grad
    assert not model[2]._forward_pre_hooks


def test_what_is_not_affine_costs_the_lines_only():
    model = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 40), KWTA(0.25)).double()
    found = audit(model, normal(0, 10, 6))
    assert "layer_norm" in found.no_lines
    assert found.layers[0].flips is None
    assert found.layers[0].overlap.observed


class _OnlyDouble(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.act = normal(0, 12, 6), KWTA(0.25)  # no parameter, so no dtype but its own

    def forward(self, x):
        return self.act(x @ self.weight.T)


def test_a_dtype_that_does_not_run_is_named():
    found = audit(_OnlyDouble(), normal(0, 10, 6))
    assert set(found.no_dtype) == {"float32", "float16", "bfloat16"}
    assert set(found.layers[0].ties) == {"float64"}
    assert "dtype" in found.no_dtype["float16"]


def test_bad_inputs_are_sentences():
    model, x = nn.Sequential(nn.Linear(6, 40), KWTA(0.25)), normal(0, 10, 6)

    def refused(message, **changes):
        with pytest.raises(InvalidArgumentError, match=message):
            audit(**{"model": model, "inputs": x, **changes})

    refused("model is a list", model=[])
    refused("inputs holds .*complex", inputs=x + 1j)
    refused("inputs holds list", inputs=["a"])
    refused("inputs holds torch.bool", inputs=x > 0)
    refused(r"shape \(6,\): it must be \(n, ...\)", inputs=x[0])
    refused(r"shape \(0, 6\)", inputs=x[:0])
    refused("1 sample: .* n must be at least 2", inputs=x[:1])
    refused("NaN or infinity in sample 3", inputs=torch.where(torch.arange(10)[:, None] == 3, math.nan, x))
    refused(r"the network does not run on that", inputs=x[:, :5])
    refused("median norm of the inputs is 0: give a radius", inputs=0 * x)
    refused(r"radius=0\.0 is not allowed", radius=0.0)
    refused("norm='l2' is not allowed", norm="l2")
    refused("lines=-1 is not allowed", lines=-1)
    refused("error=1.0 is not allowed", error=1.0)
    refused("seed=-1 is not allowed", seed=-1)
    refused("batch_size=1 is not allowed", batch_size=1)
    refused("device='abacus' is not there", device="abacus")
