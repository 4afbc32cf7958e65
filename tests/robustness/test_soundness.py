"""What is known without attacking must be reached by attacking: exact accuracies, masked gradients, laws."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import nn

from kwta_theory import KWTA, activation_pattern
from kwta_theory.attacks import Ascent, Averaged, FiniteDifference, Plain, Square, Surrogate
from kwta_theory.robustness import evaluate

PLAIN = [
    Ascent("pgd", steps=20, restarts=2, loss="cross-entropy"),
    Ascent("pgd from the image", steps=20, start="image", loss="cross-entropy"),
    Ascent("mim", steps=20, momentum=0.9, loss="cross-entropy"),
]
ADAPTIVE = [
    Ascent("margin", steps=20),
    Ascent("wide", steps=20, gradient=Surrogate("wide", Averaged(1, 0.25))),
    Ascent("differences", steps=20, gradient=FiniteDifference(((0.0, 32), (0.5, 128)))),
    Square(queries=300),
]


class Linear(nn.Module):
    """``W x + b``, and what of a set of images can be attacked, in closed form."""

    def __init__(self, classes: int, seed: int = 0, pixels: int = 36) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(classes, pixels, generator=generator, dtype=torch.float64))
        self.bias = nn.Parameter(-self.weight.detach().sum(1) / 2)  # balanced for images around one half

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1)[:, None] * self.weight).sum(-1) + self.bias

    def largest_margins(self, images: torch.Tensor, labels: torch.Tensor, epsilon: float) -> list[float]:
        """The largest margin in each ball: for each wrong class every pixel goes to the better end of its interval."""
        result = []
        weight, bias = self.weight.tolist(), self.bias.tolist()
        for image, label in zip(images.flatten(1).tolist(), labels.tolist(), strict=True):
            margins = []
            for wrong in set(range(len(weight))) - {label}:
                best = bias[wrong] - bias[label]
                for pixel, up, down in zip(image, weight[wrong], weight[label], strict=True):
                    ends = max(0.0, pixel - epsilon), min(1.0, pixel + epsilon)
                    best += max((up - down) * end for end in ends)
                margins.append(best)
            result.append(max(margins))
        return result


def images_of(count: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("gradient", [Plain(), Averaged(2), Surrogate("wide")], ids=["plain", "averaged", "wide"])
@pytest.mark.parametrize("loss", ["margin", "cross-entropy", "targeted"])
def test_the_exact_robust_accuracy_of_a_linear_classifier_is_reached(classes: int, gradient: Plain, loss: str) -> None:
    model, images, epsilon = Linear(classes), images_of(120), 0.06
    with torch.no_grad():
        labels = model(images).argmax(1)
    exact = model.largest_margins(images, labels, epsilon)
    assert min(abs(m) for m in exact) > 1e-9  # nothing hangs on rounding
    breakable = torch.tensor([m > 0 for m in exact])
    assert 20 < int(breakable.sum()) < 115
    # Towards one class, one corner of the ball is best and every step goes towards it: one restart for each wrong class
    # finds all there is. The margin over several classes can have local maxima.
    attack = Ascent("a", steps=20, restarts=classes - 1, loss=loss, gradient=gradient)
    found = evaluate(model, images, labels, [attack], epsilon)
    assert bool(found.clean.all())
    assert found.rows[0].remarks == ()
    if loss == "targeted" or classes == 2:
        assert torch.equal(found.worst, ~breakable)
    else:
        assert not bool((~found.worst & ~breakable).any())
        assert int(found.worst.sum()) <= int((~breakable).sum()) + 12


def test_the_largest_margin_is_reached_to_the_last_bit() -> None:
    model, images, epsilon = Linear(2), images_of(30), 0.02
    with torch.no_grad():
        labels = model(images).argmax(1)
    found = Ascent("a", steps=20).run(model, images, labels, epsilon)
    exact = torch.tensor(model.largest_margins(images, labels, epsilon), dtype=torch.float64)
    left = found.margins <= 0
    assert 5 < int(left.sum()) < 30
    torch.testing.assert_close(found.margins[left], exact[left], rtol=0, atol=1e-12)


def test_the_margin_of_five_classes_has_local_maxima() -> None:
    # Why there is a targeted loss: ten restarts of the margin miss an image that four targeted ones break.
    model, images, epsilon = Linear(5), images_of(120), 0.06
    with torch.no_grad():
        labels = model(images).argmax(1)
    exact = sum(m <= 0 for m in model.largest_margins(images, labels, epsilon))
    attacks = [Ascent("a", steps=20, restarts=10), Ascent("b", steps=20, restarts=4, loss="targeted")]
    found = evaluate(model, images, labels, attacks, epsilon)
    assert [int(row.robust.sum()) for row in found.rows] == [exact + 1, exact]


def test_a_weaker_attack_does_not_reach_it() -> None:
    # Negative control: two small steps leave images that can be broken.
    model, images, epsilon = Linear(2), images_of(120), 0.06
    with torch.no_grad():
        labels = model(images).argmax(1)
    exact = sum(m <= 0 for m in model.largest_margins(images, labels, epsilon))
    short = evaluate(model, images, labels, [Ascent("a", steps=2, step_size=0.2, start="image")], epsilon)
    assert int(short.worst.sum()) > exact


# Gradients that are masked on purpose.


class Quantised(nn.Module):
    """Pixels are rounded to twenty levels before a linear classifier: a gradient that is zero everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Linear(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner((x * 20).round() / 20)


class Saturated(nn.Module):
    """Logits a million times too large: the cross-entropy is zero, and so is its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Linear(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1e6 * self.inner(x)


class Winners(KWTA):
    """The pattern in place of the values: a hard threshold, whose gradient is zero."""

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return activation_pattern(y, max(1, int(self.sparsity_ratio * y.shape[1]))).to(y.dtype) + 0 * y


def thresholded() -> nn.Module:
    """A classifier of the six-pixel halves of an image by which random features win."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 100), Winners(0.2), nn.Linear(100, 2)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        inputs = images_of(400, seed=9)
        model[3].bias[1] += float((model(inputs) @ torch.tensor([1.0, -1.0], dtype=torch.float64)).median())
    return model


MASKED = {"quantised": (Quantised, 0.15), "saturated": (Saturated, 0.15), "thresholded": (thresholded, 0.15)}


@pytest.mark.parametrize("name", MASKED)
def test_masked_gradients_stop_the_plain_attacks_and_not_the_adaptive_ones(name: str) -> None:
    make, epsilon = MASKED[name]
    model, images = make(), images_of(40)
    with torch.no_grad():
        logits = model(images)
        labels = logits.argmax(1)
    # Only images that no random start breaks by luck: here the plain attacks know nothing more than that.
    noise = torch.rand(30, *images.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    with torch.no_grad():
        stands = torch.stack(
            [model((images + epsilon * (2 * u - 1)).clamp(0, 1)).argmax(1) == labels for u in noise]
        ).all(0)
    images, labels = images[stands], labels[stands]
    assert len(images) >= 8
    plain = evaluate(model, images, labels, PLAIN, epsilon)
    adaptive = evaluate(model, images, labels, ADAPTIVE, epsilon)
    assert plain.accuracy(plain.worst)[0] >= 0.8
    assert adaptive.accuracy(adaptive.worst)[0] <= 0.1
    broken = {row.name: 1 - float(row.robust.double().mean()) for row in adaptive.rows}
    due = {"quantised": "differences", "saturated": "margin", "thresholded": "wide"}[name]
    assert broken[due] > 0.5, broken
    assert broken["square"] > 0.3, broken


def test_without_a_mask_the_plain_attacks_work() -> None:
    # Negative control: the same classifier without quantisation falls to them.
    model, images = Linear(2), images_of(40)
    with torch.no_grad():
        labels = model(images).argmax(1)
    assert int(evaluate(model, images, labels, PLAIN, 0.15).worst.sum()) == 0


# Laws of an evaluation.


def discontinuous(seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 60), KWTA(0.1), nn.Linear(60, 40), KWTA(0.1), nn.Linear(40, 4))
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_attacked_accuracy_is_never_above_clean_and_falls_with_the_radius(dtype: torch.dtype) -> None:
    model, images = discontinuous().to(dtype), images_of(20).to(dtype)
    with torch.no_grad():
        labels = model(images).argmax(1)
    labels[:4] = (labels[:4] + 1) % 4
    attacks = [*(a.but(steps=5) for a in (PLAIN[0], ADAPTIVE[1], ADAPTIVE[2])), Square(queries=50)]
    accuracies = []
    for epsilon in (0.0, 0.01, 0.03, 0.1):
        found = evaluate(model, images, labels, attacks, epsilon)
        assert not bool((found.worst & ~found.clean).any())
        assert not any(bool((row.robust & ~found.clean).any()) for row in found.rows)
        accuracies.append(found.accuracy(found.worst)[0])
        if not epsilon:
            assert torch.equal(found.worst, found.clean)
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] > accuracies[-1]


@pytest.mark.parametrize("gradient", [Plain(), Surrogate("wide", Averaged(1, 0.25))], ids=["plain", "wide"])
def test_more_steps_or_restarts_leave_no_image_better_off(gradient: Plain) -> None:
    model, images = discontinuous(), images_of(60)
    with torch.no_grad():
        labels = model(images).argmax(1)
    base = Ascent("a", steps=4, step_size=0.3, gradient=gradient)
    counts = []
    before = torch.ones(60, dtype=torch.bool)
    for steps, restarts in ((0, 1), (1, 1), (4, 1), (4, 2), (8, 2), (8, 5)):
        now = evaluate(model, images, labels, [base.but(steps=steps, restarts=restarts)], 0.03).worst
        assert not bool((now & ~before).any())
        counts.append(int(now.sum()))
        before = now
    assert counts[0] > counts[-1]


def test_every_success_holds_in_exact_arithmetic() -> None:
    # A third route, which shares no floating point with the judge: fractions, for a linear classifier.
    model, images, epsilon = Linear(3), images_of(40).float(), 0.06
    with torch.no_grad():
        labels = model(images.double()).argmax(1)
    found = Ascent("a", steps=20, restarts=3).run(model, images, labels, epsilon)
    robust = evaluate(model, images, labels, [Ascent("a", steps=20, restarts=3)], epsilon).worst
    assert torch.equal(robust, ~found.success)
    weight = [[Fraction(w) for w in row] for row in model.weight.tolist()]
    bias = [Fraction(b) for b in model.bias.tolist()]
    for i in found.success.nonzero().squeeze(1).tolist():
        point = [Fraction(p) for p in found.images[i].flatten().tolist()]
        image = [Fraction(p) for p in images[i].flatten().tolist()]
        assert all(abs(p - x) <= Fraction(epsilon) and 0 <= p <= 1 for p, x in zip(point, image, strict=True))
        logits = [sum(w * p for w, p in zip(row, point, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
        assert max(range(3), key=logits.__getitem__) != int(labels[i])


def test_a_larger_population_interval_comes_with_fewer_images() -> None:
    model, images = Linear(2), images_of(80)
    with torch.no_grad():
        labels = model(images).argmax(1)
    widths = []
    for n in (20, 80):
        found = evaluate(model, images[:n], labels[:n], [Ascent("a", steps=20)], 0.03)
        interval = found.accuracy(found.worst)[1]
        widths.append(interval.upper - interval.lower)
    assert widths[0] > 1.5 * widths[1]
    assert math.isclose(widths[0] / widths[1], 2, rel_tol=0.3)
