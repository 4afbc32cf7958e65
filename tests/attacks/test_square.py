"""The Square attack against its published algorithm: schedule, patches, acceptance, queries."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from kwta_theory.attacks import Square, bounds, margin
from kwta_theory.checks import InvalidArgumentError

SIZE = 12


class Recorder(nn.Module):
    """A fixed score, ``score(x)`` for class 1 and 0 for class 0, and every image that was asked for."""

    def __init__(self, score: object) -> None:
        super().__init__()
        self.score, self.seen = score, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.clone())
        value = self.score(x)
        return torch.stack([torch.zeros_like(value), value], 1)


def images_of(channels: int, count: int = 1) -> torch.Tensor:
    return 0.2 + 0.6 * torch.rand(count, channels, SIZE, SIZE, generator=torch.Generator().manual_seed(3))


def ask(channels: int, queries: int, score: object, epsilon: float = 0.1) -> tuple[Recorder, torch.Tensor]:
    recorder, images = Recorder(score), images_of(channels)
    Square(queries=queries).run(recorder, images, torch.zeros(1, dtype=torch.int64), epsilon)
    return recorder, images


@pytest.mark.parametrize("channels", [1, 3])
def test_stripes_first_and_then_one_square_at_a_time(channels: int) -> None:
    weight = torch.randn(channels, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    score = lambda x: ((x - 0.5) * weight).flatten(1).sum(1) - 1e3  # noqa: E731
    queries = 300
    recorder, images = ask(channels, queries, score)
    assert len(recorder.seen) == queries
    lower, upper = bounds(images, 0.1)
    stripes = recorder.seen[1]
    up = stripes == upper
    assert bool((up | (stripes == lower)).all())
    assert bool((up == up[:, :, :1]).all())  # each column of a channel is one stripe
    assert 0 < int(up.sum()) < up.numel()
    current, wasted = stripes, 0
    sizes = []
    for iteration, tried in enumerate(recorder.seen[2:]):
        changed = (tried != current)[0]
        wasted += not bool(changed.any())
        side = max(1, round(math.sqrt(Square(queries=queries)._share(iteration) * SIZE**2)))
        if changed.any():
            rows, columns = changed.any(0).any(1).nonzero(), changed.any(0).any(0).nonzero()
            assert int(rows.max() - rows.min()) < side
            assert int(columns.max() - columns.min()) < side
            sizes.append(side)
            for channel in range(channels):  # one sign for each channel of the square
                values = up_or_down(tried[0, channel][changed[channel]], images[0, channel][changed[channel]])
                assert len(values) <= 1
        # Algorithm 1: keep it where the loss gets better, and go on from the stripes though the image was better.
        if float(score(tried)) > float(score(current)):
            current = tried
    assert sizes[0] == 11
    assert sizes[-1] == 1
    assert wasted < 0.02 * queries


def up_or_down(values: torch.Tensor, centres: torch.Tensor) -> set[bool]:
    return set((values > centres).tolist())


def test_the_schedule_is_the_published_one() -> None:
    square = Square(queries=10_000)
    due = {0: 1, 10: 1, 11: 2, 50: 2, 51: 4, 200: 4, 201: 8, 500: 8, 501: 16, 1000: 16, 1001: 32, 2000: 32, 2001: 64,
           4000: 64, 4001: 128, 6000: 128, 6001: 256, 8000: 256, 8001: 512, 9999: 512}  # fmt: skip
    assert {i: square.share / square._share(i) for i in due} == due
    # It is stretched to the queries that there are.
    assert Square(queries=1000)._share(20) == square._share(200)
    assert Square(queries=1000)._share(21) == square._share(210)


def test_squares_reach_every_pixel() -> None:
    # Also the last row and column, which the half-open intervals of the published code never touch.
    recorder, _ = ask(1, 600, lambda x: x.new_full((len(x),), -1.0))
    touched = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for tried in recorder.seen[2:]:
        touched |= (tried != recorder.seen[1])[0, 0]
    assert bool(touched.all())


def test_it_solves_what_only_needs_signs() -> None:
    weight = torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)).cumsum(1).cumsum(2)
    images = images_of(3, 20)
    reach = 0.05 * weight.abs().sum()
    # 30 % of what the best point gains is enough; stripes alone gain nothing on average.
    level = (images * weight).flatten(1).sum(1, keepdim=True)
    model = Recorder(lambda x: (x * weight).flatten(1).sum(1))

    class Shifted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nearest = (x[:, None] - images).abs().flatten(2).amax(2).argmin(1)
            logits = model(x)
            return torch.stack([logits[:, 0], logits[:, 1] - level[nearest, 0] - 0.3 * reach], 1)

    labels = torch.zeros(20, dtype=torch.int64)
    short, long = (Square(queries=q).run(Shifted(), images, labels, 0.05) for q in (2, 200))
    assert int(short.success.sum()) < 10
    assert bool(long.success.all())
    with torch.no_grad():
        assert torch.equal(margin(Shifted()(long.images), labels), long.margins)


def test_settings_change_something() -> None:
    weight = torch.randn(1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    images, labels = images_of(1), torch.zeros(1, dtype=torch.int64)
    score = lambda x: (x * weight).flatten(1).sum(1) - 1e3  # noqa: E731
    base, *others = (
        attack.run(Recorder(score), images, labels, 0.1).images
        for attack in (Square(queries=30), Square(queries=31), Square(queries=30, share=0.1), Square("b", queries=30))
    )
    assert all(not torch.equal(base, other) for other in others)


def test_wrong_settings_are_sentences() -> None:
    for settings, message in (
        ({"queries": 1}, "queries=1"),
        ({"share": 0.0}, "share=0.0"),
        ({"share": 1.5}, "share=1.5"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            Square(**settings)
    flat, labels = torch.rand(2, 5), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(InvalidArgumentError, match=r"images has shape \(2, 5\): patches need"):
        Square().run(nn.Linear(5, 2), flat, labels, 0.1)
    with pytest.raises(InvalidArgumentError, match="labels is torch"):
        Square().run(nn.Linear(5, 2), flat, labels.int(), 0.1)
    with pytest.raises(InvalidArgumentError, match="epsilon=-1"):
        Square().run(nn.Linear(5, 2), flat, labels, -1)
