"""The fast routes of k-WTA on a CPU equal the operations of torch to the bit; when they must not be taken."""

from __future__ import annotations

import concurrent.futures
import importlib
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch._vmap_internals import _vmap
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import BaseTorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from kwta_theory import _fast_pattern, _fast_pattern_numpy
from kwta_theory.activation import _pattern, activation_pattern, kwta
from kwta_theory.modules import KWTA
from kwta_theory.testing import layer_outputs_and_winners, reference_kwta

KERNELS: list[ModuleType] = [_fast_pattern_numpy]
if _fast_pattern.installed():
    KERNELS.append(importlib.import_module("kwta_theory._fast_pattern_kernel"))
kernel: Any = KERNELS[-1]
compiled_only = pytest.mark.skipif(len(KERNELS) == 1, reason="numba is not installed")
SAMPLE = 512  # of the compiled loop, see test_the_sizes_at_which_the_loops_change_their_way
torch_warns_about_itself = pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning")
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INF, NAN = float("inf"), float("nan")
# Around the sizes at which the loops change their way: FEW, BLOCK, the first sample, the largest sample.
WIDTHS = [1, 2, 7, 8, 9, 63, 64, 65, 511, 512, 513, 527, 528, 8191, 8192, 8193, 12544]


def bits(y: torch.Tensor) -> torch.Tensor:
    return y.view(_fast_pattern._BITS[y.dtype][0])


def selected(y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.where(mask, y, 0)


def assert_equal_routes(y: torch.Tensor, k: int) -> None:
    """Mask and output along the last dimension, compared as bits: signs of zeros and NaN payloads count."""
    mask = _pattern(y, k, y.ndim - 1)
    out = bits(selected(y, mask))
    assert (mask.sum(-1) == k).all()
    for loops in KERNELS:
        with mock.patch.object(_fast_pattern, "_kernel", lambda _, loops=loops: loops):
            assert torch.equal(_fast_pattern.pattern(y, k), mask)
            assert torch.equal(bits(_fast_pattern.activation(y, k)), out)


def assert_equal_images(y: torch.Tensor, k: int, shape: tuple[int, ...]) -> None:
    """The rows of ``y`` as images of this shape in both memory formats, outputs and derivatives, compared as bits."""
    mask = _pattern(y, k, 1).view(-1, *shape)
    images = y.view(-1, *shape)
    layout = torch.channels_last if len(shape) == 3 else torch.channels_last_3d
    upstream = images.flip(0)
    for loops in KERNELS:
        with mock.patch.object(_fast_pattern, "_kernel", lambda _, loops=loops: loops):
            for layouts in ((layout, layout), (layout, torch.contiguous_format), (torch.contiguous_format, layout)):
                leaf = images.contiguous(memory_format=layouts[0]).requires_grad_()
                out = _fast_pattern.activation(leaf, k, len(shape))
                assert out.stride() == leaf.stride()
                assert torch.equal(bits(out), bits(selected(images, mask)))
                assert torch.equal(bits(_fast_pattern.activation(leaf.detach(), k, len(shape))), bits(out))
                (gradient,) = torch.autograd.grad(out, leaf, upstream.contiguous(memory_format=layouts[1]))
                assert torch.equal(bits(gradient), bits(selected(upstream, mask)))


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def rows(width: int, dtype: torch.dtype) -> torch.Tensor:
    """Rows made to break the search, each of this width."""
    generator = torch.Generator().manual_seed(width)
    place = torch.arange(width, dtype=torch.float64)
    step = max(1, width // max(1, min(width // 16, SAMPLE)))
    special = torch.tensor([INF, -INF, NAN, -NAN, 0.0, -0.0, 1.0, -1.0, 5e-324, -5e-324, 1e-40, 6e-8, -6e-8, 6e4])
    information = torch.finfo(dtype)
    huge = torch.tensor([information.max, information.min, information.tiny, -information.tiny], dtype=torch.float64)
    draws = torch.randn(width, generator=generator, dtype=torch.float64)

    def choose(values: torch.Tensor) -> torch.Tensor:
        return values[torch.randint(0, len(values), (width,), generator=generator)].double()

    table = [
        draws,
        draws.relu(),
        choose(torch.arange(-3.0, 4.0)),
        torch.full((width,), 2.5),
        torch.full((width,), -0.0),
        torch.full((width,), NAN),
        torch.full((width,), -INF),
        choose(special),
        choose(torch.tensor([0.0, -0.0])),
        choose(torch.tensor([NAN, 1.0])),
        choose(huge),
        draws.sort().values,
        draws.sort(descending=True).values,
        torch.minimum(place, width - 1 - place),  # organ pipe
        place % step,  # the sample sees all residues or one, after the shift between rows
        (7 * (place // step) + place) % step == 0,  # exactly the entries that the sample of the first row sees
        torch.where(place % 3 == 0, draws * 1e-3 + 1, draws * 1e3),  # a cluster of a third among far entries
        torch.exp2(-place % 1000),  # equal numbers in all binades: interpolation between counts misleads
    ]
    return torch.stack([row.double() for row in table]).to(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("width", WIDTHS)
def test_equals_the_operations_of_torch(width: int, dtype: torch.dtype) -> None:
    y = rows(width, dtype)
    for k in {1, min(2, width), max(1, width // 10), max(1, width // 2), max(1, width - 1), width}:
        assert_equal_routes(y, k)


@pytest.mark.parametrize("dtype", FLOATS)
def test_many_rows_with_and_without_ties(dtype: torch.dtype) -> None:
    for width, count in ((6272, 40), (300, 400), (17, 2000), (3, 5000)):
        y = normal(count, width, dtype=dtype)
        for ratio in (0.01, 0.1, 0.5, 0.9):
            for values in (y, (4 * y).round(), (0.5 * y).round()):
                assert_equal_routes(values, max(1, int(ratio * width)))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(2, 4, 4), (3, 5, 7), (64, 2, 2), (16, 1, 1), (1, 4, 4), (7, 9, 9), (3, 2, 4, 5)])
def test_images_in_both_memory_formats(
    shape: tuple[int, ...], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fast_pattern, "SMALLEST", 1)
    width = math.prod(shape)
    for k in {1, max(1, width // 10), max(1, width // 2), width}:
        assert_equal_images(rows(width, dtype), k, shape)
        assert_equal_images(normal(20, width, dtype=dtype).round(), k, shape)


@given(st.sampled_from(FLOATS).flatmap(layer_outputs_and_winners))
@settings(max_examples=150, deadline=None)
def test_equals_on_layers_made_to_break_an_activation(case: tuple[torch.Tensor, int]) -> None:
    y, k = case
    assert_equal_routes(y, k)
    reference = torch.tensor(reference_kwta(y.tolist(), k), dtype=y.dtype)
    assert torch.equal(_fast_pattern.activation(y, k).nan_to_num(7.5), reference.nan_to_num(7.5))


@given(
    st.sampled_from(FLOATS),
    st.lists(st.floats(width=16), min_size=1, max_size=12),
    st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5)),
    st.integers(0, 2**32 - 1),
    st.floats(0, 1),
)
@settings(max_examples=150, deadline=None)
def test_equals_on_any_image(
    dtype: torch.dtype, pool: list[float], shape: tuple[int, int, int], seed: int, share: float
) -> None:
    width = math.prod(shape)
    choice = torch.randint(0, len(pool), (3, width), generator=torch.Generator().manual_seed(seed))
    with mock.patch.object(_fast_pattern, "SMALLEST", 1):
        assert_equal_images(torch.tensor(pool)[choice].to(dtype), max(1, math.ceil(share * width)), shape)


@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40),
    st.integers(1, 1100),
    st.integers(0, 2**32 - 1),
    st.floats(0, 1),
)
@settings(max_examples=150, deadline=None)
def test_equals_on_any_bits(pool: list[int], width: int, seed: int, share: float) -> None:
    # Few different 32-bit patterns, NaNs with payloads among them, so that ties across the boundary are the rule.
    values = torch.tensor([p - 2**32 if p >= 2**31 else p for p in pool], dtype=torch.int32).view(torch.float32)
    y = values[torch.randint(0, len(pool), (3, width), generator=torch.Generator().manual_seed(seed))]
    assert_equal_routes(y, max(1, math.ceil(share * width)))


def passes(y: torch.Tensor, k: int) -> int:
    _, infinity = _fast_pattern._BITS[y.dtype]
    out, marks = torch.empty_like(y), torch.empty(y.shape, dtype=torch.uint8)
    return int(kernel.rows(bits(y).numpy(), bits(out).numpy(), marks.numpy(), infinity, k, 1))


@compiled_only
def test_the_sizes_at_which_the_loops_change_their_way() -> None:
    assert (kernel.FEW, kernel.BLOCK, kernel.SAMPLE, 16 * kernel.SMALLEST_SAMPLE) == (8, 64, SAMPLE, 512)


@compiled_only
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("width", [512, 8192, 12544])
def test_no_row_is_read_more_often_than_the_bits_allow(width: int, dtype: torch.dtype) -> None:
    bound = 2 * torch.finfo(dtype).bits + math.log2(width)
    y = rows(width, dtype)
    assert max(passes(y, k) for k in (1, 2, width // 10, width // 2, width - 1, width)) <= bound
    # The sample and the interpolation earn their keep: without them it would be one pass per bit of the keys inside.
    if width >= 8192:
        assert passes(normal(20, width, dtype=dtype), width // 10) <= 13


@pytest.mark.parametrize("loops", KERNELS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_order_of_the_keys(loops: Any, dtype: torch.dtype) -> None:
    tiny = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    y = torch.tensor([-INF, -1.0, -tiny, -0.0, tiny, 1.0, INF, NAN, 0.0, -NAN], dtype=dtype)
    array, infinity = bits(y).numpy(), _fast_pattern._BITS[dtype][1]
    if loops is _fast_pattern_numpy:
        keys = loops.order(array, infinity)
    else:
        keys = torch.empty_like(bits(y)).numpy()
        loops.order(array, infinity, keys)
    ordered = keys.astype(object)  # Python's integers, whose differences do not overflow
    assert (ordered[1:8] > ordered[:7]).all()
    assert keys[3] == keys[8]
    assert keys[7] == keys[9] == torch.iinfo(bits(y).dtype).max
    assert keys[0] > torch.iinfo(bits(y).dtype).min


@compiled_only
def test_a_rank_that_is_not_among_the_keys() -> None:
    with pytest.raises(RuntimeError, match="no k-th largest among the keys"):
        kernel.kth_of_few(torch.tensor([1, 2]).numpy(), 5)


@compiled_only
def test_compiles_where_nothing_can_be_kept_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(cache: bool = False, **options: Any) -> Callable[[Any], Any]:
        def decorate(function: Any) -> Any:
            if cache:
                raise RuntimeError("cannot cache function: no locator available")
            return function, options

        return decorate

    monkeypatch.setattr(importlib.import_module("numba"), "njit", njit)
    assert kernel.compiled(rows) == (rows, {"nogil": True, "error_model": "numpy"})


# --- derivatives ------------------------------------------------------------------------------------------------------


def slow_kwta(y: torch.Tensor, k: int) -> torch.Tensor:
    return torch.where(_pattern(y.detach(), k, y.ndim - 1), y, 0)


def is_fast(out: torch.Tensor) -> bool:
    return type(out.grad_fn).__name__ == "_ActivationBackward"


@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_are_selected_and_not_multiplied(dtype: torch.dtype) -> None:
    y = rows(512, dtype).requires_grad_()
    upstream = rows(512, dtype).flip(1)
    out = kwta(y, 51)
    assert is_fast(out)
    (gradient,) = torch.autograd.grad(out, y, upstream)
    (expected,) = torch.autograd.grad(slow_kwta(y, 51), y, upstream)
    assert torch.equal(bits(gradient), bits(expected))
    # Negative control: the losers of these rows do have gradients that a product would turn into NaN.
    assert (upstream * activation_pattern(y, 51)).isnan().sum() > gradient.isnan().sum()


def test_gradients_of_any_layout() -> None:
    y = normal(512, 32).requires_grad_()
    mask = activation_pattern(y, 3).float()
    kwta(y, 3).sum().backward()  # an upstream gradient of one number, with strides 0
    assert y.grad is not None
    assert torch.equal(y.grad, mask)
    upstream = normal(32, 512).t()
    (gradient,) = torch.autograd.grad(kwta(y, 3), y, upstream)
    assert torch.equal(gradient, upstream * mask)


def test_second_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fast_pattern, "SMALLEST", 1)
    order = torch.randperm(48, generator=torch.Generator().manual_seed(3))
    y = (order.double() / 8 - 3).reshape(3, 16).requires_grad_()
    assert is_fast(kwta(y, 5))
    assert torch.autograd.gradcheck(lambda y: kwta(y, 5), (y,), check_batched_grad=True)
    assert torch.autograd.gradgradcheck(lambda y: kwta(y, 5) ** 3, (y,))
    # The derivative of the selection in the backward pass, and of that one again.
    upstream = torch.full_like(y, INF).requires_grad_()
    (first,) = torch.autograd.grad(kwta(y, 5), y, upstream, create_graph=True)
    (second,) = torch.autograd.grad(first, upstream, 2 * torch.ones_like(first).requires_grad_(), create_graph=True)
    assert torch.equal(second, 2.0 * activation_pattern(y, 5))
    assert second.requires_grad
    hessian = torch.autograd.functional.hessian(lambda y: (kwta(y, 5) ** 3).sum(), y.detach()).reshape(48, 48)
    assert torch.equal(hessian, torch.diag((6 * kwta(y, 5)).flatten()).detach())


def test_many_gradients_at_once() -> None:
    y = normal(256, 16).requires_grad_()
    out, upstream = kwta(y, 3), normal(5, 256, 16)
    assert is_fast(out)
    (batch,) = torch.autograd.grad(out, y, upstream, is_grads_batched=True)
    assert torch.equal(batch, upstream * activation_pattern(y, 3))


def test_the_machinery_of_autograd() -> None:
    y = normal(64, 128).requires_grad_()
    expected = 3.0 * activation_pattern(y, 12)
    with torch.autograd.graph.save_on_cpu():
        out = 3 * kwta(y, 12)
    assert torch.equal(torch.autograd.grad(out.sum(), y)[0], expected)
    for reentrant in (False, True):
        out = checkpoint(lambda y: 3 * kwta(y, 12), y, use_reentrant=reentrant)
        y.grad = None
        out.sum().backward()
        assert torch.equal(y.grad, expected)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow
        with torch.autograd.detect_anomaly():
            out = kwta(y, 12)
            assert torch.equal(torch.autograd.grad(out.mul_(3).sum(), y)[0], expected)
    across = kwta(y.t(), 12, dim=0)
    assert torch.equal(torch.autograd.grad(across.mul_(3).sum(), y)[0], expected)


def test_without_a_gradient_there_is_no_graph() -> None:
    y = normal(64, 128)
    assert kwta(y, 12).grad_fn is None
    with torch.no_grad():
        assert kwta(y.clone().requires_grad_(), 12).grad_fn is None
    with torch.inference_mode():
        inside = normal(64, 128)
        assert _fast_pattern.usable(inside)
        assert torch.equal(kwta(inside, 12), slow_kwta(y, 12))
    assert torch.equal(kwta(inside, 12), slow_kwta(y, 12))
    assert torch.equal(kwta(torch.nn.Parameter(y), 12), slow_kwta(y, 12))


# --- layouts ----------------------------------------------------------------------------------------------------------


def test_layouts_and_dimensions() -> None:
    y = (3 * normal(8, 20, 60)).round()
    views = (y, y.transpose(0, 2), y[:, ::2], y[..., 3:40], y[:1].expand(8, 20, 60), y[:, :, :1].expand(8, 20, 60))
    for view in views:
        for dim in range(3):
            k = max(1, view.shape[dim] // 4)
            leaf = view.detach().requires_grad_()
            out = kwta(leaf, k, dim)
            mask = _pattern(view, k, dim)
            assert torch.equal(out, selected(view, mask))
            assert torch.equal(activation_pattern(view, k, dim), mask)
            assert torch.equal(torch.autograd.grad(out.sum(), leaf)[0], mask.float())


def test_channels_last_images_have_the_ties_of_their_units() -> None:
    y = (2 * normal(6, 16, 8, 8)).round().requires_grad_()
    expected = slow_kwta(y.flatten(1), 102).reshape(y.shape)
    last = y.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    out = KWTA(0.1)(last)
    assert torch.equal(out, expected)
    assert out.stride() == last.stride(), "no conversion, here and in the next layer"
    assert torch.equal(torch.autograd.grad(out.sum(), last)[0], (expected != 0).float())
    # Negative control: the order of memory would have given other winners.
    memory = slow_kwta(last.permute(0, 2, 3, 1).flatten(1), 102).reshape(6, 8, 8, 16).permute(0, 3, 1, 2)
    assert not torch.equal(memory, expected)


# --- what the route must leave alone ----------------------------------------------------------------------------------


class Subclass(torch.Tensor):
    pass


def lazily_negated() -> torch.Tensor:
    return torch._neg_view(normal(64, 128))


REFUSED = {
    "too small": lambda: normal(1, 4095),
    "subclass": lambda: normal(64, 128).as_subclass(Subclass),
    "integers": lambda: torch.arange(8192).view(64, 128),
    "another device": lambda: torch.empty(64, 128, device="meta"),
    "lazily negated": lazily_negated,
    "lazily zero": lambda: torch._efficientzerotensor((64, 128)),
    "sparse": lambda: torch.eye(128).to_sparse(),
    "a list": lambda: [1.0] * 8192,
}


@pytest.mark.parametrize("name", REFUSED)
def test_tensors_that_are_refused(name: str) -> None:
    assert not _fast_pattern.usable(REFUSED[name]())  # type: ignore[arg-type]


def test_a_lazily_negated_tensor_is_right() -> None:
    assert torch.equal(kwta(lazily_negated(), 12), slow_kwta(-normal(64, 128), 12))


class Watch(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "watch",
    [Watch, BaseTorchFunctionMode, FakeTensorMode, forward_ad.dual_level, lambda: torch.device("cpu")],
    ids=["dispatch mode", "function mode", "fake tensors", "dual numbers", "default device"],
)
@torch_warns_about_itself
def test_whatever_watches_operations_sees_them(watch: Callable[[], Any]) -> None:
    y = normal(64, 128)
    assert _fast_pattern.usable(y)
    with watch():
        assert not _fast_pattern.usable(y)
    assert _fast_pattern.usable(y)


@pytest.mark.parametrize(
    "name", ["peek_interpreter_stack", "_len_torch_dispatch_stack", "_current_level", "_dispatch_keys"]
)
def test_without_the_private_names_of_torch_the_route_is_closed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner in (torch._C._functorch, torch._C, forward_ad):
        monkeypatch.delattr(owner, name, raising=False)
    assert not _fast_pattern.usable(normal(64, 128))


def test_backward_under_a_mode() -> None:
    y = normal(64, 128).requires_grad_()
    out = kwta(y, 12)
    with Watch():
        out.sum().backward()
    assert y.grad is not None
    assert torch.equal(y.grad, activation_pattern(y, 12).float())


@torch_warns_about_itself
def test_forward_mode_derivatives_of_wide_layers() -> None:
    y, tangent = normal(64, 128), normal(64, 128).flip(0)
    expected = tangent * activation_pattern(y, 12)
    with forward_ad.dual_level():
        dual = kwta(forward_ad.make_dual(y, tangent), 12)
        assert torch.equal(forward_ad.unpack_dual(dual).tangent, expected)
    out, derivative = torch.func.jvp(lambda y: kwta(y, 12), (y,), (tangent,))
    assert torch.equal(out, kwta(y, 12))
    assert torch.equal(derivative, expected)
    # Forward over reverse: the level is entered after the graph was made.
    leaf = y.clone().requires_grad_()
    out = kwta(leaf, 12)
    assert is_fast(out)
    with forward_ad.dual_level():
        upstream = forward_ad.make_dual(torch.ones_like(y), tangent)
        (gradient,) = torch.autograd.grad(out, leaf, upstream)
        assert torch.equal(forward_ad.unpack_dual(gradient).tangent, expected)


@pytest.mark.parametrize(
    "transform", [torch.func.vmap, torch.func.grad, torch.func.jacrev, torch.func.functionalize, _vmap]
)
def test_inside_a_transform(transform: Callable[..., Any]) -> None:
    answers = []

    def function(y: torch.Tensor) -> torch.Tensor:
        answers.append(_fast_pattern.usable(y))
        return y.sum()

    y = normal(2, 8192)
    assert _fast_pattern.usable(y)
    transform(function)(y)
    assert answers == [False]


@torch_warns_about_itself
def test_transforms_of_wide_layers() -> None:
    y = normal(3, 8192)
    assert torch.equal(torch.func.vmap(lambda row: kwta(row, 800))(y), slow_kwta(y, 800))
    gradient = torch.func.grad(lambda y: kwta(y, 800).sum())(y)
    assert torch.equal(gradient, activation_pattern(y, 800).float())
    assert torch.equal(torch.func.functionalize(lambda y: kwta(y, 800))(y), slow_kwta(y, 800))


@torch_warns_about_itself
@pytest.mark.parametrize("pre_dispatch", [False, True])
def test_traces_hold_no_constant(pre_dispatch: bool) -> None:
    y, other = normal(64, 128), -normal(64, 128)
    graph = make_fx(lambda y: kwta(y, 12), pre_dispatch=pre_dispatch)(y)
    assert torch.equal(graph(other), slow_kwta(other, 12))


@torch_warns_about_itself
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_traced_layers() -> None:
    y, other = normal(64, 128), -normal(64, 128)
    traced = torch.jit.trace(lambda y: kwta(y, 12), (y,))
    assert torch.equal(traced(other), slow_kwta(other, 12))


@torch_warns_about_itself
def test_compiled_and_exported_layers() -> None:
    y, other = normal(64, 128), -normal(64, 128)
    compiled = torch.compile(lambda y: kwta(y, 12), backend="aot_eager", fullgraph=True)
    leaf = y.clone().requires_grad_()
    assert torch.equal(compiled(leaf), slow_kwta(y, 12))
    assert torch.equal(torch.autograd.grad(compiled(leaf).sum(), leaf)[0], activation_pattern(y, 12).float())
    exported = torch.export.export(KWTA(0.1), (y,)).module()
    assert torch.equal(exported(other), slow_kwta(other, 12))


def test_autocast() -> None:
    y, weight = normal(64, 128), normal(128, 128).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        before = y @ weight
        out = kwta(before, 12)
    assert out.dtype == torch.bfloat16
    assert is_fast(out)
    assert torch.equal(out, slow_kwta(before, 12))
    out.float().sum().backward()
    (expected,) = torch.autograd.grad(slow_kwta((y.bfloat16() @ weight.bfloat16()), 12).float().sum(), weight)
    assert weight.grad is not None
    assert torch.equal(weight.grad, expected)


# --- numba, threads, processes ----------------------------------------------------------------------------------------


def test_which_loops_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = (1, _fast_pattern.SMALLEST_COMPILED - 1, _fast_pattern.SMALLEST_COMPILED, 10**6)
    for here, expected in ((True, [0, 0, -1, -1]), (False, [0, 0, 0, 0])):
        monkeypatch.setattr(_fast_pattern, "installed", lambda here=here: here and len(KERNELS) == 2)
        assert [_fast_pattern._kernel(width) for width in widths] == [KERNELS[i] for i in expected]


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fast_pattern, "installed", lambda: False)
    monkeypatch.setattr(_fast_pattern_numpy, "rows", mock.Mock(wraps=_fast_pattern_numpy.rows))
    monkeypatch.setattr(_fast_pattern_numpy, "masked", mock.Mock(wraps=_fast_pattern_numpy.masked))
    y = normal(8, 1024).requires_grad_()
    out = kwta(y, 12)
    assert is_fast(out)
    assert torch.equal(out, slow_kwta(y, 12))
    assert torch.equal(torch.autograd.grad(out.sum(), y)[0], activation_pattern(y, 12).float())
    assert _fast_pattern_numpy.rows.call_count == 2  # type: ignore[attr-defined]
    assert _fast_pattern_numpy.masked.call_count == 1  # type: ignore[attr-defined]


@compiled_only
def test_whether_numba_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    numba = importlib.import_module("numba")
    assert _fast_pattern.installed.__wrapped__()
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert not _fast_pattern.installed.__wrapped__()
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "numba", None)
    assert not _fast_pattern.installed.__wrapped__()


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Work for threads already in small tensors; returns how many were asked for at every call."""
    asked: list[int] = []

    def pool(count: int) -> concurrent.futures.ThreadPoolExecutor:
        asked.append(count)
        return original(count)

    original = _fast_pattern._threads
    monkeypatch.setattr(_fast_pattern, "_PER_THREAD", 1024)
    monkeypatch.setattr(_fast_pattern, "_threads", pool)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    return asked


def test_threads_change_nothing_but_the_time(four_threads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    y = (3 * normal(37, 200)).round().requires_grad_()
    gradients = [torch.autograd.grad(kwta(y, 20), y, normal(37, 200))[0]]
    assert four_threads == [4, 4]
    kwta(y[:3].detach().repeat(1, 20), 20)
    assert four_threads.pop() == 3, "no more than rows"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    gradients.append(torch.autograd.grad(kwta(y, 20), y, normal(37, 200))[0])
    assert four_threads == [4, 4], "one thread is the caller's"
    assert torch.equal(*gradients)


def test_callers_in_several_threads(four_threads: list[int]) -> None:
    layers = [normal(40, 300) * sign for sign in (1, -1)] * 8
    with concurrent.futures.ThreadPoolExecutor(4) as callers:
        for y, out in zip(layers, callers.map(lambda y: kwta(y, 30), layers), strict=True):
            assert torch.equal(out, slow_kwta(y, 30))
    assert four_threads == [4] * 16


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork(four_threads: list[int]) -> None:
    y = normal(40, 300)
    expected = _fast_pattern.pattern(y, 30)
    child = os.fork()
    if not child:
        signal.alarm(30)  # a child that waits for threads of its parent ends here
        same = bool((_fast_pattern.pattern(y, 30).numpy() == expected.numpy()).all())
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert four_threads == [4]
