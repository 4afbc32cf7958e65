"""The activation layers: where their patterns change on a piece, what the pattern is, what they do with it."""

from __future__ import annotations

import torch

from kwta_theory.regions.pieces import RESOLUTION, Changes, Pieces


class Pointwise:
    """A continuous or discontinuous piecewise linear function of each entry.

    Between the knots ``c_1 < ... < c_K`` the function is ``slope_s z + intercept_s``, ``s`` the number of knots below
    ``z``: that number is the pattern. An entry at a knot belongs to the segment below it.

    Args:
        knots: shape ``(K,)``.
        slopes: shape ``(K + 1,)``, or ``(K + 1, units)`` where the units differ.
        intercepts: shape ``(K + 1,)``.
    """

    def __init__(self, knots: torch.Tensor, slopes: torch.Tensor, intercepts: torch.Tensor) -> None:
        self.knots, self.slopes, self.intercepts = knots, slopes, intercepts

    def changes(self, z: torch.Tensor, pieces: Pieces, noise: torch.Tensor) -> Changes:
        """Where an entry crosses a knot: its values at the ends of the piece lie on two sides, both beyond rounding."""
        value, slope = z
        steep = slope.abs()
        # |slope| half - |value - c| is the smaller distance beyond the knot of the two ends.
        room = steep * (pieces.half[:, None] - RESOLUTION) - noise[:, None]
        found = []
        for knot in self.knots:
            above = value - knot
            piece, unit = (room > above.abs()).nonzero(as_tuple=True)
            here, steepness = slope[piece, unit], steep[piece, unit]
            t = pieces.centre[piece] - above[piece, unit] / here
            t = t.clamp(pieces.low[piece], pieces.high[piece])
            found.append(Changes(piece, t, noise[piece] / steepness + RESOLUTION))
        return Changes(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def pattern(self, z: torch.Tensor, pieces: Pieces, noise: torch.Tensor) -> torch.Tensor:
        """The number of knots below the entry in the middle of the piece."""
        value, slope = z
        beyond = torch.addcmul(-noise[:, None], slope.abs(), pieces.half[:, None])  # 0 within rounding is not above 0
        pattern = torch.zeros(value.shape, dtype=torch.uint8, device=value.device)
        for knot in self.knots:
            above = value - knot
            pattern += (above > 0) & (above + beyond > 0)
        return pattern

    def apply(self, z: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
        """``slope_s z + intercept_s``."""
        index = pattern.long()
        slopes = self.slopes[index] if self.slopes.ndim == 1 else self.slopes.gather(0, index)
        out = z * slopes
        out[0] += self.intercepts[index]
        return out


class ReLU(Pointwise):
    """``max(z, 0)``: the pattern is the set of units that are on; a zero is off."""

    def __init__(self, like: torch.Tensor) -> None:
        zero = like.new_zeros(1)
        super().__init__(zero, like.new_tensor([0.0, 1.0]), like.new_zeros(2))

    def apply(self, z: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
        """The units that are on."""
        return z * pattern


class Winners:
    """The ``k`` largest entries of each group, ties to the smaller index: k-WTA, LWTA and max-pooling.

    Args:
        k: winners of a group.
        groups: shape ``(groups, size)``, the entries of each group in the order of their index, ``-1`` where a group
            has fewer; None for one group of all entries.
        pool: keep the winners alone, as max-pooling does with ``k = 1``, and not all entries with losers at zero.
    """

    def __init__(self, k: int, groups: torch.Tensor | None = None, *, pool: bool = False) -> None:
        self.k, self.groups, self.pool = k, groups, pool

    def _rows(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Values and slopes with one row for each piece and group; what is missing never wins."""
        value, slope = z
        if self.groups is None:
            return value, slope
        value, slope = value[:, self.groups].flatten(0, 1), slope[:, self.groups].flatten(0, 1)
        missing = (self.groups < 0).repeat(len(z[0]), 1)
        return value.masked_fill(missing, -torch.inf), slope.masked_fill(missing, 0.0)

    def _each(self, of_piece: torch.Tensor) -> torch.Tensor:
        return of_piece if self.groups is None else of_piece.repeat_interleave(len(self.groups))

    def changes(self, z: torch.Tensor, pieces: Pieces, noise: torch.Tensor) -> Changes:
        """Where the set of winners changes: the region of a point by Newton to both sides, then what is left over."""
        value, slope = self._rows(z)
        groups = len(value) // max(1, len(pieces))
        if self.k >= value.shape[1] or len(value) == 0:
            none = noise[:0]
            return Changes(none.long(), none, none)
        noise, spread = self._each(noise), slope.abs() * self._each(pieces.half)[:, None]
        won = winners(value, slope, self._each(pieces.half), noise, self.k)
        least = (value - spread).masked_fill_(~won, torch.inf).amin(1)
        most = (value + spread).masked_fill_(won, -torch.inf).amax(1)
        open_ = (least < most).nonzero().squeeze(1)
        value, slope, won, noise = value[open_], slope[open_], won[open_], noise[open_]
        # What wins against every loser on the whole piece, or loses to every winner, stays as it is.
        reaches = (
            torch.where(won, most[open_, None] - value, value - least[open_, None]) >= -spread[open_] - noise[:, None]
        )
        value, slope, k = _gather(value, slope, reaches, (won & reaches).sum(1))
        centre, low, high = (self._each(part)[open_] for part in (pieces.centre, pieces.low, pieces.high))
        row, t, reach = _Rows(value, slope, centre, noise, k).changes(low, high)
        return Changes(open_[row] // groups, t, reach)

    def pattern(self, z: torch.Tensor, pieces: Pieces, noise: torch.Tensor) -> torch.Tensor:
        """1 for winners, 0 for losers; for pooling, the place of the winner in its window."""
        value, slope = self._rows(z)
        half, noise = self._each(pieces.half), self._each(noise)
        won = value > -torch.inf if self.k >= value.shape[1] else winners(value, slope, half, noise, self.k)
        if self.groups is None:
            return won.to(torch.uint8)
        if self.pool:
            return won.to(torch.uint8).argmax(1).view(len(pieces), len(self.groups))
        pattern = torch.zeros(z[0].shape, dtype=torch.uint8, device=z.device)
        there = self.groups >= 0
        pattern[:, self.groups[there]] = won.view(len(pieces), *self.groups.shape)[:, there].to(torch.uint8)
        return pattern

    def apply(self, z: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
        """Losers set to zero, or left out."""
        if not self.pool or self.groups is None:
            return z * pattern
        chosen = self.groups.expand(len(pattern), -1, -1).gather(2, pattern[:, :, None]).squeeze(2)
        return z.gather(2, chosen.expand(2, -1, -1))


def winners(value: torch.Tensor, slope: torch.Tensor, half: torch.Tensor, noise: torch.Tensor, k: int) -> torch.Tensor:
    """The ``k`` largest of each row as a mask.

    Entries that differ by no more than rounding from the last winner on the whole piece are equal to it, and among
    equals the smaller index wins.
    """
    top = value.topk(k, dim=1)
    last = top.indices[:, -1:]
    ahead = value - top.values[:, -1:]
    apart = torch.addcmul(ahead.abs(), (slope - slope.gather(1, last)).abs(), half[:, None])
    equal = (apart <= noise[:, None]) | (ahead == 0)
    if bool((equal.sum(1) == 1).all()):
        return ahead >= 0
    above = (ahead > 0) & ~equal
    slots = k - above.sum(1, keepdim=True)
    return above | (equal & (equal.cumsum(1) <= slots))


def _gather(
    value: torch.Tensor, slope: torch.Tensor, chosen: torch.Tensor, winners_of_row: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Rows of the chosen entries only, and how many of them win: filled up with what never wins, or always does."""
    if len(value) == 0:
        return value, slope, 0
    size, k = int(chosen.sum(1).max()), int(winners_of_row.max())
    row, unit = chosen.nonzero(as_tuple=True)
    place = torch.arange(len(row), device=row.device) - torch.searchsorted(row, row)
    values = value.new_full((len(value), size + k), -torch.inf)
    slopes = value.new_zeros(values.shape)
    values[row, place], slopes[row, place] = value[row, unit], slope[row, unit]
    always = torch.arange(k, device=row.device) < k - winners_of_row[:, None]
    values[:, size:].masked_fill_(always, torch.inf)
    return values, slopes, k


class _Rows:
    """Rows of entries ``value + slope (t - centre)`` of which the ``k`` largest are wanted as ``t`` moves.

    The set of winners ``S`` is right where ``g(t) = min over S - max over the others`` is not negative. ``g`` is
    concave
    and piecewise linear, so that is an interval, and Newton's method from outside reaches its end in finitely many
    steps, never passing it: every step goes to the zero of a pair (winner, loser) that is the wrong way round.
    """

    def __init__(
        self, value: torch.Tensor, slope: torch.Tensor, centre: torch.Tensor, noise: torch.Tensor, k: int
    ) -> None:
        self.value, self.slope, self.centre, self.noise, self.k = value, slope, centre, noise, k

    def changes(self, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """All changes between ``low`` and ``high`` as ``(row, t, reach)``.

        The middle of a segment has a set of winners; the segment without that set's interval is left over, two segments
        of at most half the length. So it ends, whatever the ties.
        """
        row = torch.arange(len(low), device=low.device)
        found = [(row[:0], low[:0], low[:0])]
        while len(row):
            middle, half = (low + high) / 2, (high - low) / 2
            value, slope, noise = self._at(row, middle), self.slope[row], self.noise[row]
            won = winners(value, slope, half, noise, self.k)
            left_over = []
            for end in (low, high):
                inside, reach, moved = self._newton(row, won, end, middle)
                index = moved.nonzero().squeeze(1)
                found.append((row[index], inside[index], reach[index]))
                left_over.append((index, inside))
            (left, first), (right, last) = left_over
            row, low, high = (
                torch.cat([row[left], row[right]]),
                torch.cat([low[left], last[right]]),
                torch.cat([first[left], high[right]]),
            )
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))  # type: ignore[return-value]

    def _at(self, row: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self.value[row], self.slope[row], (t - self.centre[row])[:, None])

    def _newton(
        self, row: torch.Tensor, won: torch.Tensor, end: torch.Tensor, middle: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """From ``end`` towards the middle to where the winners are right: ``(t, reach, whether it moved)``."""
        t, reach = end.clone(), torch.zeros_like(end)
        moved = torch.zeros_like(end, dtype=torch.bool)
        active = torch.arange(len(row), device=row.device)
        while len(active):
            here, mask = row[active], won[active]
            value = self._at(here, t[active])
            low_winner = value.masked_fill(~mask, torch.inf).min(1)
            high_loser = value.masked_fill(mask, -torch.inf).max(1)
            gap = low_winner.values - high_loser.values
            closing = self.slope[here, low_winner.indices] - self.slope[here, high_loser.indices]
            size = self.noise[here] + closing.abs() * RESOLUTION
            wrong = (gap < -size) & (t[active] != middle[active])
            active, gap, closing, size = active[wrong], gap[wrong], closing[wrong], size[wrong]
            root = t[active] - gap / closing
            inwards = torch.minimum(t[active], middle[active]), torch.maximum(t[active], middle[active])
            # A pair that is in order in the middle and not here has its zero in between; rounding may hide it.
            root = torch.where(root.isfinite(), root, middle[active]).clamp(*inwards)
            stuck = root == t[active]
            t[active] = torch.where(stuck, middle[active], root)
            reach[active], moved[active] = size / closing.abs() + RESOLUTION, True
        return t, reach, moved
