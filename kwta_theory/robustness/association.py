"""Which statistic of networks goes with their robustness: rank correlations, with intervals over whole groups.

Networks that differ in their training seed only are no independent evidence about architectures: all of them are drawn
together (the cluster bootstrap). The units of every interval here are groups, and it is about groups like these.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.confidence import Interval
from kwta_theory.seeding import Stream

Array = npt.NDArray[np.float64]
FEWEST_GROUPS = 5
DRAWS = 4000


@dataclass(frozen=True)
class Association:
    """How one statistic goes with the target over some networks.

    Attributes:
        statistic: its name.
        correlation: Spearman's rank correlation with the target.
        interval: for it, percentile bootstrap over groups.
        partial: the same given a third number: the correlation of what a linear fit on the ranks of the third leaves
            of both ranks.
        partial_interval: for it.
        best: in which share of the bootstrap draws ``|correlation|`` is the largest of all statistics.
        networks: how many.
        groups: how many.
    """

    statistic: str
    correlation: float
    interval: Interval
    partial: float
    partial_interval: Interval
    best: float
    networks: int
    groups: int


def associations(
    statistics: Mapping[str, Sequence[float]],
    target: Sequence[float],
    given: Sequence[float],
    groups: Sequence[Hashable],
    *,
    error: SupportsFloat = 0.05,
    draws: SupportsIndex = DRAWS,
    seed: SupportsIndex = 0,
) -> list[Association]:
    """Rank correlations of statistics with a target, and the partial ones given a third number.

    Spearman's correlation of ``x`` and ``y`` is that of their ranks, ties in the middle; it does not change under any
    increasing map of either. Given ``z`` it is ``(r_xy - r_xz r_yz) / sqrt((1 - r_xz^2)(1 - r_yz^2))``. A correlation
    with something that is the same for all networks is 0 here.

    Each interval is from the ``error / 2`` to the ``1 - error / 2`` quantile over draws of as many groups with
    replacement. It holds in the limit of many groups, and each for itself: for many statements together divide
    ``error`` by their number. It covers which networks are looked at, not the noise in each network's numbers.

    Args:
        statistics: for each name one number for each network.
        target: as many.
        given: as many; None of them is changed by the target (clean accuracy, say).
        groups: of each network the group that is drawn as a whole.
        error: of each interval.
        draws: of the bootstrap.
        seed: of the draws.

    Raises:
        InvalidArgumentError: other lengths, a number that is not finite, fewer than five groups.

    >>> density = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    >>> found = associations({"density": density}, [9, 8, 6, 7, 3, 1], [0, 1, 0, 1, 1, 0], range(6), draws=200)[0]
    >>> round(found.correlation, 3), found.best
    (-0.943, 1.0)
    """
    error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
    draws, seed = check_integer("draws", draws, 100), check_integer("seed", seed)
    columns = {**{f"statistics[{name!r}]": values for name, values in statistics.items()}, "target": target}
    table = np.array([_checked(name, values, len(groups)) for name, values in {**columns, "given": given}.items()])
    if not statistics:
        raise InvalidArgumentError("statistics is empty: give at least one.")
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    if len(numbers) < FEWEST_GROUPS:
        raise InvalidArgumentError(f"groups has {len(numbers)} different ones: at least {FEWEST_GROUPS} are needed.")
    place = np.array([numbers[group] for group in groups])
    simple, partial = (values[0] for values in _correlations(table, np.ones((1, len(place)))))
    random = np.random.default_rng(Stream(seed, "bootstrap-of-groups").sequence(0))
    times = random.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), draws)
    simples, partials = _correlations(table, times[:, place].astype(np.float64))
    best = np.bincount(np.abs(simples).argmax(1), minlength=len(statistics)) / draws
    return [
        Association(
            name,
            float(simple[i]),
            _interval(simples[:, i], error),
            float(partial[i]),
            _interval(partials[:, i], error),
            float(best[i]),
            len(place),
            len(numbers),
        )
        for i, name in enumerate(statistics)
    ]


def peak(
    robust: Mapping[float, Sequence[float]],
    images: SupportsIndex,
    *,
    error: SupportsFloat = 0.05,
    draws: SupportsIndex = DRAWS,
    seed: SupportsIndex = 0,
) -> tuple[float, Interval]:
    """The ratio at which networks are the most robust, and between which ratios that lies in bootstrap draws.

    Each draw takes as many networks of each ratio with replacement, and of each a binomial number of images: noise of
    training and of the images. The interval is the smallest range of tried ratios, widened by one on either side, whose
    draws leave out at most ``error / 2`` at each end; a peak between two tried ratios is inside it. It ends at 0 or 1
    where nothing was tried beyond.

    Args:
        robust: for each ratio the shares of images that its networks keep.
        images: to which each share refers.
        error: of the interval.
        draws: of the bootstrap.
        seed: of the draws.

    Returns:
        The ratio with the largest mean share, the smallest of several; the interval.

    Raises:
        InvalidArgumentError: fewer than two ratios, a ratio without networks, a share outside [0, 1].

    >>> peak({0.1: [0.2, 0.3], 0.2: [0.8, 0.9], 0.3: [0.5, 0.4]}, 500)
    (0.2, Interval(lower=0.1, upper=0.3))
    """
    error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
    images, draws, seed = (
        check_integer("images", images, 1),
        check_integer("draws", draws, 100),
        check_integer("seed", seed),
    )
    ratios = sorted(robust)
    if len(ratios) < 2:
        raise InvalidArgumentError(f"robust has {len(ratios)} ratio(s): at least two are needed.")
    shares = [
        np.array([check_number(f"robust[{ratio!r}]", share, 0.0, 1.0) for share in robust[ratio]]) for ratio in ratios
    ]
    if empty := [ratio for ratio, values in zip(ratios, shares, strict=True) if not len(values)]:
        raise InvalidArgumentError(f"robust[{empty[0]!r}] is empty: give the share of at least one network.")
    random = np.random.default_rng(Stream(seed, "bootstrap-of-peak").sequence(0))
    means = np.stack(
        [random.binomial(images, random.choice(values, (draws, len(values)))).mean(1) for values in shares], 1
    )
    places = np.sort(means.argmax(1))
    low, high = places[int(draws * error / 2)], places[draws - 1 - int(draws * error / 2)]
    padded = [0.0, *ratios, 1.0]
    observed = ratios[int(np.argmax([values.mean() for values in shares]))]
    return observed, Interval(padded[low], padded[high + 2])


def _correlations(table: Array, weights: Array) -> tuple[Array, Array]:
    """Of all rows but the last two with the last but one, and the same given the last: ``(draws, rows - 2)`` each.

    A draw is how often each network is in it, a row of ``weights``. The rank of a network is the weight below it and
    half the weight at its own value: the middle rank, less one half.
    """
    units = np.stack([_units(row, weights) for row in table])
    of_target, of_given = (np.einsum("sdn,dn->ds", units[:-2], units[place]) for place in (-2, -1))
    between = np.einsum("dn,dn->d", units[-2], units[-1])[:, None]
    left = np.sqrt(np.maximum((1 - of_given**2) * (1 - between**2), 0.0))
    # Where the third number explains one of both wholly, nothing but rounding is left to correlate.
    partial = np.divide(of_target - of_given * between, left, out=np.zeros_like(left), where=left > 1e-6)
    return np.clip(of_target, -1, 1), np.clip(partial, -1, 1)


def _units(values: Array, weights: Array) -> Array:
    """Ranks in each draw less their mean, scaled so that a sum of products over the draw is a correlation."""
    below = (values < values[:, None]) + 0.5 * (values == values[:, None])
    ranks = weights @ below.T
    ranks -= ((weights * ranks).sum(1) / weights.sum(1))[:, None]
    size = np.sqrt((weights * ranks**2).sum(1))[:, None]
    return np.sqrt(weights) * np.divide(ranks, size, out=np.zeros_like(ranks), where=size > 0)


def _interval(values: Array, error: float) -> Interval:
    return Interval(float(np.quantile(values, error / 2)), float(np.quantile(values, 1 - error / 2)))


def _checked(name: str, values: Sequence[float], count: int) -> list[float]:
    if len(values) != count:
        raise InvalidArgumentError(f"{name} has {len(values)} numbers and groups {count}: they must be the same.")
    return [check_number(f"{name}[{i}]", value) for i, value in enumerate(values)]
