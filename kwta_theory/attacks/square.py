"""The Square attack: random search with square patches, from values of the margin alone.

Source: Andriushchenko, Croce, Flammarion, Hein, "Square Attack", ECCV 2020, Algorithms 1 and 2 (maximum norm), and the
code published with it where they leave something open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from kwta_theory import seeding
from kwta_theory.attacks.ascent import Attacked, at_images
from kwta_theory.attacks.ball import bounds, check_batch
from kwta_theory.attacks.draws import Draws, image_keys
from kwta_theory.attacks.gradients import attack_mode, logits_of
from kwta_theory.attacks.losses import margin
from kwta_theory.checks import InvalidArgumentError, check_integer, check_number

# The share of changed pixels is halved after these iterations of 10,000 (Section 5 of the source).
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
# A patch that changes nothing would waste a query: its signs are drawn again, as in the published code, but so often
# at most (one channel that has one sign already is left as it is with probability 2^-10).
_REDRAWS = 10


@dataclass(frozen=True)
class Square:
    """Start with vertical stripes of +-epsilon; keep a random square patch of +-epsilon where it raises the margin.

    Every pixel of a patch is set to an end of its interval, ``[x - epsilon, x + epsilon]`` cut to [0, 1]. As in
    :class:`kwta_theory.attacks.Ascent`, an image's random numbers are its own and broken images leave the race. The
    size of the patches follows the share of the queries that are used up, so more queries are not a continuation of
    fewer, and may be worse for an image.

    Attributes:
        name: for tables.
        queries: forward passes for each image, that of the image itself included.
        share: of the pixels in the first patch.

    Raises:
        InvalidArgumentError: a value that is not allowed; at a run, images that are not ``(B, C, H, W)``.
    """

    name: str = "square"
    queries: int = 1000
    share: float = 0.8

    def __post_init__(self) -> None:
        check_integer("queries", self.queries, 2)
        check_number("share", self.share, 0.0, 1.0, open_minimum=True)

    @property
    def budget(self) -> int:
        """Forward passes for an image that is never broken."""
        return self.queries

    def run(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float, seed: int = 0
    ) -> Attacked:
        """As :meth:`kwta_theory.attacks.Ascent.run`."""
        epsilon = check_number("epsilon", epsilon, 0.0)
        check_batch(images, labels)
        if images.ndim != 4:
            raise InvalidArgumentError(f"images has shape {tuple(images.shape)}: patches need (B, C, H, W).")
        stream = seeding.Stream(seed, f"attack {self.name}")
        with attack_mode(model), torch.no_grad():
            best, _ = at_images(model, images, labels)
            left = (best.margins <= 0).nonzero().squeeze(1)
            keys = image_keys(images)
            draws = Draws.of(stream, 0, [keys[i] for i in left.tolist()], best.images.device)
            lower, upper = bounds(best.images[left], epsilon)
            x = torch.where(draws.uniforms(lower[:, :, :1]) < 0.5, lower, upper)
            # The search goes on from the stripes even where they are worse than the image, as in the source.
            margins = torch.full_like(best.margins[left], -torch.inf)
            for query in range(1, self.queries):
                if not len(left):
                    break
                tried = x if query == 1 else self._patched(x, lower, upper, query - 2, draws)
                found = margin(logits_of(model, tried), labels[left])
                better = found > margins
                x[better], margins[better] = tried[better], found[better]
                record = margins > best.margins[left]
                best.images[left[record]], best.margins[left[record]] = x[record], margins[record]
                keep = margins <= 0
                if not bool(keep.all()):
                    left, x, margins, lower, upper = (part[keep] for part in (left, x, margins, lower, upper))
                    draws = draws.where(keep)
        return best

    def _patched(
        self, x: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, iteration: int, draws: Draws
    ) -> torch.Tensor:
        """A square of ``h x h`` pixels at a random place of each image, one random sign for each channel."""
        count, channels, height, width = x.shape
        side = min(height, width, max(1, round(math.sqrt(self._share(iteration) * height * width))))
        corner = draws.uniforms(x.new_empty(count, 2))
        top = (corner[:, 0] * (height - side + 1)).long()[:, None]
        left = (corner[:, 1] * (width - side + 1)).long()[:, None]
        rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
        inside_rows = (rows >= top) & (rows < top + side)
        inside_columns = (columns >= left) & (columns < left + side)
        patch = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
        # All the draws at once, so that how many an image needs does not shift the numbers that it gets later.
        signs = draws.uniforms(x.new_empty(count, _REDRAWS, channels, 1, 1)) < 0.5
        result = x
        for redraw in range(_REDRAWS):
            same = (result == x).flatten(1).all(1)[:, None, None, None]
            if not bool(same.any()):
                break
            tried = torch.where(patch, torch.where(signs[:, redraw], lower, upper), x)
            result = torch.where(same, tried, result)
        return result

    def _share(self, iteration: int) -> float:
        scaled = iteration * 10_000 // self.queries
        return self.share / 2 ** sum(scaled > halving for halving in _HALVINGS)
