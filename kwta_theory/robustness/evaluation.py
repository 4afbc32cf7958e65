"""Robust accuracy: for each attack, and for each image the worst over all of them, with exact binomial intervals."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn

from kwta_theory.attacks.ascent import Attacked
from kwta_theory.checks import InvalidArgumentError, check_integer
from kwta_theory.confidence import Interval, clopper_pearson
from kwta_theory.robustness.judge import Judge, Passes, counted, guarded

ERROR = 0.05


class Attack(Protocol):
    """Anything that looks for misclassified points in a ball.

    An attribute ``budget``, where there is one, is the number of forward passes for an image that is never broken.
    """

    @property
    def name(self) -> str:
        """For tables."""
        ...

    def run(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float, seed: int) -> Attacked:
        """One point for each image."""
        ...


@dataclass(frozen=True, eq=False)
class Row:
    """One attack.

    Attributes:
        name: of the attack.
        robust: for each image whether the network, right on the image, is still right at the attack's point; ``(N,)``.
        seconds: of the attack (wall time, without the judge), for each image that was attacked.
        forward_passes: for each image that was attacked. Broken images cost less than those that withstand, so this
            is a measure of the network as much as of the attack.
        gradient_passes: those of them that were followed by a backward pass to the image.
        cpu_seconds: processor time of all threads, for each image that was attacked.
        settings: the attack in words; equal settings are equal budgets.
        budget: forward passes for an image that is never broken, where the attack says it.
        remarks: what the judge noticed: points outside the ball, claims that did not hold.
    """

    name: str
    robust: torch.Tensor
    seconds: float
    forward_passes: float
    gradient_passes: float
    cpu_seconds: float = 0.0
    settings: str = ""
    budget: int | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What is left of a network's accuracy: an upper bound for its robust accuracy on these images.

    Attributes:
        epsilon: radius of the ball.
        clean: whether each image is classified correctly without an attack, shape ``(N,)``.
        rows: the attacks, in their order.
        seed: of every attack.
        images_digest: of images and labels, to tell whether two evaluations are of the same.
        judge_dtype: precision of the judge.
    """

    epsilon: float
    clean: torch.Tensor
    rows: tuple[Row, ...]
    seed: int = 0
    images_digest: str = ""
    judge_dtype: torch.dtype = torch.float64

    @property
    def n(self) -> int:
        """Images, those that are misclassified without an attack included."""
        return len(self.clean)

    @property
    def worst(self) -> torch.Tensor:
        """Whether each image withstood every attack."""
        result = self.clean.clone()
        for row in self.rows:
            result &= row.robust
        return result

    def accuracy(self, robust: torch.Tensor, error: float = ERROR) -> tuple[float, Interval]:
        """A share of the images, with the exact binomial interval for the accuracy on the population they are from."""
        count = int(robust.sum())
        return count / len(robust), clopper_pearson(count, len(robust), error)


def unmatched(first: Evaluation, second: Evaluation) -> tuple[str, ...]:
    """Why two evaluations must not be compared, in sentences; empty where budgets and images are matched.

    They must agree in epsilon, images, labels, the judge's precision, and in every attack with all its settings. What
    an attack really used of its budget may differ: it stops where it has succeeded.
    """
    reasons = [
        f"The {what} differ: {a} and {b}."
        for what, a, b in (
            ("epsilons", first.epsilon, second.epsilon),
            ("images or labels", first.images_digest, second.images_digest),
            ("numbers of images", first.n, second.n),
            ("judge's precisions", first.judge_dtype, second.judge_dtype),
        )
        if a != b
    ]
    rows = {row.name: row for row in first.rows}, {row.name: row for row in second.rows}
    reasons += [f"Only one of them was attacked by {name}." for name in sorted(rows[0].keys() ^ rows[1].keys())]
    for name in (row.name for row in first.rows if row.name in rows[1]):
        a, b = rows[0][name], rows[1][name]
        if (a.settings, a.budget) != (b.settings, b.budget):
            reasons.append(f"The settings of {name} differ: {a.settings} and {b.settings}.")
    return tuple(reasons)


def evaluate(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attacks: Sequence[Attack],
    epsilon: float,
    *,
    seed: int = 0,
    batch_size: int = 100,
    judge_dtype: torch.dtype = torch.float64,
    report: Callable[[Row], None] | None = None,
) -> Evaluation:
    """Attack every image that is classified correctly with every attack, and judge each point anew.

    Points are moved into the ball and into [0, 1] and classified one at a time (:class:`Judge`); what an attack says
    of itself does not count, but a claim that does not hold is remarked upon in its row. Every attack sees all images
    that are right without an attack, so rows can be compared; none sees more than copies of images and labels.

    Neither the model (its mode, parameters, buffers, gradients) nor anybody's global random state is changed. Attacks
    that draw from the global generators find them in a state that follows from the seed, the attack and the batch.

    Args:
        model: from images to logits.
        images: in [0, 1], shape ``(N, C, H, W)``.
        labels: int64, shape ``(N,)``.
        attacks: with different names.
        epsilon: radius of the ball, maximum norm.
        seed: of every attack.
        batch_size: images that an attack sees at once; the attacks of this package do not depend on it.
        judge_dtype: precision of the judge.
        report: called with each row.

    Raises:
        InvalidArgumentError: no attack, two of one name, what :class:`Judge` does not allow, or a model that does not
            return logits of these labels' classes.
    """
    attacks = tuple(attacks)
    names = [attack.name for attack in attacks]
    if not names or len(set(names)) < len(names):
        raise InvalidArgumentError(f"attacks={names!r} is not allowed: at least one, each name once.")
    check_integer("batch_size", batch_size, 1)
    seed = check_integer("seed", seed)
    judge = Judge(model, images, labels, epsilon, judge_dtype)
    clean = judge.correct(images)
    rows = []
    for attack in attacks:
        row = _row(attack, model, judge, clean, seed, batch_size)
        rows.append(row)
        if report is not None:
            report(row)
    return Evaluation(judge.epsilon, clean, tuple(rows), seed, _digest(judge), judge_dtype)


def _row(attack: Attack, model: nn.Module, judge: Judge, clean: torch.Tensor, seed: int, batch_size: int) -> Row:
    """One attack on all images that are right, batch by batch."""
    robust, right = clean.clone(), clean.nonzero().squeeze(1)
    noticed = _Noticed()
    seconds = cpu_seconds = 0.0
    used = Passes()
    with guarded(model) as remarks:
        for number, part in enumerate(right.split(batch_size) if len(right) else ()):
            batch = part.to(judge.images.device)
            with _random_state(seed, attack.name, number), counted(model) as passes:
                started, cpu_started = time.perf_counter(), time.process_time()
                found = attack.run(model, judge.images[batch], judge.labels[batch], judge.epsilon, seed)
                seconds += time.perf_counter() - started
                cpu_seconds += time.process_time() - cpu_started
            used = Passes(used.forward + passes.forward, used.backward + passes.backward)
            robust[part] = noticed.judged(judge, part, found)
    count = max(1, len(right))
    return Row(
        attack.name,
        robust,
        seconds / count,
        used.forward / count,
        used.backward / count,
        cpu_seconds / count,
        _settings(attack),
        getattr(attack, "budget", None),
        (*noticed.remarks(), *remarks),
    )


class _Noticed:
    """What does not hold of what an attack says, added up over its batches."""

    def __init__(self) -> None:
        self.shapes: set[str] = set()
        self.nan = self.outside = self.refuted = self.unclaimed = 0
        self.farthest = 0.0

    def judged(self, judge: Judge, part: torch.Tensor, found: Attacked) -> torch.Tensor:
        """Whether the network is right at each point; a batch of a wrong shape proves nothing."""
        points, shape = found.images, (len(part), *judge.images.shape[1:])
        if not isinstance(points, torch.Tensor) or tuple(points.shape) != shape or points.is_complex():
            self.shapes.add(str(tuple(points.shape)) if isinstance(points, torch.Tensor) else type(points).__name__)
            return torch.ones(len(part), dtype=torch.bool)
        given, admitted = points.detach().to("cpu", torch.float64), judge.admitted(points, part)
        self.nan += int(given.isnan().flatten(1).any(1).sum())
        moved = (given - admitted).abs().nan_to_num(0.0, posinf=torch.inf).flatten(1).amax(1)
        self.outside += int((moved > 0).sum())
        self.farthest = max(self.farthest, float(moved.max()))
        right = judge.correct(points, part)
        margins = found.margins
        if isinstance(margins, torch.Tensor) and margins.shape == right.shape:
            claimed = margins.detach().cpu() > 0
            self.refuted += int((claimed & right).sum())
            self.unclaimed += int((~claimed & ~right).sum())
        else:
            self.shapes.add(f"margins of {getattr(margins, 'shape', type(margins).__name__)}")
        return right

    def remarks(self) -> tuple[str, ...]:
        said = [f"it returned {shape} where one point and one margin for each image were due" for shape in self.shapes]
        if self.nan:
            said.append(f"{self.nan} points had a pixel that is NaN")
        if self.outside:
            said.append(f"{self.outside} points were outside the ball, by up to {self.farthest:.2g}, and were moved")
        if self.refuted:
            said.append(f"{self.refuted} claimed successes are classified correctly when judged")
        if self.unclaimed:
            said.append(f"{self.unclaimed} points are misclassified when judged, though not claimed")
        return tuple(said)


def _settings(attack: Attack) -> str:
    """The attack in words, without addresses of memory."""
    words = repr(attack)
    if type(attack).__repr__ is object.__repr__:
        words = f"{type(attack).__qualname__}({', '.join(f'{k}={v!r}' for k, v in sorted(vars(attack).items()))})"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", words)


def _digest(judge: Judge) -> str:
    pixels = judge.images.to("cpu", torch.float64).contiguous().numpy().tobytes()
    return hashlib.blake2b(pixels + judge.labels.cpu().numpy().tobytes(), digest_size=8).hexdigest()


@contextlib.contextmanager
def _random_state(seed: int, name: str, number: int) -> Iterator[None]:
    """The global generators seeded for a batch of an attack, and put back: some attacks of others draw from them."""
    key = hashlib.blake2b(f"{seed}\x1f{name}\x1f{number}".encode(), digest_size=4).digest()
    words = int.from_bytes(key, "little")
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed(words)
            random.seed(words)
            np.random.seed(words)  # noqa: NPY002
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
