"""The loop: the ball to the last bit, every iterate tested, laws of more steps and restarts, nothing else touched."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kwta_theory import KWTA
from kwta_theory.attacks import Ascent, Averaged, FiniteDifference, Plain, Square, Surrogate, bounds, margin, project
from kwta_theory.attacks.draws import Draws, image_keys
from kwta_theory.attacks.losses import loss_named
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.robustness import counted
from kwta_theory.seeding import Stream

EPSILON = 0.1
NOISY = Surrogate("wide", Averaged(2, 0.25))
# Shortened by name: one attack of each kind that there is.
KINDS = [
    Ascent("plain", steps=6, restarts=2),
    Ascent("momentum", steps=6, restarts=2, momentum=0.9, loss="cross-entropy", sizes="cosine", start="image"),
    Ascent("noisy", steps=6, restarts=2, gradient=NOISY),
    Ascent("differences", steps=4, restarts=2, gradient=FiniteDifference(((0.0, 2), (0.5, 5)), growth=2.0)),
    Ascent("aimed", steps=4, restarts=3, loss="targeted", gradient=FiniteDifference(3)),
    Ascent("growing", steps=6, radii=(0.25, 0.5, 1.0)),
    Ascent("shrinking", steps=6, radii=(3.0, 2.0, 1.0)),
    Square(queries=12),
]


class Rows(nn.Module):
    """A small k-WTA network whose arithmetic for an image does not depend on the batch, not in the last bit."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Parameter(torch.randn(24, 16, generator=generator, dtype=torch.float64))
        self.second = nn.Parameter(torch.randn(3, 24, generator=generator, dtype=torch.float64))
        self.activation = KWTA(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.activation((x.flatten(1)[:, None, :] * self.first).sum(-1))
        return (y[:, None, :] * self.second).sum(-1)


def batch(model: nn.Module, count: int = 30, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Images with the labels that the model gives them."""
    images = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    with torch.no_grad():
        return images, model(images).argmax(1)


# The ball.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@settings(max_examples=150, deadline=None)
@given(pixel=st.floats(0, 1), epsilon=st.one_of(st.floats(0, 1), st.sampled_from([0.3, 0.031, 8 / 255, 1e-9])))
def test_the_bounds_are_the_extreme_numbers_of_the_ball(dtype: torch.dtype, pixel: float, epsilon: float) -> None:
    image = torch.tensor([pixel], dtype=dtype)
    lower, upper = bounds(image, epsilon)
    center, radius = Fraction(image.item()), Fraction(epsilon)
    assert max(Fraction(0), center - radius) <= Fraction(lower.item()) <= center
    assert center <= Fraction(upper.item()) <= min(Fraction(1), center + radius)
    # ... and the next number outwards is outside, unless epsilon was rounded to the dtype before.
    if Fraction(torch.tensor(epsilon, dtype=dtype).item()) == radius:
        assert Fraction(torch.nextafter(upper, torch.full_like(upper, 2)).item()) > min(Fraction(1), center + radius)
        assert Fraction(torch.nextafter(lower, torch.full_like(lower, -2)).item()) < max(Fraction(0), center - radius)


def test_plain_rounding_would_leave_the_ball() -> None:
    # Negative control: image + epsilon rounded to nearest is outside for about half of all float32 pixels.
    image = torch.rand(200, generator=torch.Generator().manual_seed(0))
    naive = image + 0.3
    outside = [Fraction(p) - Fraction(x) > Fraction(0.3) for p, x in zip(naive.tolist(), image.tolist(), strict=True)]
    assert sum(outside) > 20
    upper = bounds(image, 0.3)[1].tolist()
    assert not any(Fraction(p) - Fraction(x) > Fraction(0.3) for p, x in zip(upper, image.tolist(), strict=True))


@pytest.mark.parametrize("attack", KINDS, ids=lambda a: a.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_found_lies_in_the_ball_and_has_the_margin_that_is_told(attack: Ascent, dtype: torch.dtype) -> None:
    model = Rows()
    images, labels = batch(model)
    images = images.to(dtype)
    found = attack.run(model, images, labels, EPSILON, seed=3)
    assert found.images.dtype == dtype
    low, high = images.double() - EPSILON, images.double() + EPSILON  # exact enough: bounds are tested above
    assert bool(((found.images >= low - 1e-16) & (found.images <= high + 1e-16)).all())
    assert bool(((found.images >= 0) & (found.images <= 1)).all())
    assert torch.equal(project(found.images, bounds(images, EPSILON)), found.images)
    with torch.no_grad():
        assert torch.equal(margin(model(found.images.double()), labels), found.margins)
        assert bool((found.margins >= margin(model(images.double()), labels)).all())
    assert found.success.any()


def test_nothing_moves_without_a_radius() -> None:
    model = Rows()
    images, labels = batch(model)
    for attack in KINDS:
        assert torch.equal(attack.run(model, images, labels, 0.0).images, images)


# Budgets and tests of iterates.


@pytest.mark.parametrize("attack", KINDS, ids=lambda a: a.name)
def test_the_budget_is_what_an_unbreakable_image_costs(attack: Ascent) -> None:
    model = Rows()
    images, _ = batch(model, 5)
    stubborn = Always(model)
    with counted(stubborn) as passes:
        attack.run(stubborn, images, torch.zeros(5, dtype=torch.int64), EPSILON)
    assert passes.forward == 5 * attack.budget


class Always(nn.Module):
    """Class 0 on every input."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + 1e6 * torch.tensor([1.0, 0.0, 0.0], dtype=x.dtype)


class Recorder(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.seen = inner, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.detach().clone())
        return self.inner(x)


def test_every_iterate_is_tested_and_the_best_is_kept() -> None:
    model = Rows()
    images, labels = batch(model, 1)
    recorder = Recorder(model)
    found = Ascent("a", steps=7, restarts=3).run(recorder, images, labels, 0.005)
    assert not found.success.any()
    assert len(recorder.seen) == 1 + 3 * 8
    best = max(margin(model(x), labels).item() for x in recorder.seen)
    assert float(found.margins) == best


def test_the_walk_outside_is_tested_by_its_projection() -> None:
    model = Rows()
    images, labels = batch(model, 1)
    recorder = Recorder(model)
    Ascent("wander", steps=4, radii=(3.0, 1.0), step_size=1.5).run(recorder, images, labels, 0.004)
    distances = [float((x - images).abs().max()) for x in recorder.seen]
    assert max(distances) > 0.0041  # its gradients come from outside
    outside = [i for i, d in enumerate(distances) if d > 0.0041]
    assert all(torch.equal(recorder.seen[i + 1], project(recorder.seen[i], bounds(images, 0.004))) for i in outside)


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 7}, {"step_size": 0.3}, {"sizes": "cosine"}, {"momentum": 0.9}, {"loss": "cross-entropy"},
        {"loss": "targeted"}, {"start": "image"}, {"gradient": Surrogate("wide")}, {"radii": (0.5, 1.0)},
        {"name": "other"},
    ],
    ids=str,
)  # fmt: skip
def test_every_option_changes_something(change: dict[str, object]) -> None:
    model = Rows()
    images, labels = batch(model)
    base = Ascent("base", steps=6)
    one, other = (attack.run(model, images, labels, 0.02).images for attack in (base, base.but(**change)))
    assert not torch.equal(one, other)


def test_more_restarts_break_more() -> None:
    model = Rows()
    images, labels = batch(model, 60)
    counts = [int(Ascent("a", steps=3, restarts=r).run(model, images, labels, 0.02).success.sum()) for r in (1, 6)]
    assert counts[0] < counts[1]


# Laws.


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    epsilon=st.sampled_from([0.01, 0.03, 0.1]),
    steps=st.integers(0, 4),
    more=st.integers(1, 4),
    gradient=st.sampled_from([Plain(), NOISY, FiniteDifference(2)]),
    momentum=st.sampled_from([0.0, 0.9]),
)
def test_more_steps_and_more_restarts_are_never_worse_for_any_image(
    seed: int, epsilon: float, steps: int, more: int, gradient: Plain, momentum: float
) -> None:
    model = Rows(seed % 5)
    images, labels = batch(model, 12, seed)
    base = Ascent("a", steps=steps, restarts=2, step_size=0.4, gradient=gradient, momentum=momentum)
    margins = base.run(model, images, labels, epsilon, seed).margins
    for longer in (base.but(steps=steps + more), base.but(restarts=2 + more)):
        found = longer.run(model, images, labels, epsilon, seed)
        broken = margins > 0
        assert torch.equal(found.margins[broken & (longer.restarts > 2)], margins[broken & (longer.restarts > 2)])
        assert bool((found.success | ~broken).all())
        if longer.restarts > 2:
            assert bool((found.margins >= margins).all())


def test_with_a_size_that_follows_the_steps_the_law_does_not_hold() -> None:
    # Negative control of the law above: it says what it needs.
    model = Rows()
    images, labels = batch(model, 200)
    few, many = (Ascent("a", steps=s, sizes="cosine").run(model, images, labels, 0.02) for s in (3, 4))
    assert bool((few.success & ~many.success).any())


@pytest.mark.parametrize("attack", KINDS, ids=lambda a: a.name)
def test_the_fate_of_an_image_does_not_hang_on_its_batch(attack: Ascent) -> None:
    model = Rows()
    images, labels = batch(model, 12)
    together = attack.run(model, images, labels, 0.02, seed=5)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    shuffled = attack.run(model, images[order], labels[order], 0.02, seed=5)
    assert torch.equal(shuffled.images, together.images[order])
    for i in range(12):
        alone = attack.run(model, images[i : i + 1], labels[i : i + 1], 0.02, seed=5)
        assert torch.equal(alone.images[0], together.images[i])


def test_another_seed_gives_other_numbers_and_the_same_seed_the_same() -> None:
    model = Rows()
    images, labels = batch(model)
    for attack in KINDS:
        one, two, other = (attack.run(model, images, labels, 0.02, seed).images for seed in (1, 1, 2))
        assert torch.equal(one, two)
        # Momentum starts at the image, but its second restart does not.
        assert not torch.equal(one, other)


def test_images_draw_for_themselves() -> None:
    images = torch.rand(3, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    keys = image_keys(images)
    assert len(set(keys)) == 3
    assert image_keys(images.float().double()) == image_keys(images.float())
    make = lambda: Draws.of(Stream(0, "x"), 0, keys, torch.device("cpu"))  # noqa: E731
    both = make().repeated(2).normals(images.repeat_interleave(2, 0)).unflatten(0, (3, 2))
    draws = make()
    in_turn = torch.stack([draws.normals(images), draws.normals(images)], 1)
    assert torch.equal(both, in_turn)
    assert torch.equal(
        make().where(torch.tensor([False, True, True])).uniforms(images[1:]), make().uniforms(images)[1:]
    )
    # Moments of 48 x 400 numbers: a deviation wrong by 5 % would be seen (standard error 0.005).
    many = make().repeated(400).normals(images.repeat_interleave(400, 0))
    assert abs(float(many.mean())) < 4.6 / np.sqrt(many.numel())
    assert abs(float(many.std()) - 1) < 4.6 / np.sqrt(2 * many.numel())


# Nothing of others is touched.


@pytest.mark.parametrize("attack", KINDS, ids=lambda a: a.name)
def test_nothing_of_the_callers_is_touched(attack: Ascent) -> None:
    model = nn.Sequential(Rows(), nn.Dropout(0.5), nn.BatchNorm1d(3, dtype=torch.float64))
    images, labels = batch(model.eval())
    expected = attack.run(model, images, labels, EPSILON)
    model.train()
    model[2].eval()
    gradients = [torch.full_like(p, 7.0) for p in model.parameters()]
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.grad = gradient
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    given_images, given_labels = images.clone(), labels.clone()
    for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with mode():
            found = attack.run(model, images.clone(), labels.clone(), EPSILON)
        assert torch.equal(found.images, expected.images), mode
    assert torch.equal(attack.run(model, images.clone().requires_grad_(), labels, EPSILON).images, expected.images)
    assert [m.training for m in model] == [True, True, False]
    assert all(p.grad is g and bool((g == 7).all()) for p, g in zip(model.parameters(), gradients, strict=True))
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.equal(images, given_images)
    assert torch.equal(labels, given_labels)
    assert not expected.images.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("image_dtype", [torch.float32, None])
def test_half_precision_networks_are_attacked(dtype: torch.dtype, image_dtype: torch.dtype | None) -> None:
    model = Rows().to(dtype)
    images = batch(Rows())[0].to(image_dtype or dtype)
    with torch.no_grad():
        labels = model(images.to(dtype)).argmax(1)
    for attack in KINDS:
        found = attack.run(model, images, labels, EPSILON)
        assert found.images.dtype == torch.float32
        assert found.success.any()
        assert torch.equal(project(found.images, bounds(images.float(), EPSILON)), found.images)


def test_a_network_that_answers_nan_or_infinity() -> None:
    class Fragile(nn.Module):
        """NaN beyond a level of the first pixel; an infinite logit, and so a NaN gradient, of the cross-entropy."""

        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = value

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = x.flatten(1)[:, :1]
            return torch.cat([1 - first, torch.where(first > 0.55, self.value, first * 0)], 1)

    images, labels = torch.full((4, 1, 2, 2), 0.5), torch.zeros(4, dtype=torch.int64)
    for loss in ("margin", "cross-entropy"):
        for value in (torch.nan, torch.inf):
            found = Ascent("a", steps=20, loss=loss, start="image").run(Fragile(value), images, labels, 0.1)
            assert found.success.all()
            assert bool(found.images.isfinite().all())
        assert not Ascent("a", steps=20, loss=loss).run(Fragile(-torch.inf), images, labels, 0.1).success.any()


def test_each_restart_aims_at_the_next_wrong_class() -> None:
    # Logits (9, x0, x1, x2) + bias: the classes in the order of their logits at the image are 3, 1, 2.
    class Aimed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            pixels = x.flatten(1)
            return torch.cat([pixels.new_full((len(x), 1), 9.0), pixels], 1)

    images = torch.tensor([[[[0.5, 0.4, 0.6]]]], dtype=torch.float64)
    recorder = Recorder(Aimed())
    Ascent("a", steps=2, restarts=4, loss="targeted", start="image").run(
        recorder, images, torch.zeros(1, dtype=torch.int64), 0.1
    )
    raised = []
    for restart in range(4):
        first, last = recorder.seen[1 + 3 * restart], recorder.seen[3 + 3 * restart]
        raised.append((last - first).flatten().nonzero().flatten().tolist())
    assert raised == [[2], [0], [1], [2]]


# The exact search of segments.


class Slab(nn.Module):
    """Class 1 in a thin slab ``|w x - c| < width`` only: an ascent of large steps jumps over it."""

    def __init__(self) -> None:
        super().__init__()
        self.level, self.width = 0.55, 1e-4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = x.flatten(1).mean(1)
        return torch.stack([torch.zeros_like(score), self.width - (score - self.level).abs()], 1)


class ExactLine:
    """Logits affine on the pieces of a segment: the slab is met where the linear score equals the level."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, model: Slab, start: torch.Tensor, end: torch.Tensor, label: int) -> torch.Tensor | None:
        self.asked += 1
        a, b = float(start.mean()), float(end.mean())
        share = (model.level - a) / (b - a) if a != b else -1.0
        return start + share * (end - start) if label == 0 and 0 <= share <= 1 else None


def test_an_exact_search_of_the_segment_finds_what_the_steps_jump_over() -> None:
    model = Slab()
    images = torch.full((3, 1, 2, 2), 0.5, dtype=torch.float64)
    images[1] = 0.2  # too far from the slab
    labels = torch.zeros(3, dtype=torch.int64)
    attack = Ascent("a", steps=1, restarts=2, step_size=1.0, start="image")
    assert not attack.run(model, images, labels, 0.1).success.any()
    search = ExactLine()
    found = attack.but(segment=search).run(model, images, labels, 0.1)
    assert found.success.tolist() == [True, False, True]
    assert search.asked == 3 + 1  # the second restart only has the one that is left


def test_an_exact_search_for_a_linear_classifier_agrees_with_its_ends() -> None:
    weight = torch.tensor([[1.0, -1.0, 0.5, 0.0], [0.2, 0.3, -0.4, 1.0]], dtype=torch.float64)

    class Linear(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) @ weight.T

    def decide(model: nn.Module, start: torch.Tensor, end: torch.Tensor, label: int) -> torch.Tensor | None:
        # The margin of two classes is affine on the segment, so its largest value is at an end.
        ends = torch.stack([start, end])
        margins = margin(model(ends), torch.full((2,), label))
        return ends[int(margins.argmax())] if float(margins.max()) > 0 else None

    images = torch.rand(20, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    labels = Linear()(images).argmax(1)
    attack = Ascent("a", steps=5)
    with_search, without = (a.run(Linear(), images, labels, 0.1) for a in (attack.but(segment=decide), attack))
    assert torch.equal(with_search.images, without.images)


def test_a_point_of_a_search_that_lies_is_tested_and_moved_into_the_ball() -> None:
    def lie(model: nn.Module, start: torch.Tensor, end: torch.Tensor, label: int) -> torch.Tensor:
        return torch.full_like(start, 5.0)

    model = Slab()
    images, labels = torch.full((2, 1, 2, 2), 0.2), torch.zeros(2, dtype=torch.int64)
    found = Ascent("a", steps=1, segment=lie).run(model, images, labels, 0.1)
    assert not found.success.any()
    assert float(found.images.max()) <= 0.3 + 1e-7


# Errors.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": -1}, "steps=-1"),
        ({"restarts": 0}, "restarts=0"),
        ({"step_size": 0.0}, "step_size=0.0"),
        ({"momentum": -1.0}, "momentum=-1.0"),
        ({"loss": "hinge"}, "loss='hinge' is not known: it must be one of cross-entropy, margin, targeted"),
        ({"start": "zero"}, "start='zero' is not known: it must be one of random, image"),
        ({"sizes": "linear"}, "sizes='linear' is not known"),
        ({"radii": ()}, "positive shares of epsilon"),
        ({"radii": (1.0, 0.5)}, "the last of them 1"),
        ({"radii": (-1.0, 1.0)}, "positive shares"),
        ({"radii": (0.5, 1.0), "steps": 1}, "no more than steps"),
    ],
)
def test_wrong_settings_are_sentences(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message.replace("(", r"\(")):
        Ascent("a").but(**changes)


def test_wrong_images_and_labels_are_sentences() -> None:
    model, (images, labels) = Rows(), batch(Rows())
    attack = Ascent("a", steps=1)
    for bad_images, bad_labels, message in (
        (
            images,
            labels.int(),
            r"labels is torch.int32 of shape \(30,\): it must be a torch.int64 tensor of shape \(30,",
        ),
        (images, labels[:5], r"labels is torch.int64 of shape \(5,\)"),
        (images, labels.tolist(), "labels is <class 'list'>"),
        (images, labels - 5, "labels has -[345]: a label is the index of a class, from 0"),
        (images, labels + 3, "the model has 3 classes, counted from 0"),
        ((images * 255).byte(), labels, "images is torch.uint8"),
        (images.numpy(), labels, "images is <class 'numpy.ndarray'>"),
        (images * 255, labels, "images has a pixel that is NaN or outside"),
        (images * torch.nan, labels, "images has a pixel that is NaN or outside"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            attack.run(model, bad_images, bad_labels, 0.1)
    with pytest.raises(InvalidArgumentError, match="epsilon=-1"):
        attack.run(model, images, labels, -1)
    with pytest.raises(InvalidArgumentError, match=r"model returns shape \(30, 1, 4, 4\) for 30 images"):
        attack.run(nn.Identity(), images, labels, 0.1)
    with pytest.raises(InvalidArgumentError, match="loss='x' is not known"):
        loss_named("x")
