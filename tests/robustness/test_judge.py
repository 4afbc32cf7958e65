"""The judge: one image at a time, float64, evaluation mode, exactly inside the ball; and what it guards and counts."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

from kwta_theory.attacks import bounds
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.robustness import Judge, counted, guarded


class Classifier(nn.Module):
    """Class 1 where the mean of the image is above a level."""

    def __init__(self, level: float = 0.5) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(level))
        self.sizes: list[int] = []
        self.dtypes: list[torch.dtype] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        self.dtypes.append(x.dtype)
        score = x.flatten(1).mean(1) - self.level
        return torch.stack([-score, score], 1)


IMAGES = torch.tensor([0.45, 0.2, 0.52, 0.9])[:, None, None, None].expand(4, 1, 3, 3).clone()
LABELS = torch.tensor([0, 0, 1, 1])


def judge(model: nn.Module | None = None, epsilon: float = 0.1, **more: object) -> Judge:
    return Judge(model or Classifier(), IMAGES, LABELS, epsilon, **more)


def test_points_are_judged_one_at_a_time_in_float64_by_a_copy_in_evaluation_mode() -> None:
    class Spy(Classifier):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert not self.training
            assert not torch.is_grad_enabled()
            sizes.append((len(x), x.dtype, self.level.dtype))
            return super().forward(x)

    sizes: list[tuple[int, torch.dtype, torch.dtype]] = []
    model = Spy().train()
    found = judge(model).correct(IMAGES)
    assert found.tolist() == [True] * 4
    assert sizes == [(1, torch.float64, torch.float64)] * 4
    assert model.training
    assert model.level.dtype == torch.float32
    sizes.clear()
    judge(model, dtype=torch.float32).correct(IMAGES)
    assert sizes == [(1, torch.float32, torch.float32)] * 4


def test_batch_statistics_and_dropout_have_no_say() -> None:
    # In training mode, batch normalisation would undo any shift of a whole batch.
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(9), nn.Dropout(0.9), nn.Linear(9, 2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    once, again = (Judge(model, IMAGES, LABELS, 0.1).correct(IMAGES) for _ in range(2))
    assert torch.equal(once, again)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_float64_decides() -> None:
    class Cancelling(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            score = (x.flatten(1).sum(1) + 1e9) - 1e9 - 4.0  # float32 loses the sum of nine 0.45
            return torch.stack([-score, score], 1)

    images, labels = IMAGES[:1], torch.tensor([1])
    assert Judge(Cancelling(), images, labels, 0.1).correct(images).tolist() == [True]
    assert Judge(Cancelling(), images, labels, 0.1, torch.float32).correct(images).tolist() == [False]


def test_no_point_outside_the_ball_is_judged_and_none_inside_is_moved() -> None:
    here = judge()
    far = torch.stack([torch.full((1, 3, 3), value) for value in (5.0, -5.0, torch.inf, -torch.inf)])
    admitted = here.admitted(far)
    for point, image in zip(admitted.flatten().tolist(), IMAGES.flatten().tolist(), strict=True):
        assert abs(Fraction(point) - Fraction(image)) <= Fraction(0.1)
        assert 0 <= point <= 1
    assert admitted.flatten(1)[:, 0].tolist() == pytest.approx([0.55, 0.1, 0.62, 0.8], abs=1e-7)
    assert here.correct(far).tolist() == [False, True, True, True]
    # Every float32 point of the ball stays, to the bit.
    for points in (IMAGES, *bounds(IMAGES, 0.1)):
        assert torch.equal(here.admitted(points), points.double())
    # A negative control: rounded to nearest, some points are outside and must be moved.
    assert not torch.equal(here.admitted(IMAGES + 0.1), (IMAGES + 0.1).double())


def test_a_nan_goes_back_to_its_image() -> None:
    points = IMAGES + 0.07
    points[0, 0, 1, 1] = torch.nan
    admitted = judge().admitted(points)
    assert admitted[0, 0, 1, 1] == IMAGES[0, 0, 1, 1].double()
    assert bool(admitted.isfinite().all())
    assert judge().correct(torch.full_like(IMAGES, torch.nan)).tolist() == [True] * 4


def test_points_of_some_of_the_images() -> None:
    index = torch.tensor([2, 0])
    points = torch.tensor([0.45, 0.54])[:, None, None, None].expand(2, 1, 3, 3)
    assert judge().correct(points, index).tolist() == [False, False]
    assert judge().correct(points.flip(0), index).tolist() == [True, True]


def test_nan_is_no_answer_and_a_tie_is_the_smaller_class() -> None:
    class Constant(nn.Module):
        def __init__(self, *logits: float) -> None:
            super().__init__()
            self.logits = logits

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor(self.logits, dtype=x.dtype).expand(len(x), -1)

    images = IMAGES[:2]
    labels = torch.tensor([0, 1])
    for logits, due in (
        ((torch.nan, 0.0), [False, False]),
        ((0.0, torch.nan), [False] * 2),
        ((2.0, 2.0), [True, False]),
    ):
        assert Judge(Constant(*logits), images, labels, 0.1).correct(images).tolist() == due


def test_what_happens_to_the_model_or_the_images_later_does_not_matter() -> None:
    model, images = Classifier(), IMAGES.clone()
    here = Judge(model, images, LABELS, 0.1)
    with torch.no_grad():
        model.level.fill_(-9.0)
        images.zero_()
    assert here.correct(IMAGES).tolist() == [True] * 4


def test_wrong_arguments_are_sentences() -> None:
    model = Classifier()
    for arguments, message in (
        ((IMAGES * 3, LABELS, 0.1), "images has a pixel that is NaN or outside"),
        ((IMAGES, LABELS.int(), 0.1), r"labels is torch\.int32"),
        ((IMAGES[:0], LABELS[:0], 0.1), "images is empty: an accuracy needs at least one"),
        ((IMAGES, LABELS, -0.1), "epsilon=-0.1"),
        ((IMAGES, LABELS, 0.1, torch.int64), r"judge_dtype=torch\.int64 is not allowed"),
        ((IMAGES, LABELS, 0.1, "float64"), "judge_dtype='float64' is not allowed"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            Judge(model, *arguments)
    with pytest.raises(InvalidArgumentError, match="the model has 2 classes"):
        Judge(model, IMAGES, LABELS + 1, 0.1).correct(IMAGES)


# Counting.


def test_passes_are_counted_whoever_sends_them() -> None:
    model, x = Classifier(), IMAGES.clone().requires_grad_()
    with counted(model) as passes:
        model(IMAGES)
        with torch.no_grad():
            model(x)
        model(x)  # a graph that nobody uses is no backward pass
        assert (passes.forward, passes.backward) == (12, 0)
        for _ in range(3):  # the same leaf again and again
            torch.autograd.grad(model(x=x).sum(), x)
        assert (passes.forward, passes.backward) == (24, 12)
        model(x * 1).sum().backward()
        assert (passes.forward, passes.backward) == (28, 16)
    model(IMAGES)
    assert passes.forward == 28
    assert not model._forward_pre_hooks


def test_counting_changes_no_value_and_no_gradient() -> None:
    model, x = Classifier(), IMAGES.clone().requires_grad_()
    plain = torch.autograd.grad(model(x).square().sum(), x)[0]
    with counted(model):
        assert torch.equal(torch.autograd.grad(model(x).square().sum(), x)[0], plain)


def test_a_model_without_a_tensor_is_not_counted_and_hooks_go_after_an_error() -> None:
    class Nothing(nn.Module):
        def forward(self, x: int) -> int:
            return x

    model = Nothing()
    with pytest.raises(ZeroDivisionError), counted(model) as passes:
        model(1 // (model(1) - 1))
    assert passes.forward == 0
    assert not model._forward_pre_hooks


# Guarding.


def test_a_model_comes_out_as_it_went_in() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(9), nn.Linear(9, 2)).train()
    model[1].eval()
    gradient = torch.ones_like(model[2].weight)
    model[2].weight.grad = gradient
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def spoil() -> None:
        assert not model.training
        assert model[2].weight.grad is None
        model.train()
        model(IMAGES).sum().backward()
        with torch.no_grad():
            model[2].bias.add_(1.0)
        raise RuntimeError("on the way")

    kept: list[list[str]] = []

    def run() -> None:
        with guarded(model) as remarks:
            kept.append(remarks)
            spoil()

    with pytest.raises(RuntimeError, match="on the way"):
        run()
    assert kept == [["it changed 1.running_mean of the network, which was put back"]]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model[2].weight.grad is gradient
    assert bool((gradient == 1).all())
    assert model[2].bias.grad is None
    assert [m.training for m in model] == [True, False, True]


def test_a_model_that_nobody_spoils_is_not_remarked_upon() -> None:
    model = nn.BatchNorm1d(9)
    model.running_mean.fill_(torch.nan)  # a NaN that was there before is no change
    with guarded(model) as remarks:
        model(torch.rand(3, 9))
    assert remarks == []
