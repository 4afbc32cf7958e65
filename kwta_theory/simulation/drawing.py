"""Drawing the outputs of Gaussian layers tile by tile, so that a result depends on the seed and the parameters only.

A TILE is what one generator draws. Its shape follows from the layer alone: never from the number of trials, the memory
budget or the workers. Narrow layers have several trials to a tile; a whole tile is always drawn and surplus trials are
dropped, so 1,000 trials are the first half of 2,000. Wide layers have one trial to a tile, whose rows come in CHUNKS
with a generator each, so that they can be drawn again in place of being kept. Matrix products have fixed shapes too
(blocks of ``POINT_BLOCK`` inputs by a chunk), since the rounding of a product may depend on its shape.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import joblib
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from kwta_theory.checks import InvalidArgumentError, check_integer
from kwta_theory.seeding import Device, Stream, resolve_device
from kwta_theory.simulation.layers import Array

Result = TypeVar("Result")

# Numbers in a tile: 2 MB in float64 stay in a CPU's cache; an accelerator needs more to be busy.
CPU_TILE = 2**18
ACCELERATOR_TILE = 2**22
POINT_BLOCK = 64
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
# What a run needs beside its tensors. Measured: the C allocator leaves holes, up to 30 MB in the smallest runs.
OVERHEAD = 32 * 2**20


@dataclass(frozen=True)
class Settings:
    """The arguments that every estimator shares, checked."""

    trials: int
    seed: int
    device: torch.device
    dtype: torch.dtype
    memory_budget: int
    workers: int

    @classmethod
    def checked(
        cls, trials: int, seed: int, device: Device, dtype: torch.dtype, memory_budget: int, workers: int
    ) -> Settings:
        """Check the arguments; on other devices than the CPU one thread feeds the queue, whatever ``workers``."""
        trials = check_integer("trials", trials, minimum=1)
        seed = check_integer("seed", seed)
        if dtype not in DTYPES:
            allowed = ", ".join(str(kind) for kind in DTYPES)
            raise InvalidArgumentError(f"dtype={dtype!r} is not allowed: it must be one of {allowed}.")
        place = resolve_device(device, dtype)
        memory_budget = check_integer("memory_budget", memory_budget, minimum=1)
        workers = check_integer("workers", workers, minimum=1)
        return cls(trials, seed, place, dtype, memory_budget, workers if place.type == "cpu" else 1)

    @property
    def share(self) -> int:
        """Bytes of the budget for the tensors of one worker."""
        return (self.memory_budget - OVERHEAD) // self.workers

    @property
    def tile(self) -> int:
        """Numbers in a tile on this device."""
        return CPU_TILE if self.device.type == "cpu" else ACCELERATOR_TILE


@dataclass(frozen=True)
class Layer:
    """Independent Gaussian layers of one width at the inputs ``factor`` (rows), drawn tile by tile.

    Args:
        factor: ``(U, columns)`` on the device and in the dtype of the run.
        width: number of rows of ``W``.
        stream: where the normals come from.
        tile: numbers in a tile.
        blocks: the inputs in groups that are multiplied together; a group always in the same shape.
        trial_size: numbers that an estimator holds for a trial, where these are more than the outputs.
    """

    factor: Tensor
    width: int
    stream: Stream
    tile: int
    blocks: tuple[slice, ...]
    trial_size: int = 0

    @classmethod
    def create(
        cls, factor: Array, width: int, settings: Settings, label: str = "layer", *, first: int = 0, trial_size: int = 0
    ) -> Layer:
        """A layer on the device of the run; the first ``first`` inputs, if any, are a block of their own."""
        if width >= 2**30:
            raise InvalidArgumentError(f"width={width} is too wide to draw: it must be below 2^30 = {2**30:,}.")
        stops = [*range(first, len(factor), POINT_BLOCK), len(factor)]
        blocks = [slice(start, stop) for start, stop in itertools.pairwise(stops)]
        if first:
            blocks.insert(0, slice(0, first))
        tensor = torch.from_numpy(factor).to(settings.dtype).to(settings.device)
        return cls(tensor, width, Stream(settings.seed, label), settings.tile, tuple(blocks), trial_size)

    @property
    def narrow(self) -> bool:
        """Whether a whole trial fits in a tile."""
        return self.width * max(self.factor.shape) <= self.tile

    @property
    def trials_per_tile(self) -> int:
        """Trials in a tile, 1 for a wide layer."""
        return max(1, self.tile // max(self.width * max(self.factor.shape), self.trial_size)) if self.narrow else 1

    @property
    def chunk(self) -> int:
        """Rows of ``W`` that are drawn and multiplied at a time."""
        points, columns = self.factor.shape
        return (
            self.width if self.narrow else min(self.width, max(1, self.tile // max(columns, min(points, POINT_BLOCK))))
        )

    def tiles(self, trials: int) -> list[tuple[int, int]]:
        """``(tile, trials taken from it)`` for the first ``trials`` trials."""
        size = self.trials_per_tile
        return [(tile, min(size, trials - tile * size)) for tile in range(-(-trials // size))]

    def outputs(self, tile: int, inputs: Sequence[slice] = (slice(None),)) -> Tensor:
        """Outputs ``W x`` of a tile at ranges of the inputs (all by default): ``(trials, inputs, width)``."""
        if self.narrow:
            product = torch.matmul(self.factor, self._normals(tile, 0, (self.trials_per_tile, -1, self.width)))
            return torch.cat([product[:, part] for part in inputs], dim=1) if len(inputs) > 1 else product[:, inputs[0]]
        count = sum(len(range(len(self.factor))[part]) for part in inputs)
        outputs = torch.empty(count, self.width, dtype=self.factor.dtype, device=self.factor.device)
        for start, piece in self.chunks(tile, inputs):
            outputs[:, start : start + piece.shape[-1]] = piece
        return outputs[None]

    def chunks(self, tile: int, inputs: Sequence[slice]) -> Iterator[tuple[int, Tensor]]:
        """The outputs of a wide trial in pieces ``(first row, (inputs, rows))``."""
        for number, start in enumerate(range(0, self.width, self.chunk)):
            normals = self._normals(tile, number, (-1, min(self.chunk, self.width - start)))
            yield start, torch.cat([part for wanted in inputs for part in self._products(normals, wanted)])

    def _products(self, normals: Tensor, wanted: slice) -> Iterator[Tensor]:
        """Outputs at a range of inputs, from products of whole blocks."""
        wanted_range = range(len(self.factor))[wanted]
        for block in self.blocks:
            first, last = max(block.start, wanted_range.start), min(block.stop, wanted_range.stop)
            if first < last:
                yield (self.factor[block] @ normals)[first - block.start : last - block.start]

    def _normals(self, tile: int, chunk: int, shape: tuple[int, ...]) -> Tensor:
        shape = tuple(self.factor.shape[1] if size == -1 else size for size in shape)
        return self.stream.normals((tile, chunk), shape, self.factor.device, self.factor.dtype)

    @property
    def drawing_bytes(self) -> int:
        """Working set of drawing: normals in double precision and rounded, and the product of a piece, twice."""
        points, columns = self.factor.shape
        item = self.factor.element_size()
        rounded = 0 if item == 8 else item
        if self.narrow:
            return self.trials_per_tile * self.width * (columns * (8 + rounded) + points * item)
        return self.chunk * (columns * (8 + rounded) + 2 * min(points, POINT_BLOCK) * item)


def groups_within(inputs: range, per_input: int, fixed: int, settings: Settings) -> list[slice]:
    """The fewest groups of inputs whose working set fits a quarter of what is free in the share of one worker.

    A quarter, because the C allocator keeps much of what is freed: resident memory was seen at 1.8 times the tensors.

    Args:
        inputs: a contiguous range of them.
        per_input: bytes for each input of a group.
        fixed: bytes whatever the group.
        settings: the budget and the workers.

    Raises:
        InvalidArgumentError: not even one input fits; the sentence says how much is needed.
    """
    require(fixed + per_input, settings)
    size = max(1, (settings.share - fixed) // 4 // per_input)
    return [slice(start, min(start + size, inputs.stop)) for start in range(inputs.start, inputs.stop, size)]


def require(needed: int, settings: Settings) -> None:
    """Refuse a budget below the working set of ``settings.workers`` workers of ``needed`` bytes each."""
    total = OVERHEAD + settings.workers * needed
    if total > settings.memory_budget:
        raise InvalidArgumentError(
            f"memory_budget={settings.memory_budget} bytes is too small: this layer needs at least {total} bytes "
            f"({total / 2**20:.0f} MiB) with workers={settings.workers}."
        )


@functools.cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


def run_tiles(
    tiles: Sequence[tuple[int, int]], settings: Settings, job: Callable[[Sequence[tuple[int, int]]], Result]
) -> list[Result]:
    """Run ``job`` on contiguous shares of the tiles, one share per worker, and return the results in order.

    A worker is one core: inside a job torch does not split an operation among threads, because the operations are
    small and waiting for one another costs more than it gains (on a busy machine a hundred times more). The limit is
    OpenMP's for the calling thread and is lifted at the end; other threads and torch's setting are not touched.
    """
    workers = settings.workers
    shares = [list(tiles[len(tiles) * i // workers : len(tiles) * (i + 1) // workers]) for i in range(workers)]

    def run(share: Sequence[tuple[int, int]]) -> Result:
        if settings.device.type != "cpu":
            return job(share)
        torch.get_num_threads()  # torch sets up the thread at its first use; a limit set before would be lost
        with _thread_pools().limit(limits=1, user_api="openmp"):
            return job(share)

    shares = [share for share in shares if share]
    if len(shares) == 1:
        return [run(shares[0])]
    # Threads: NumPy draws and torch computes without the interpreter's lock.
    return list(
        joblib.Parallel(n_jobs=len(shares), backend="threading")(joblib.delayed(run)(share) for share in shares)
    )
