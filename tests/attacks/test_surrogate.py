"""Backward-pass substitution: values stay, derivatives are those of the mask that was asked for, hooks go."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kwta_theory import KWTA, LWTA, activation_pattern
from kwta_theory.attacks import SURROGATES, Ascent, Surrogate, surrogate_backward
from kwta_theory.checks import InvalidArgumentError, winners

NAMES = sorted(SURROGATES)


def derivative(module: nn.Module, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The value, and the gradient of the sum of the outputs: the diagonal of the Jacobian, which is diagonal."""
    y = y.clone().requires_grad_()
    output = module(y)
    return output.detach(), torch.autograd.grad(output.sum(), y)[0]


def expected(name: str, row: list[float], k: int) -> list[float]:
    """The weight of each entry by the definition, in plain Python."""
    order = sorted(range(len(row)), key=lambda i: (-row[i], i))
    if name == "wide":
        return [float(order.index(i) < 2 * k) for i in range(len(row))]
    if name == "relu":
        return [float(v > 0) for v in row]
    if name == "identity":
        return [1.0] * len(row)
    mean = sum(row) / len(row)
    scale = 0.1 * (sum((v - mean) ** 2 for v in row) / (len(row) - 1)) ** 0.5
    level = row[order[k - 1]]
    logistic = lambda z: float(torch.sigmoid(torch.tensor(z, dtype=torch.float64)))  # noqa: E731
    return [logistic((v - level) / scale) if scale else 0.5 for v in row]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(-4, 4).map(float), min_size=12, max_size=12), min_size=1, max_size=3),
    ratio=st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0]),
)
def test_k_wta_of_images(name: str, rows: list[list[float]], ratio: float) -> None:
    y = torch.tensor(rows, dtype=torch.float64).view(-1, 3, 2, 2)
    module = KWTA(ratio)
    value, plain = derivative(module, y)
    with surrogate_backward(module, name):
        same, weight = derivative(module, y)
    assert torch.equal(same, value)
    k = winners(12, ratio)
    torch.testing.assert_close(weight.flatten(1), torch.tensor([expected(name, r, k) for r in rows], dtype=y.dtype))
    assert torch.equal(derivative(module, y)[1], plain)
    assert torch.equal(plain.flatten(1).bool(), activation_pattern(y.flatten(1), k))


@pytest.mark.parametrize("name", NAMES)
def test_groups_of_channels(name: str) -> None:
    y = torch.randn(2, 7, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    module = LWTA(3, partial_group=True)
    with surrogate_backward(module, name):
        value, weight = derivative(module, y)
    assert torch.equal(value, module(y))
    for group in ((0, 3), (3, 6), (6, 7)):
        for sample, row, column in ((0, 1, 2), (1, 0, 0)):
            values = y[sample, slice(*group), row, column].tolist()
            due = expected(name, values, 1) if len(values) > 1 else [1.0]
            torch.testing.assert_close(
                weight[sample, slice(*group), row, column], torch.tensor(due, dtype=torch.float64)
            )


def test_one_sample_without_a_batch() -> None:
    y = torch.tensor([1.0, 4.0, 3.0, 2.0])
    for module in (KWTA(0.25), LWTA(2)):
        for name in NAMES:
            value = derivative(module, y)[0]
            with surrogate_backward(module, name):
                assert torch.equal(derivative(module, y)[0], value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_precisions_and_constant_rows(dtype: torch.dtype) -> None:
    for y in (torch.ones(2, 10), torch.linspace(-1, 1, 20).view(2, 10)):
        for name in NAMES:
            module = KWTA(0.2)
            with surrogate_backward(module, name):
                value, weight = derivative(module, y.to(dtype))
            assert value.dtype == weight.dtype == dtype
            assert bool(weight.isfinite().all())


class Small(nn.Sequential):
    def __init__(self, activation: nn.Module) -> None:
        super().__init__(nn.Flatten(), nn.Linear(16, 20), activation, nn.Linear(20, 3))


def test_the_hooks_go_even_after_an_error() -> None:
    model = Small(KWTA(0.2))

    def fail() -> None:
        assert model[2]._forward_hooks
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"), surrogate_backward(model, "wide"):
        fail()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())

    class Failing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if torch.is_grad_enabled() and x.requires_grad:
                raise RuntimeError("inside the model")
            return x

    model.append(Failing())
    model.train()
    images = torch.rand(2, 1, 4, 4)
    with torch.no_grad():
        labels = model(images).argmax(1)
    with pytest.raises(RuntimeError, match="inside the model"):
        Ascent("a", steps=2, gradient=Surrogate("soft")).run(model, images, labels, 0.1)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(m.training for m in model.modules())


def test_a_network_without_winners_is_left_alone() -> None:
    model = Small(nn.ReLU())
    x = torch.rand(3, 1, 4, 4)
    plain = derivative(model, x)
    for name in NAMES:
        with surrogate_backward(model, name):
            assert all(torch.equal(a, b) for a, b in zip(derivative(model, x), plain, strict=True))


def test_the_four_differ() -> None:
    model = Small(KWTA(0.1))
    x = torch.rand(3, 1, 4, 4)
    found = [derivative(model, x)[1]]
    for name in NAMES:
        with surrogate_backward(model, name):
            found.append(derivative(model, x)[1])
    assert all(not torch.equal(a, b) for i, a in enumerate(found) for b in found[:i])


def test_unknown_names_are_sentences() -> None:
    message = "surrogate='huge' is not known: it must be one of wide, relu, soft, identity"
    with pytest.raises(InvalidArgumentError, match=message):
        Surrogate("huge")
    with pytest.raises(InvalidArgumentError, match=message), surrogate_backward(nn.Identity(), "huge"):
        pass
