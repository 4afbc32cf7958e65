"""The Square attack: random search with square patches, from values of the margin alone.

Source: Andriushchenko, Croce, Flammarion, Hein, "Square Attack", ECCV 2020, Algorithms 1 and 2 (maximum norm).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from kwta_theory import seeding
from kwta_theory.attacks.ascent import Attacked
from kwta_theory.attacks.gradients import uniforms
from kwta_theory.attacks.losses import margin
from kwta_theory.checks import check_integer, check_number
from kwta_theory.networks.training.adversary import evaluation_mode, inside

# The share of changed pixels is halved at these iterations of 10,000 (Section 5 of the source).
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@dataclass(frozen=True)
class Square:
    """Start with vertical stripes of +-epsilon; keep a random square patch of +-epsilon where it raises the margin.

    Attributes:
        name: for tables.
        queries: forward passes for each image.
        share: of the pixels in the first patch.
    """

    name: str = "square"
    queries: int = 1000
    share: float = 0.8

    def __post_init__(self) -> None:
        check_integer("queries", self.queries, 2)
        check_number("share", self.share, 0.0, 1.0, open_minimum=True)

    def run(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float, seed: int = 0
    ) -> Attacked:
        """As :meth:`kwta_theory.attacks.Ascent.run`; more queries are not a continuation of fewer."""
        epsilon = check_number("epsilon", epsilon, 0.0)
        generator = seeding.Stream(seed, f"attack {self.name}").generator(0, device=images.device)
        with evaluation_mode(model), torch.no_grad():
            best = Attacked(images.clone(), margin(model(images), labels))
            left = (best.margins <= 0).nonzero().squeeze(1)
            stripes = uniforms(generator, images[left][:, :, :1]) < 0.5
            signs = 2 * stripes.to(images.dtype) - 1
            x = inside(images[left] + epsilon * signs, images[left], epsilon)
            self._take(model, labels, best, left, x)
            for query in range(2, self.queries):
                left = (best.margins <= 0).nonzero().squeeze(1)
                if not len(left):
                    break
                x = self._patched(best.images[left], images[left], epsilon, query, generator)
                self._take(model, labels, best, left, x)
        return best

    @staticmethod
    def _take(model: nn.Module, labels: torch.Tensor, best: Attacked, left: torch.Tensor, x: torch.Tensor) -> None:
        if not len(left):
            return
        margins = margin(model(x), labels[left])
        better = margins > best.margins[left]
        best.images[left[better]], best.margins[left[better]] = x[better], margins[better]

    def _patched(
        self, x: torch.Tensor, images: torch.Tensor, epsilon: float, query: int, generator: seeding.RandomGenerator
    ) -> torch.Tensor:
        """A square of ``h x h`` pixels at a random place of each image, one random sign for each channel."""
        count, channels, height, width = x.shape
        side = min(height, width, max(1, round(math.sqrt(self._share(query) * height * width))))
        draws = uniforms(generator, x.new_empty(count, 2 + channels))
        top = (draws[:, 0] * (height - side + 1)).long()[:, None]
        left = (draws[:, 1] * (width - side + 1)).long()[:, None]
        rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
        inside_rows = (rows >= top) & (rows < top + side)
        inside_columns = (columns >= left) & (columns < left + side)
        patch = (inside_rows[:, None, :, None] & inside_columns[:, None, None, :]).expand_as(x)
        signs = (2 * (draws[:, 2:] < 0.5).to(x.dtype) - 1)[:, :, None, None]
        return torch.where(patch, inside(images + epsilon * signs, images, epsilon), x)

    def _share(self, query: int) -> float:
        scaled = query * 10_000 / self.queries
        return self.share / 2 ** sum(scaled > halving for halving in _HALVINGS)
