"""Every kernel on fake CUDA tensors: a hidden host synchronisation or a tensor on the wrong device is an error here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.overrides import TorchFunctionMode

from kwta_theory.seeding import Stream
from kwta_theory.simulation import kernels, winners
from kwta_theory.simulation.bernoulli import binary_factor, trial_flags
from kwta_theory.simulation.drawing import Layer
from kwta_theory.simulation.fitting import fit


class PlainIndexing(TorchFunctionMode):
    """Spell ``a[...]`` and ``~a`` by the operators behind them.

    Python's own bindings of these look for a CUDA driver before fake tensors are asked, and a build of torch for the
    CPU has none.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__invert__:
            return torch.bitwise_not(*args)
        if func is torch.Tensor.__getitem__:
            return self.item(*args)
        if func is torch.Tensor.__setitem__:
            write = torch.ops.aten.copy_ if isinstance(args[2], torch.Tensor) else torch.ops.aten.fill_
            return write(self.item(args[0], args[1]), args[2])
        return func(*args, **(kwargs or {}))

    def item(self, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        index = index if isinstance(index, tuple) else (index,)
        named = sum(part is not None and part is not Ellipsis for part in index)
        fill = [slice(None)] * (tensor.ndim - named)
        parts = [p for part in index for p in (fill if part is Ellipsis else [part])]
        dim, tensors = 0, [None] * tensor.ndim
        for part in parts:
            if part is None:
                tensor = tensor.unsqueeze(dim)
                tensors.insert(dim, None)
            elif isinstance(part, int):
                tensor = tensor.select(dim, part)
                tensors.pop(dim)
                continue
            elif isinstance(part, slice):
                start, stop, step = part.indices(tensor.shape[dim])
                tensor = torch.ops.aten.slice(tensor, dim, start, stop, step)
            else:
                tensors[dim] = part
            dim += 1
        return torch.ops.aten.index(tensor, tensors) if any(part is not None for part in tensors) else tensor


@contextlib.contextmanager
def fake_device() -> Iterator[None]:
    with FakeTensorMode(), PlainIndexing():
        yield


def cuda(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype, device="cuda")


def lists(*shape: int) -> torch.Tensor:
    return cuda(*shape, dtype=torch.int64)


KERNELS: dict[str, tuple[Callable[[], object], tuple[int, ...]]] = {
    "threshold": (lambda: kernels.threshold(cuda(4, 9), 3), (4, 1)),
    "winner_mask": (lambda: kernels.winner_mask(cuda(4, 9), 3), (4, 9)),
    "winners_of": (lambda: kernels.winners_of(cuda(4, 9), 3), (4, 3)),
    "merge_winners": (
        lambda: kernels.merge_winners(cuda(4, 3), cuda(4, 3, dtype=torch.int32), cuda(4, 9), 5, 3),
        (4, 3),
    ),
    "keeps_pattern": (lambda: kernels.keeps_pattern(cuda(4, 9, dtype=torch.bool), cuda(4, 9), 0.0), (4,)),
    "keeps_pattern, margin": (lambda: kernels.keeps_pattern(cuda(4, 9, dtype=torch.bool), cuda(4, 9), 0.5), (4,)),
    "mask_overlaps": (lambda: kernels.mask_overlaps(cuda(2, 4, 9, dtype=torch.bool)), (2, 4, 4)),
    "compress": (lambda: kernels.compress(lists(2, 4, 3), 100)[0], (2, 4, 3)),
    "index_overlaps": (lambda: kernels.index_overlaps(lists(4, 3), 12, 5), (4, 4)),
    "histogram": (lambda: kernels.histogram(lists(2, 4, 4), 3), (4,)),
    "off_diagonal_maximum": (lambda: kernels.off_diagonal_maximum(lists(2, 4, 4)), (2,)),
    "fit": (lambda: fit(lists(2, 4, 3), cuda(2, 4, 3), 12, cuda(4), cuda(4)), (2,)),
    "binary_factor, gram": (lambda: binary_factor(cuda(4, 9), "gram"), (4, 4)),
    "binary_factor, dense": (lambda: binary_factor(cuda(4, 9), "dense"), (4, 9)),
    "trial_flags": (lambda: trial_flags(lists(4, 4), lists(4), cuda(4, dtype=torch.bool), 3), (3,)),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_stays_on_the_device(name):
    kernel, shape = KERNELS[name]
    with fake_device():
        result = kernel()
    parts = result if isinstance(result, tuple) else (result,)
    assert all(part.device.type == "cuda" for part in parts)
    assert tuple(parts[0].shape) == shape


@pytest.mark.parametrize("width", [50, 3000])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_a_whole_tile_of_a_narrow_and_of_a_streamed_layer(monkeypatch, width, dtype):
    def fake_normals(self, index, shape, device, dtype):
        return torch.zeros(shape, dtype=dtype, device=device)

    monkeypatch.setattr(Stream, "normals", fake_normals)
    with fake_device():
        layer = Layer(cuda(5, 4, dtype=dtype), width, Stream(0, "x"), 2**10, (slice(0, 3), slice(3, 5)))
        assert layer.narrow == (width == 50)
        plan = winners.Plan(layer, 2, [slice(0, 4), slice(4, 5)] if width == 3000 else [slice(None)], 4)
        trials = layer.trials_per_tile
        assert plan.overlaps(0).shape == (trials, 5, 5)
        indices, values = plan.winners(0)
        assert indices.shape == values.shape == (trials, 5, 2)
        for tensor in (plan.overlaps(0), indices, values):
            assert tensor.device.type == "cuda"
        kept = kernels.keeps_pattern(kernels.winner_mask(layer.outputs(0)[:, :1], 2), layer.outputs(0), 0.0)
        assert kept.device.type == "cuda"


def test_negative_control_a_planted_synchronisation_is_caught():
    with fake_device(), pytest.raises(DataDependentOutputException):
        kernels.winner_mask(cuda(4, 9), 3).sum().item()


def test_negative_control_a_planted_branch_on_data_is_caught():
    with fake_device(), pytest.raises(DataDependentOutputException):
        bool((kernels.threshold(cuda(4, 9), 3) > 0).any())


def test_negative_control_a_planted_search_for_the_true_entries_is_caught():
    """Its shape is known only after the device has been read."""
    with fake_device(), pytest.raises(DynamicOutputShapeException):
        torch.ops.aten.nonzero(kernels.winner_mask(cuda(4, 9), 3))


def test_indexing_by_operators_is_indexing():
    y = torch.arange(24).reshape(2, 3, 4)
    rows = torch.tensor([2, 0])
    with PlainIndexing():
        found = [y[1], y[..., 1:], y[:, None], y[:, rows], y[0, 1:3], y[None, :, 1], ~(y > 3), y[:, :, rows][0]]
        z = y.clone()
        z[..., 2:] = 0
    expected = [y[1], y[..., 1:], y[:, None], y[:, rows], y[0, 1:3], y[None, :, 1], ~(y > 3), y[:, :, rows][0]]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert z[..., 2:].eq(0).all()
    assert z.ne(0).sum() == 11


def test_negative_control_a_planted_tensor_on_the_cpu_is_caught():
    with (
        fake_device(),
        pytest.raises(RuntimeError, match="all tensors to be on the same device"),
    ):
        kernels.merge_winners(cuda(4, 3), torch.zeros(4, 3, dtype=torch.int32), cuda(4, 9), 5, 3)
