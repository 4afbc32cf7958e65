"""The strategies, the reference and the laws that users hold their own activation to."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import find, given, settings
from hypothesis import strategies as st

import kwta_theory.testing
from kwta_theory.activation import activation_pattern, kwta
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.testing import (
    LAWS,
    Activation,
    BrokenLawError,
    broken_laws,
    check_activation,
    layer_outputs,
    layer_outputs_and_winners,
    reference_kwta,
    same_values,
)

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INF, NAN = float("inf"), float("nan")
quiet = settings(derandomize=True, database=None, deadline=None, max_examples=100)


def released_code(y: torch.Tensor, k: int) -> torch.Tensor:
    """What the authors released: a threshold, and a mask to multiply with."""
    return y * (y >= y.topk(k, dim=-1).values[..., -1:])


def larger_index_first(y: torch.Tensor, k: int) -> torch.Tensor:
    return kwta(y.flip(-1), k).flip(-1)


def multiplied(y: torch.Tensor, k: int) -> torch.Tensor:
    return y * activation_pattern(y, k)


def by_magnitude(y: torch.Tensor, k: int) -> torch.Tensor:
    return torch.where(activation_pattern(y.abs(), k), y, 0)


def over_the_whole_batch(y: torch.Tensor, k: int) -> torch.Tensor:
    return kwta(y.flatten(), k).reshape(y.shape)


def clipped(y: torch.Tensor, k: int) -> torch.Tensor:
    return kwta(y.clamp(-1.0, 1.0), k)


def without_gradient(y: torch.Tensor, k: int) -> torch.Tensor:
    return kwta(y.detach(), k).requires_grad_()


def writing_to_its_input(y: torch.Tensor, k: int) -> torch.Tensor:
    with torch.no_grad():
        y.masked_fill_(~activation_pattern(y, k), 0)
    return y * 1


def bottom(y: torch.Tensor, k: int) -> torch.Tensor:
    return torch.where(activation_pattern(y, k), y, torch.arange(y.shape[-1]).to(y.dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("allow_nan", [False, True])
def test_our_activation_keeps_every_law(dtype: torch.dtype, allow_nan: bool) -> None:
    check_activation(kwta, dtype=dtype, allow_nan=allow_nan, max_examples=100)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [released_code, larger_index_first])
def test_a_wrong_rule_for_ties_is_caught(activation: Activation, dtype: torch.dtype) -> None:
    """200 examples, always the same, in every dtype; random normal rows of float64 never catch it."""
    with pytest.raises(BrokenLawError, match=r"breaks: .*derivative is 1 at the k winners"):
        check_activation(activation, dtype=dtype)
    normal = torch.randn(200, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert broken_laws(activation, normal, 3) == []


@pytest.mark.parametrize(
    ("activation", "law"),
    [
        (released_code, "reference"),
        (released_code, "gradient"),
        (larger_index_first, "reference"),
        (multiplied, "reference"),
        (by_magnitude, "reference"),
        (clipped, "identity"),
        (clipped, "scale"),
        (over_the_whole_batch, "batch"),
        (without_gradient, "gradient"),
        (writing_to_its_input, "input"),
        (bottom, "permutation"),
    ],
)
def test_each_law_catches_its_breach(activation: Activation, law: str) -> None:
    with pytest.raises(BrokenLawError, match=rf"(?s)k=.*y=tensor.* gives tensor.*breaks: {law} "):
        check_activation(activation, laws=[law])


def test_every_law_has_a_breach_above_and_a_sentence() -> None:
    assert set(LAWS) == {"reference", "gradient", "identity", "batch", "scale", "permutation", "input"}
    assert all(LAWS.values())


def test_the_counterexample_is_small() -> None:
    with pytest.raises(BrokenLawError, match=r"k=1, y=tensor\(\[0\., 0\.\]\)"):
        check_activation(released_code)


def test_laws_that_an_activation_of_another_kind_keeps() -> None:
    check_activation(by_magnitude, laws=["identity", "batch", "scale", "input"], max_examples=50)
    assert "reference" in broken_laws(by_magnitude, torch.tensor([1.0, -2.0]), 1)


def test_options_of_check_activation() -> None:
    def refuses_nan(y: torch.Tensor, k: int) -> torch.Tensor:
        assert not y.isnan().any(), "NaN came"
        return kwta(y, k)

    def refuses_wide(y: torch.Tensor, k: int) -> torch.Tensor:
        assert y.shape[-1] <= 3, "wide came"
        return kwta(y, k)

    def refuses_float32(y: torch.Tensor, k: int) -> torch.Tensor:
        assert y.dtype != torch.float32, "float32 came"
        return kwta(y, k)

    calls: list[int] = []

    def counting(y: torch.Tensor, k: int) -> torch.Tensor:
        calls.append(1)
        return kwta(y, k)

    check_activation(refuses_nan, max_examples=50)
    with pytest.raises(AssertionError, match="NaN came"):
        check_activation(refuses_nan, allow_nan=True)
    check_activation(refuses_wide, max_width=3, max_examples=50)
    with pytest.raises(AssertionError, match="wide came"):
        check_activation(refuses_wide)
    check_activation(refuses_float32, dtype=torch.float16, max_examples=50)
    with pytest.raises(AssertionError, match="float32 came"):
        check_activation(refuses_float32)
    check_activation(counting, laws=["input"], max_examples=7)
    assert len(calls) == 7


def test_bad_arguments() -> None:
    with pytest.raises(InvalidArgumentError, match="laws='gradients' is not allowed: it must be among reference, gr"):
        broken_laws(kwta, torch.ones(2), 1, laws=["gradients"])
    with pytest.raises(InvalidArgumentError, match="laws='gradients' is not allowed"):
        check_activation(kwta, laws=["gradients"])
    with pytest.raises(InvalidArgumentError, match="max_examples=0 is not allowed"):
        check_activation(kwta, max_examples=0)
    with pytest.raises(InvalidArgumentError, match=r"dtype=torch.int64 is not allowed: it must be float16"):
        check_activation(kwta, dtype=torch.int64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": torch.int32}, "dtype=torch.int32 is not allowed"),
        ({"min_width": 0}, "min_width=0 is not allowed"),
        ({"min_width": 5, "max_width": 4}, "max_width=4 is not allowed: it must be an integer of at least 5"),
        ({"batch_shape": (-1,)}, "batch_shape=-1 is not allowed"),
    ],
)
def test_bad_arguments_of_the_strategy(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        find(layer_outputs(**options), lambda _: True, settings=quiet)


SOUGHT: dict[str, Callable[[torch.Tensor], Any]] = {
    "tie": lambda y: len(y) > 1 and y[0] == y[1] != 0,
    "both zeros": lambda y: len(set(y[y == 0].signbit().tolist())) == 2,
    "subnormal": lambda y: ((y != 0) & (y.abs() < torch.finfo(y.dtype).tiny)).any(),
    "infinity": lambda y: y.isinf().any(),
    "largest": lambda y: (y == torch.finfo(y.dtype).max).any(),
    "neighbours": lambda y: (torch.nextafter(y, torch.full_like(y, INF))[:, None] == y)[y.abs() > 0.5].any(),
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_strategy_makes_what_breaks_activations(dtype: torch.dtype) -> None:
    found = dict.fromkeys(SOUGHT, 0)

    @settings(quiet, max_examples=300)
    @given(layer_outputs(dtype))
    def look(y: torch.Tensor) -> None:
        for name, wanted in SOUGHT.items():
            found[name] += bool(wanted(y))

    look()
    assert min(found.values()) >= 3, f"in 300 examples: {found}"


def test_options_of_the_strategy() -> None:
    @quiet
    @given(layer_outputs(torch.float64, allow_infinity=False, batch_shape=(2, 0), min_width=3, max_width=5))
    def empty(y: torch.Tensor) -> None:
        assert y.shape[:2] == (2, 0)
        assert 3 <= y.shape[2] <= 5
        assert y.dtype == torch.float64

    @quiet
    @given(layer_outputs(torch.bfloat16, allow_infinity=False, batch_shape=st.sampled_from([(2,), (1, 3)])))
    def finite(y: torch.Tensor) -> None:
        assert y.isfinite().all()
        assert y.shape[:-1] in {(2,), (1, 3)}

    @quiet
    @given(layer_outputs_and_winners(torch.float16, min_width=2))
    def pairs(case: tuple[torch.Tensor, int]) -> None:
        assert 1 <= case[1] <= len(case[0])

    empty()
    finite()
    pairs()
    assert find(layer_outputs(allow_nan=True), lambda y: bool(y.isnan().any()), settings=quiet).isnan().any()


def test_reference_by_hand() -> None:
    assert reference_kwta([1.0, -3.0, 2.0, -1.0], 3) == [1.0, 0.0, 2.0, -1.0]
    assert reference_kwta([2.0, 2.0, 2.0], 2) == [2.0, 2.0, 0.0]
    assert reference_kwta([INF, NAN, -INF], 1)[0] == 0.0
    assert reference_kwta([], 1) == []


def test_same_values_takes_nan_for_equal_and_sees_the_sign_of_zero_when_asked() -> None:
    assert same_values(torch.tensor([NAN, INF]), torch.tensor([NAN, INF]))
    assert same_values(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same_values(torch.tensor([0.0]), torch.tensor([-0.0]), zero_signs=True)
    assert same_values(torch.tensor([-0.0, NAN]), torch.tensor([-0.0, NAN]), zero_signs=True)
    assert not same_values(torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64))
    assert not same_values(torch.tensor([1.0]), torch.tensor([1.0, 1.0]))


def test_importing_it_without_hypothesis_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    spec = importlib.util.spec_from_file_location("testing_without_hypothesis", kwta_theory.testing.__file__)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=r"needs hypothesis.*pip install 'kwta-theory\[property-tests\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
