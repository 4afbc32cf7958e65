"""KWTA and LWTA as modules."""

from __future__ import annotations

import copy
import pickle
import shutil
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from kwta_theory.activation import activation_pattern, kwta, lwta
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.modules import KWTA, LWTA


def outputs(*shape: int) -> torch.Tensor:
    return torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(0)).float()


@pytest.mark.parametrize(("ratio", "winners"), [(0.1, 12), (0.29, 34), (1 / 120, 1), (0.999, 119), (1.0, 120)])
def test_a_sample_is_one_vector_of_channels_times_height_times_width(ratio: float, winners: int) -> None:
    y = outputs(5, 6, 4, 5)  # N = 120
    out = KWTA(ratio)(y)
    assert torch.equal(out, kwta(y.reshape(5, 120), winners).reshape(y.shape))
    gradient = torch.func.grad(lambda y: KWTA(ratio)(y).sum())(y)
    assert (gradient.flatten(1).sum(1) == winners).all()


def test_the_ratio_written_in_decimals_is_the_one_that_is_meant() -> None:
    # 0.29 * 100 is 28.999999999999996 in binary.
    assert (KWTA(0.29)(torch.arange(1.0, 101.0)) != 0).sum() == 29


def test_ratio_one_is_the_identity_and_the_shape_is_kept() -> None:
    for shape in [(7,), (2, 7), (2, 3, 4), (2, 3, 4, 5), (0, 3, 4)]:
        assert torch.equal(KWTA(1)(outputs(*shape)), outputs(*shape))


def test_one_dimension_is_one_sample() -> None:
    y = outputs(10)
    assert torch.equal(KWTA(0.3)(y), kwta(y, 3))
    assert torch.equal(LWTA(5)(y), lwta(y, 5))


def test_memory_format_does_not_change_the_winners() -> None:
    y = outputs(3, 4, 5, 6)
    assert torch.equal(KWTA(0.1)(y.to(memory_format=torch.channels_last)), KWTA(0.1)(y))


def test_the_ratio_may_be_lowered_between_steps() -> None:
    module, y = KWTA(0.5), outputs(2, 10)
    module.sparsity_ratio = 0.2
    assert torch.equal(module(y), kwta(y, 2))
    assert module.sparsity_ratio == 0.2
    with pytest.raises(InvalidArgumentError, match=r"sparsity_ratio=2 is not allowed"):
        module.sparsity_ratio = 2


@pytest.mark.parametrize("ratio", [0, -0.1, 1.5, float("nan"), "many"])
def test_ratio_outside_its_range(ratio: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"sparsity_ratio=.* must be a finite number in \(0, 1\]"):
        KWTA(ratio)


def test_no_winner_is_an_error_with_width_and_ratio() -> None:
    with pytest.raises(InvalidArgumentError, match=r"sparsity_ratio=0.01 of width=60 leaves floor\(0.6\) = 0 winners"):
        KWTA(0.01)(torch.ones(2, 3, 4, 5))


@pytest.mark.parametrize("module", [KWTA(0.5), LWTA(2)])
@pytest.mark.parametrize("y", [torch.tensor(1.0), [1.0, 2.0]])
def test_inputs_without_a_dimension(module: nn.Module, y: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="takes a tensor of at least one dimension"):
        module(y)


def test_modules_stay_on_the_device_without_reading_a_value_back() -> None:
    with FakeTensorMode():
        out = LWTA(2)(KWTA(0.1)(torch.empty(5, 4, 3, 3, device="cuda")))
        assert (out.device.type, out.shape) == ("cuda", (5, 4, 3, 3))


def test_groups_are_consecutive_channels() -> None:
    y = outputs(2, 6, 3, 3)
    out = LWTA(3)(y)
    for group in (slice(0, 3), slice(3, 6)):
        assert torch.equal(out[:, group], kwta(y[:, group], 1, dim=1))
    assert torch.equal(LWTA(3)(y[:, :, 0, 0]), lwta(y[:, :, 0, 0], 3))
    assert torch.equal(LWTA(1)(y), y)


def test_bad_groups() -> None:
    with pytest.raises(InvalidArgumentError, match="group_size=0 is not allowed"):
        LWTA(0)
    with pytest.raises(InvalidArgumentError, match="group_size=4 does not divide width=6"):
        LWTA(4)(outputs(2, 6, 4, 4))


def groups_one_by_one(y: torch.Tensor, size: int) -> torch.Tensor:
    """Along dimension 1: of every ``size`` channels in a row, and of those that are left, the first largest."""
    out = torch.zeros_like(y)
    for start in range(0, y.shape[1], size):
        group = y[:, start : start + size]
        best = group.argmax(1, keepdim=True)  # the first of equals, on a CPU
        out[:, start : start + size] = torch.zeros_like(group).scatter(1, best, group.gather(1, best))
    return out


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 7, 10, 13, 14, 1000])
@pytest.mark.parametrize("shape", [(2, 13), (3, 13, 4), (2, 13, 3, 5), (2, 1, 4, 4), (0, 13, 2)])
def test_the_last_group_may_be_smaller(shape: tuple[int, ...], size: int) -> None:
    y = outputs(*shape)  # with many ties
    module = LWTA(size, partial_group=True)
    assert torch.equal(module(y), groups_one_by_one(y, size) if y.numel() else y)
    ones = torch.func.grad(lambda y: module(y).sum())(y)
    assert (ones.sum(1) == -(-shape[1] // size)).all(), "one winner in each group"
    if shape[1] % size:
        with pytest.raises(InvalidArgumentError, match=f"group_size={size} does not divide width={shape[1]}"):
            LWTA(size)(y)
    else:
        assert torch.equal(module(y), LWTA(size)(y))


def test_the_last_group_of_a_sample_without_a_batch() -> None:
    y = torch.tensor([1.0, 3.0, 2.0, -5.0, -4.0])
    assert torch.equal(LWTA(3, partial_group=True)(y), torch.tensor([0.0, 3.0, 0.0, 0.0, -4.0]))
    assert torch.equal(LWTA(9, partial_group=True)(y), torch.tensor([0.0, 3.0, 0.0, 0.0, 0.0]))


def test_the_last_group_stays_on_the_device_and_in_its_dtype() -> None:
    with FakeTensorMode():
        out = LWTA(10, partial_group=True)(torch.empty(5, 64, 3, 3, device="cuda", dtype=torch.bfloat16))
        assert (out.device.type, out.dtype, out.shape) == ("cuda", torch.bfloat16, (5, 64, 3, 3))
    y = outputs(2, 13, 4, 4)
    module = LWTA(5, partial_group=True)
    assert torch.equal(module(y.to(memory_format=torch.channels_last)), module(y))
    assert torch.equal(module(y.double()).float(), module(y))


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (KWTA(0.1), "KWTA(sparsity_ratio=0.1)"),
        (LWTA(4), "LWTA(group_size=4)"),
        (LWTA(3, partial_group=True), "LWTA(group_size=3, partial_group=True)"),
    ],
)
def test_modules_have_no_state_and_can_be_copied_and_stored(module: nn.Module, text: str) -> None:
    y = outputs(2, 8, 5)
    assert not module.state_dict()
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert repr(twin) == text
        assert torch.equal(twin(y), module(y))


def test_training_reaches_the_weights_of_the_winners_only() -> None:
    layer = nn.Linear(3, 10)
    pattern = activation_pattern(layer(torch.ones(1, 3)), 2)[0]
    KWTA(0.2)(layer(torch.ones(1, 3))).sum().backward()
    assert layer.bias.grad is not None
    assert torch.equal(layer.bias.grad, pattern.float())


@pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning")
@pytest.mark.parametrize("shape", [(6, 40), (6, 4, 5, 7), (40,), (64, 128)])
def test_traced_modules_keep_k_and_not_the_winners(shape: tuple[int, ...]) -> None:
    module = nn.Sequential(KWTA(0.1), LWTA(2))
    y = outputs(*shape)
    with pytest.warns(torch.jit.TracerWarning, match="Converting a tensor to a Python"):  # k is a constant
        traced = torch.jit.trace(module, (y,))
    assert torch.equal(traced(-y), module(-y))
    if y.ndim > 1:
        assert torch.equal(traced(y[:3]), module(y[:3])), "the batch is no constant"


# torch scripts code of its own when the compiler is first used, and warns of having done so.
@pytest.mark.filterwarnings("ignore:.torch.jit.script.:DeprecationWarning")
@pytest.mark.skipif(shutil.which("gcc") is None and shutil.which("clang") is None, reason="torch.compile: no compiler")
@pytest.mark.parametrize("dynamic", [None, True])
def test_a_network_with_two_ratios_compiles_to_one_graph(dynamic: bool | None) -> None:
    torch.compiler.reset()  # the graphs of another run of this test would count towards torch's limit
    first = KWTA(0.5)
    network = nn.Sequential(first, KWTA(0.29), LWTA(2))
    compiled = torch.compile(network, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for shape in [(2, 100), (2, 200), (3, 40), (2, 8, 3, 3)]:
        assert torch.equal(compiled(outputs(*shape)), network(outputs(*shape)))
    first.sparsity_ratio = 0.3
    assert torch.equal(compiled(outputs(3, 40)), network(outputs(3, 40)))


@pytest.mark.filterwarnings("ignore:.torch.jit.script.:DeprecationWarning")
def test_a_smaller_last_group_compiles_to_one_graph() -> None:
    torch.compiler.reset()
    module = LWTA(3, partial_group=True)
    assert torch.equal(torch.compile(module, fullgraph=True, backend="eager")(outputs(2, 13)), module(outputs(2, 13)))
