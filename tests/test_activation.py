"""kwta, lwta and activation_pattern: values, edge cases, derivatives, and the machinery of torch around them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from kwta_theory.activation import activation_pattern, kwta, lwta
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.testing import same_values

# torch scripts code of its own when forward-mode derivatives or the compiler are first used, and warns of it.
torch_warns_about_itself = pytest.mark.filterwarnings("ignore:.torch.jit.script.:DeprecationWarning")
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTEGERS = [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8]
INF, NAN = float("inf"), float("nan")


def identical(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal to the sign of a zero."""
    return same_values(a, b, zero_signs=True)


def pattern_by_sorting(y: torch.Tensor, k: int) -> torch.Tensor:
    """The shortest correct way, slower: the first k of a stable descending sort."""
    winners = y.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    return torch.zeros_like(y, dtype=torch.bool).scatter(-1, winners, True)


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
@pytest.mark.parametrize(("width", "k"), [(1, 1), (7, 3), (64, 6), (64, 64), (1000, 100), (4096, 410)])
def test_equals_a_stable_sort(dtype: torch.dtype, width: int, k: int) -> None:
    # Multiples of 1/8 in [-8, 8], of which there are 129: at width 1000 and above every row has ties at the boundary.
    generator = torch.Generator().manual_seed(0)
    y = (torch.randint(0, 129, (20, width), generator=generator) / 8 - (8 if dtype.is_floating_point else 0)).to(dtype)
    mask = activation_pattern(y, k)
    assert torch.equal(mask, pattern_by_sorting(y, k))
    assert (mask.sum(-1) == k).all()
    assert mask.dtype == torch.bool


@pytest.mark.parametrize("dtype", FLOATS)
def test_more_tied_entries_than_slots(dtype: torch.dtype) -> None:
    y = torch.tensor([1.0, 2.0, 3.0, 2.0, 2.0, 0.0], dtype=dtype)
    assert kwta(y, 3).tolist() == [0.0, 2.0, 3.0, 2.0, 0.0, 0.0]


@pytest.mark.parametrize("dtype", FLOATS)
def test_signed_zeros_are_equal_and_keep_their_sign(dtype: torch.dtype) -> None:
    assert activation_pattern(torch.tensor([-0.0, 0.0, -1.0], dtype=dtype), 1).tolist() == [True, False, False]
    assert activation_pattern(torch.tensor([0.0, -0.0, -1.0], dtype=dtype), 1).tolist() == [True, False, False]
    out = kwta(torch.tensor([-0.0, -0.0, -1.0], dtype=dtype), 1)
    assert out.signbit().tolist() == [True, False, False], "a winner keeps -0.0, a suppressed entry is +0.0"


@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_ranks_above_everything_and_is_never_lost(dtype: torch.dtype) -> None:
    y = torch.tensor([INF, NAN, 1.0, NAN, -INF], dtype=dtype)
    expected = {1: [1], 2: [1, 3], 3: [0, 1, 3], 4: [0, 1, 2, 3], 5: [0, 1, 2, 3, 4]}
    for k, winners in expected.items():
        assert activation_pattern(y, k).nonzero().flatten().tolist() == winners
    assert identical(kwta(y, 1), torch.tensor([0.0, NAN, 0.0, 0.0, 0.0], dtype=dtype))
    assert kwta(torch.full((6,), NAN, dtype=dtype), 2).isnan().tolist() == [True, True] + 4 * [False]


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_suppressed_entry_is_zero_whatever_it_was(dtype: torch.dtype) -> None:
    y = torch.tensor([INF, INF, -INF, NAN, NAN], dtype=dtype)
    assert identical(kwta(y, 1), torch.tensor([0.0, 0.0, 0.0, NAN, 0.0], dtype=dtype))
    assert identical(kwta(y[:3], 1), torch.tensor([INF, 0.0, 0.0], dtype=dtype))


def test_negative_winners_keep_their_values_and_k_equal_width_is_the_identity() -> None:
    y = torch.tensor([-3.0, -1.0, -2.0])
    assert kwta(y, 2).tolist() == [0.0, -1.0, -2.0]
    assert torch.equal(kwta(y, 3), y)
    assert kwta(y, 3) is not y


def test_integers_are_ordered_exactly() -> None:
    # 2^53 and 2^53 + 1 are the same float64.
    y = torch.tensor([2**53, 2**53 + 1, 5])
    out = kwta(y, 1)
    assert out.tolist() == [0, 2**53 + 1, 0]
    assert out.dtype == torch.int64


def test_empty_batches_keep_their_shape() -> None:
    assert kwta(torch.empty(0, 5), 2).shape == (0, 5)
    assert kwta(torch.empty(3, 5, 0), 2, dim=1).shape == (3, 5, 0)
    assert lwta(torch.empty(0, 6), 2).shape == (0, 6)


def test_strides_do_not_matter_and_the_input_is_left_alone() -> None:
    y = torch.randint(-3, 4, (4, 6, 5), generator=torch.Generator().manual_seed(1)).float()
    before = y.clone()
    for view in (y.transpose(0, 1), y[:, ::2], y[..., 1:4], y[:1].expand(3, 6, 5), y.permute(2, 0, 1)):
        assert not view.is_contiguous()
        for dim in range(3):
            assert torch.equal(kwta(view, 2, dim), kwta(view.contiguous(), 2, dim))
    assert torch.equal(y, before)


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
def test_dim_is_the_dimension_of_the_units(dim: int) -> None:
    y = torch.randint(-3, 4, (4, 6, 4), generator=torch.Generator().manual_seed(2)).float()
    assert torch.equal(kwta(y, 3, dim), kwta(y.movedim(dim, -1), 3).movedim(-1, dim))
    assert torch.equal(lwta(y, 2, dim), lwta(y.movedim(dim, -1), 2).movedim(-1, dim))
    assert (activation_pattern(y, 3, dim).sum(dim) == 3).all()


def test_lwta_keeps_the_first_largest_of_each_group() -> None:
    y = torch.tensor([[1.0, 1.0, -2.0, -1.0], [0.0, 5.0, NAN, 7.0]])
    assert identical(lwta(y, 2), torch.tensor([[1.0, 0.0, 0.0, -1.0], [0.0, 5.0, NAN, 0.0]]))
    assert identical(lwta(y, 1), y)
    assert lwta(torch.tensor([[3, 1, 2, 9]]), 2).tolist() == [[3, 0, 0, 9]]


@pytest.mark.parametrize("function", [kwta, activation_pattern, lwta])
@pytest.mark.parametrize(
    ("y", "number", "dim", "message"),
    [
        ([1.0, 2.0], 1, -1, "y is a list: it must be a torch.Tensor"),
        (torch.tensor(1.0), 1, -1, "y has no dimension"),
        (torch.tensor([True, False]), 1, -1, "y has dtype torch.bool: it must be float16"),
        (torch.ones(3, dtype=torch.complex64), 1, -1, "y has dtype torch.complex64"),
        (torch.ones(3), 0, -1, "=0 is not allowed: it must be an integer of at least 1"),
        (torch.ones(3), 1.5, -1, "=1.5 is not allowed: it must be an integer"),
        (torch.ones(3), 1, 1, r"dim=1 is not allowed: it must be an integer in \[-1, 0\]"),
        (torch.ones(3), 1, -2, "dim=-2 is not allowed"),
        (torch.ones(3), 1, 0.0, "dim=0.0 is not allowed"),
    ],
)
def test_bad_arguments(function: Callable[..., torch.Tensor], y: Any, number: Any, dim: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        function(y, number, dim)


def test_more_winners_than_units() -> None:
    with pytest.raises(InvalidArgumentError, match="width=3 is below k=4"):
        kwta(torch.ones(3), 4)
    with pytest.raises(InvalidArgumentError, match="width=0 is not allowed"):
        kwta(torch.ones(2, 0), 1)


def test_groups_that_do_not_fill_the_width() -> None:
    with pytest.raises(InvalidArgumentError, match="group_size=2 does not divide width=3"):
        lwta(torch.ones(4, 3), 2)
    with pytest.raises(InvalidArgumentError, match="group_size=2 does not divide width=0"):
        lwta(torch.ones(4, 0), 2)


def distinct(*shape: int) -> torch.Tensor:
    """Float64 entries at least 1/8 apart, so that a finite difference crosses no boundary."""
    size = torch.Size(shape).numel()
    order = torch.randperm(size, generator=torch.Generator().manual_seed(3))
    return (order.double() / 8 - size / 16).reshape(shape).requires_grad_()


@torch_warns_about_itself
@pytest.mark.parametrize("function", [lambda y: kwta(y, 2), lambda y: lwta(y, 3), lambda y: kwta(y, 2, dim=0)])
def test_finite_differences_agree_with_both_derivatives(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    y = distinct(3, 6)
    assert torch.autograd.gradcheck(function, (y,), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(lambda y: function(y) ** 3, (y,))


@pytest.mark.parametrize("dtype", FLOATS)
def test_gradient_is_the_mask_where_a_multiplied_mask_gives_nan(dtype: torch.dtype) -> None:
    y = torch.tensor([INF, INF, 1.0, -INF], dtype=dtype, requires_grad=True)
    upstream = torch.tensor([1.0, INF, NAN, INF], dtype=dtype, requires_grad=True)
    (gradient,) = torch.autograd.grad(kwta(y, 1), y, upstream, create_graph=True)
    assert gradient.tolist() == [1.0, 0.0, 0.0, 0.0]
    (second,) = torch.autograd.grad(gradient.sum(), upstream)
    assert second.tolist() == [1.0, 0.0, 0.0, 0.0]
    # Negative control: the same gradient through a multiplication is NaN.
    (wrong,) = torch.autograd.grad(y * activation_pattern(y, 1), y, upstream)
    assert wrong.isnan().any()


@torch_warns_about_itself
def test_torch_func() -> None:
    y = distinct(4, 6).detach()
    jacobians = torch.stack([torch.diag(activation_pattern(row, 2).double()) for row in y])
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        assert torch.equal(torch.func.vmap(jacobian(lambda row: kwta(row, 2)))(y), jacobians)
    tangent = torch.full_like(y, 3.0)
    out, derivative = torch.func.jvp(lambda y: kwta(y, 2), (y,), (tangent,))
    assert torch.equal(out, kwta(y, 2))
    assert torch.equal(derivative, 3.0 * activation_pattern(y, 2))
    assert torch.equal(torch.func.vmap(lambda row: lwta(row, 3))(y), lwta(y, 3))
    assert torch.equal(torch.func.vmap(lambda column: kwta(column, 2), in_dims=1, out_dims=1)(y), kwta(y, 2, dim=0))
    assert not torch.func.hessian(lambda row: kwta(row, 2).sum())(y[0]).any()


@torch_warns_about_itself
@pytest.mark.skipif(shutil.which("gcc") is None and shutil.which("clang") is None, reason="torch.compile: no compiler")
def test_compiles_to_one_graph() -> None:
    y = torch.tensor([[1.0, 2.0, 2.0, -0.0], [NAN, INF, INF, -INF]], requires_grad=True)
    compiled = torch.compile(lambda y: (kwta(y, 2), lwta(y, 2)), fullgraph=True)
    for out, expected in zip(compiled(y), (kwta(y, 2), lwta(y, 2)), strict=True):
        assert identical(out, expected)
    (gradient,) = torch.autograd.grad(compiled(y)[0], y, torch.ones_like(y))
    assert torch.equal(gradient, activation_pattern(y, 2).float())


@torch_warns_about_itself
@pytest.mark.parametrize("dtype", FLOATS)
def test_stays_on_the_device_without_reading_a_value_back(dtype: torch.dtype) -> None:
    with FakeTensorMode():
        y = torch.empty(8, 64, device="cuda", dtype=dtype)
        # Forward mode: the backward engine of a build without CUDA starts no thread for such a device.
        for out in torch.func.jvp(lambda y: kwta(y, 6) + lwta(y, 8), (y,), (y,)):
            assert (out.device.type, out.dtype, out.shape) == ("cuda", dtype, (8, 64))
        # Negative control: the mode does refuse a value that is read back.
        with pytest.raises(DataDependentOutputException):
            activation_pattern(y, 6).any().item()
