"""Streams: reproducible, independent of one another, and without a trace in anybody's global state."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from kwta_theory import seeding, simulation
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.seeding import Stream, available_devices, derive, resolve_device

CPU = torch.device("cpu")


def draw(stream: Stream, *index: int, count: int = 1000) -> torch.Tensor:
    return stream.normals(index, (count,), CPU, torch.float64)


def test_the_same_names_give_the_same_numbers_in_another_process():
    code = (
        "from kwta_theory.seeding import Stream, derive\n"
        "print(Stream(5, 'layer').generator(3, 1).standard_normal(), derive(5, 'layer', 3))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert float(said[0]) == Stream(5, "layer").generator(3, 1).standard_normal()
    assert int(said[1]) == derive(5, "layer", 3)


def test_numbers_are_pinned():
    """A change here changes every published count: it needs a line in the changelog."""
    assert derive(0, "layer", 1) == 801130675755928199
    assert Stream(0, "layer").generator(0).standard_normal() == -0.9813801736368682


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((Stream(0, "layer"), (0,)), (Stream(1, "layer"), (0,))),
        ((Stream(0, "layer"), (0,)), (Stream(0, "inputs"), (0,))),
        ((Stream(0, "layer"), (0,)), (Stream(0, "layer"), (1,))),
        ((Stream(0, "layer"), (0,)), (Stream(0, "layer"), (0, 0))),
        ((Stream(0, "layer"), (2**32,)), (Stream(0, "layer"), (0, 1))),  # the same 32-bit words in another order
        ((Stream(0, "layer"), (1, 0)), (Stream(0, "layer"), (0, 1))),
    ],
)
def test_other_names_give_uncorrelated_numbers(left, right):
    n = 20_000
    a, b = draw(left[0], *left[1], count=n), draw(right[0], *right[1], count=n)
    assert abs(float((a * b).sum())) < 4.6 * n**0.5  # variance of a product of independent normals is 1
    assert abs(float((a * a).sum())) > 4.6 * n**0.5  # negative control: a stream with itself


def test_normals_are_rounded_from_double_precision():
    fine = draw(Stream(0, "x"), 0)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        assert torch.equal(Stream(0, "x").normals((0,), (1000,), CPU, dtype), fine.to(dtype))


def test_uniforms():
    u = Stream(0, "x").uniforms((0,), (10_000,), CPU)
    assert u.dtype == torch.float64
    assert 0 <= float(u.min()) <= float(u.max()) < 1
    assert abs(float(u.mean()) - 0.5) < 4.6 / (12 * 10_000) ** 0.5


def test_a_device_other_than_the_cpu_gets_a_generator_of_torch(monkeypatch):
    made = []

    class Generator:
        def __init__(self, device):
            self.device, self.seeds = device, []
            made.append(self)

        def manual_seed(self, seed):
            self.seeds.append(seed)

    monkeypatch.setattr(seeding.torch, "Generator", Generator)
    first = Stream(0, "x").generator(0, device="cuda")
    Stream(0, "x").generator(1, device="cuda")
    assert first is made[0]
    assert made[0].device == torch.device("cuda")
    assert made[0].seeds != made[1].seeds
    assert made[0].seeds == [int(Stream(0, "x").sequence(0).generate_state(1, np.uint64)[0])]


def test_derive_depends_on_every_label_its_type_and_the_order():
    seeds = [
        derive(0),
        derive(1),
        derive(0, "a"),
        derive(0, "b"),
        derive(0, "a", "b"),
        derive(0, "b", "a"),
        derive(0, "ab"),
    ]
    seeds += [derive(0, 1), derive(0, "1")]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_nobodys_global_state_is_touched():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    settings = (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled())
    points = np.eye(3)
    simulation.same_pattern(20, 2, 0.5, 50, workers=2)
    simulation.disjoint_patterns(20, 2, trials=50, points=points)
    simulation.interpolation(20, 2, [1, 2, 3], 10, points=points)
    simulation.distinct_patterns(20, 2, 10, 3, 0.5, 10)
    simulation.pattern_change(20, 2, [1, 0], [0, 1], 0.1, 10)
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    assert after == before
    assert (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()) == settings


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (1.5, 0), ("0", 0), (True, 0), (0, -1), (0, 2**64)])
def test_bad_seed_or_index(seed, index):
    with pytest.raises(InvalidArgumentError, match=r"(seed|index)=.* is not allowed"):
        Stream(seed, "x").generator(index)


def pretend(monkeypatch, *, cuda: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "dtype", "expected"),
    [
        (0, False, torch.float64, "cpu"),
        (2, True, torch.float64, "cuda:0"),
        (0, True, torch.float32, "mps"),
        (0, True, torch.float64, "cpu"),
    ],
)
def test_auto_takes_cuda_then_mps_where_the_dtype_allows_then_the_cpu(monkeypatch, cuda, mps, dtype, expected):
    pretend(monkeypatch, cuda=cuda, mps=mps)
    assert resolve_device("auto", dtype) == torch.device(expected)


def test_a_device_by_name(monkeypatch):
    pretend(monkeypatch, cuda=2)
    assert available_devices() == ["cuda:0", "cuda:1", "cpu"]
    assert resolve_device("cuda") == torch.device("cuda")
    assert resolve_device(torch.device("cuda:1")) == torch.device("cuda:1")
    with pytest.raises(
        InvalidArgumentError, match=r"device='cuda:2' is not there: .*'auto' or one of cuda:0, cuda:1, cpu"
    ):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["cuda", "mps", "meta", "quantum", 3.5])
def test_a_device_that_is_not_there(monkeypatch, name):
    pretend(monkeypatch)
    with pytest.raises(InvalidArgumentError, match=f"device='{name}' is not there: it must be 'auto' or one of cpu"):
        resolve_device(name)


def test_mps_has_no_double_precision(monkeypatch):
    pretend(monkeypatch, mps=True)
    with pytest.raises(InvalidArgumentError, match=r"device='mps' has no torch\.float64"):
        resolve_device("mps")
    assert resolve_device("mps", torch.float32) == torch.device("mps")
