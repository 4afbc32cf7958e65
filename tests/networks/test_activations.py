"""Activations by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.modules import KWTA, LWTA
from kwta_theory.networks import activation_factory


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("relu", "ReLU()"),
        ("leaky-relu", "LeakyReLU(negative_slope=0.01)"),
        ("kwta-0.1", "KWTA(sparsity_ratio=0.1)"),
        ("kwta-.2", "KWTA(sparsity_ratio=0.2)"),
        ("kwta-1", "KWTA(sparsity_ratio=1)"),
        ("kwta-1e-3", "KWTA(sparsity_ratio=0.001)"),
        ("lwta-10", "LWTA(group_size=10, partial_group=True)"),
    ],
)
def test_a_name_makes_fresh_modules(name: str, text: str) -> None:
    factory = activation_factory(name)
    first, second = factory(), factory()
    assert first is not second
    assert repr(first) == text


def test_the_ratio_is_the_number_written() -> None:
    module = activation_factory("kwta-0.075")()
    assert isinstance(module, KWTA)
    assert module.sparsity_ratio == 0.075


@pytest.mark.parametrize(
    "name",
    ["", "ReLU", "relu ", "relu-1", "leaky-relu-0.2", "tanh", "kwta", "kwta-", "kwta-a", "kwta- 0.1", "kwta-0.1 ",
     "kwta-0_1", "kwta-٠.١", "kwta-nan", "kwta-inf", "kwta--0.1", "kwta-0x1", "lwta-", "lwta-1.5", "lwta--2",
     "lwta-1_0", "lwta-10\n", "lwta-1000000000", None, 3, nn.ReLU, b"relu", ["relu"]],
)  # fmt: skip
def test_other_names(name: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"activation=.* is not known: it must be relu, leaky-relu, kwta-"):
        activation_factory(name)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("kwta-0", r"activation='kwta-0': sparsity_ratio=0.0 is not allowed: .* in \(0, 1\]"),
        ("kwta-1.5", r"activation='kwta-1.5': sparsity_ratio=1.5 is not allowed"),
        ("kwta-1e400", r"activation='kwta-1e400': sparsity_ratio=inf is not allowed"),
        ("kwta-1e-400", r"activation='kwta-1e-400': sparsity_ratio=0.0 is not allowed"),
        ("lwta-0", r"activation='lwta-0': group_size=0 is not allowed"),
    ],
)
def test_numbers_that_are_not_allowed(name: str, sentence: str) -> None:
    with pytest.raises(InvalidArgumentError, match=sentence):
        activation_factory(name)


def test_groups_need_not_fill_the_channels() -> None:
    module = activation_factory("lwta-10")()
    assert isinstance(module, LWTA)
    y = torch.randn(3, 64, 2, 2, generator=torch.Generator().manual_seed(0))
    assert ((module(y) != 0).sum(1) == 7).all()  # six groups of ten and one of four
