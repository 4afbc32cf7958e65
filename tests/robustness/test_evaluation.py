"""Accuracies, intervals, budgets; attacks that lie are noticed and change nothing; nobody's state is touched."""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from kwta_theory import KWTA
from kwta_theory.attacks import Ascent, Attacked, Averaged, FiniteDifference, Square, Surrogate
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.robustness import Evaluation, Row, evaluate, unmatched

EPSILON = 0.05


def network(seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 30), KWTA(0.2), nn.Linear(30, 3)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model.to(dtype)


def batch(count: int = 25, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, a fifth of them with a wrong label."""
    images = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    with torch.no_grad():
        labels = network()(images).argmax(1)
    labels[::5] = (labels[::5] + 1) % 3
    return images, labels


@dataclass(frozen=True)
class Fixed:
    """An attack that returns what a function makes of the images, and claims what it likes."""

    name: str
    make: object
    claim: object = torch.ones_like

    def run(self, _: nn.Module, images: torch.Tensor, *_rest: object) -> Attacked:
        return Attacked(self.make(images), self.claim(torch.ones(len(images))))


def only(attack: object, **more: object) -> Row:
    images, labels = batch()
    return evaluate(network(), images, labels, [attack], EPSILON, **more).rows[0]


# What is reported.


def test_the_worst_case_is_for_each_image_over_all_attacks() -> None:
    images, labels = batch()
    attacks = [Ascent("a", steps=3), Square(queries=20), Ascent("b", steps=5, restarts=3)]
    found = evaluate(network(), images, labels, attacks, EPSILON)
    assert found.clean.tolist() == [i % 5 != 0 for i in range(25)]
    for row in found.rows:
        assert bool((found.clean | ~row.robust).all())
        assert row.robust.shape == (25,)
    assert torch.equal(found.worst, found.rows[0].robust & found.rows[1].robust & found.rows[2].robust)
    assert 0 < int(found.worst.sum()) < min(int(row.robust.sum()) for row in found.rows) + 1
    value, interval = found.accuracy(found.clean)
    assert (value, found.n) == (20 / 25, 25)
    exact = stats.binomtest(20, 25).proportion_ci(0.95, "exact")
    assert (interval.lower, interval.upper) == pytest.approx((exact.low, exact.high), abs=1e-12)
    narrow = found.accuracy(found.clean, error=0.5)[1]
    assert interval.lower < narrow.lower < narrow.upper < interval.upper


def test_every_success_stands_in_float64_at_batch_size_one() -> None:
    images, labels = batch()
    model = network(dtype=torch.float32)
    kept = []

    @dataclass(frozen=True)
    class Keeping:
        inner: Ascent
        name: str = "keeping"

        def run(self, *arguments: object) -> Attacked:
            kept.append(self.inner.run(*arguments))
            return kept[-1]

    found = evaluate(model, images.float(), labels, [Keeping(Ascent("a", steps=20))], EPSILON, batch_size=100)
    fine = network(dtype=torch.float32).double()
    broken = (found.clean & ~found.rows[0].robust).nonzero().squeeze(1).tolist()
    assert broken
    right = found.clean.nonzero().squeeze(1).tolist()
    for i in broken:
        point = kept[0].images[right.index(i)].double()
        pairs = zip(point.flatten().tolist(), images[i].float().flatten().tolist(), strict=True)
        assert all(abs(Fraction(p) - Fraction(x)) <= Fraction(EPSILON) and 0 <= p <= 1 for p, x in pairs)
        assert int(fine(point[None]).argmax()) != int(labels[i])


def test_passes_seconds_and_budget() -> None:
    # Epsilon 0: nothing can be broken, so every image costs the whole budget.
    images, labels = batch()
    attack = Ascent("a", steps=4, restarts=2, gradient=Averaged(3))
    row = evaluate(network(), images, labels, [attack], 0.0).rows[0]
    assert (row.forward_passes, row.gradient_passes) == (attack.budget, 4 * 2 * 3)
    assert row.budget == attack.budget == 1 + 2 * (4 * 4 + 1)
    assert row.seconds > 0
    assert row.cpu_seconds > 0
    assert evaluate(network(), images, labels, [attack], EPSILON).rows[0].forward_passes < attack.budget
    assert only(Fixed("f", lambda x: x)).budget is None


def test_rows_are_reported_as_they_come() -> None:
    told: list[Row] = []
    images, labels = batch()
    found = evaluate(network(), images, labels, [Ascent("a", steps=1), Square(queries=3)], EPSILON, report=told.append)
    assert tuple(told) == found.rows


def test_no_image_that_is_right_means_no_attack() -> None:
    images, _ = batch()
    with torch.no_grad():
        wrong = (network()(images).argmax(1) + 1) % 3
    row = evaluate(network(), images, wrong, [Ascent("a")], EPSILON).rows[0]
    assert (int(row.robust.sum()), row.forward_passes, row.remarks) == (0, 0, ())


# Lies.


def test_an_attack_that_finds_nothing_leaves_the_clean_accuracy() -> None:
    row = only(Fixed("honest", lambda x: x, lambda ones: -ones))
    assert row.remarks == ()
    assert int(row.robust.sum()) == 20


LIES = {
    "claims success": (lambda x: x, torch.ones_like, "20 claimed successes are classified correctly when judged"),
    "infinite claims": (lambda x: x, lambda ones: ones * torch.inf, "20 claimed successes"),
    "nan": (lambda x: x * torch.nan, torch.ones_like, "20 points had a pixel that is NaN"),
    "wrong shape": (lambda x: x[:, 0], torch.ones_like, r"it returned \(20, 4, 4\) where one point"),
    "one point": (lambda x: x[:1], torch.ones_like, r"it returned \(1, 1, 4, 4\) where one point"),
    "nothing": (lambda _: None, torch.ones_like, "it returned NoneType where one point"),
    "no margins": (lambda x: x, lambda _: None, "it returned margins of NoneType"),
    "few margins": (lambda x: x, lambda ones: ones[:3], r"it returned margins of torch.Size\(\[3\]\)"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_changes_nothing_and_is_noticed(lie: str) -> None:
    make, claim, message = LIES[lie]
    row = only(Fixed("liar", make, claim))
    assert int(row.robust.sum()) == 20
    with pytest.raises(AssertionError, match=message):  # a regular expression in a remark
        raise AssertionError("\n".join(row.remarks))


def test_a_point_outside_the_ball_is_moved_into_it_and_noticed() -> None:
    # Black images: what a failed attack of a well-known package returns. Judged as they are, some would count.
    images, labels = batch()
    black = only(Fixed("black", torch.zeros_like))
    with torch.no_grad():
        naive = int((network()(torch.zeros(1, 1, 4, 4, dtype=torch.float64)).argmax(1) != labels[black.robust]).sum())
        moved = (images - EPSILON).clamp_min(0)
        due = (network()(moved).argmax(1) == labels) & (network()(images).argmax(1) == labels)
    assert naive > 5
    assert torch.equal(black.robust, due)
    assert any(r.startswith("20 points were outside the ball, by up to 0.9") for r in black.remarks)
    infinite = only(Fixed("infinite", lambda x: torch.full_like(x, torch.inf)))
    assert any("20 points were outside the ball, by up to inf" in r for r in infinite.remarks)


def test_a_success_that_is_not_claimed_counts_and_is_noticed() -> None:
    class Silent(Ascent):
        def run(self, *arguments: object) -> Attacked:
            return Attacked(super().run(*arguments).images, torch.zeros(20))

    honest, silent = only(Ascent("a", steps=10)), only(Silent("a", steps=10))
    assert torch.equal(honest.robust, silent.robust)
    assert honest.remarks == ()
    assert silent.remarks == (
        f"{20 - int(honest.robust.sum())} points are misclassified when judged, though not claimed",
    )


def test_an_attack_that_spoils_what_it_is_given() -> None:
    @dataclass(frozen=True)
    class Vandal:
        name: str = "vandal"

        def run(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *_rest: object) -> Attacked:
            images.zero_()
            labels.zero_()
            model.train()
            model(images).sum().backward()
            with torch.no_grad():
                model[1].weight.zero_()
            torch.manual_seed(0)
            random.seed(0)
            np.random.seed(0)  # noqa: NPY002
            return Attacked(images, torch.ones(len(images)))

    images, labels = batch()
    model, given = network().train(), (images.clone(), labels.clone())
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    after = Ascent("after", steps=5)
    alone = only(after)
    states = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    found = evaluate(model, images, labels, [Vandal(), after], EPSILON)
    assert any("it changed 1.weight of the network, which was put back" in r for r in found.rows[0].remarks)
    assert torch.equal(found.rows[1].robust, alone.robust)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert (model.training, model[1].training, model[2].training) == (True, True, False)
    assert torch.equal(images, given[0])
    assert torch.equal(labels, given[1])
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])  # noqa: NPY002


def test_an_error_of_an_attack_comes_through_and_leaves_nothing_behind() -> None:
    def fail(x: torch.Tensor) -> torch.Tensor:
        torch.rand(1)
        raise RuntimeError("no luck")

    images, labels = batch()
    model = network().train()
    state = torch.random.get_rng_state()
    with pytest.raises(RuntimeError, match="no luck"):
        evaluate(model, images, labels, [Fixed("f", fail)], EPSILON)
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_attacks_that_use_the_global_generators_are_reproducible() -> None:
    def noise(x: torch.Tensor) -> torch.Tensor:
        drawn.append((float(torch.rand(1)), random.random(), np.random.random()))  # noqa: NPY002
        return x

    drawn: list[tuple[float, float, float]] = []
    for seed, name, size in ((0, "f", 10), (0, "f", 10), (1, "f", 10), (0, "g", 10)):
        only(Fixed(name, noise), seed=seed, batch_size=size)
    assert drawn[:2] == drawn[2:4]
    assert len({*drawn[:2], *drawn[4:]}) == 6


# What must not matter.


ATTACKS = [
    Ascent("a", steps=4, restarts=2),
    Ascent("b", steps=3, gradient=Surrogate("wide", Averaged(2))),
    Ascent("c", steps=3, gradient=FiniteDifference(3)),
    Square(queries=15),
]


def test_results_do_not_depend_on_batches_order_modes_or_the_other_attacks() -> None:
    images, labels = batch()
    reference = evaluate(network(), images, labels, ATTACKS, EPSILON)
    robust = [row.robust for row in reference.rows]
    assert len({tuple(r.tolist()) for r in robust}) > 1
    for size in (1, 7):
        again = evaluate(network(), images, labels, ATTACKS[::-1], EPSILON, batch_size=size).rows[::-1]
        assert all(torch.equal(row.robust, r) for row, r in zip(again, robust, strict=True))
    part = evaluate(network(), images[3:14], labels[3:14], ATTACKS, EPSILON)
    assert all(torch.equal(row.robust, r[3:14]) for row, r in zip(part.rows, robust, strict=True))
    model = network().train()
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            again = evaluate(model, images, labels, ATTACKS, EPSILON).rows
        assert all(torch.equal(row.robust, r) for row, r in zip(again, robust, strict=True))
    other = evaluate(network(), images, labels, ATTACKS, EPSILON, seed=1)
    assert any(not torch.equal(row.robust, r) for row, r in zip(other.rows, robust, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_precisions(dtype: torch.dtype) -> None:
    images, labels = batch()
    found = evaluate(network(dtype=dtype), images.to(dtype), labels, ATTACKS, EPSILON)
    assert int(found.worst.sum()) < int(found.clean.sum())
    assert not any("outside" in remark for row in found.rows for remark in row.remarks)
    coarse = evaluate(network(dtype=dtype), images.to(dtype), labels, ATTACKS[:1], EPSILON, judge_dtype=dtype)
    assert coarse.judge_dtype == dtype


# Comparing two networks.


def test_evaluations_are_compared_with_matched_budgets_only() -> None:
    images, labels = batch()
    here = evaluate(network(), images, labels, ATTACKS, EPSILON)
    assert unmatched(here, evaluate(network(3), images, labels, ATTACKS, EPSILON, batch_size=3)) == ()

    def against(**changes: object) -> tuple[str, ...]:
        arguments = {"images": images, "labels": labels, "attacks": ATTACKS, "epsilon": EPSILON} | changes
        return unmatched(here, evaluate(network(3), **arguments))

    assert against(epsilon=0.06) == ("The epsilons differ: 0.05 and 0.06.",)
    assert [r[:26] for r in against(images=images[:9], labels=labels[:9])] == [
        "The images or labels diffe", "The numbers of images diff",
    ]  # fmt: skip
    assert len(against(labels=labels.roll(1))) == 1
    assert "judge's precisions differ: torch.float64 and torch.float32" in against(judge_dtype=torch.float32)[0]
    assert against(attacks=ATTACKS[1:]) == ("Only one of them was attacked by a.",)
    longer = [ATTACKS[0].but(steps=5), *ATTACKS[1:]]
    assert len(against(attacks=longer)) == 1
    assert "The settings of a differ: Ascent(name='a', steps=4" in against(attacks=longer)[0]
    finer = [*ATTACKS[:2], ATTACKS[2].but(gradient=FiniteDifference(4)), ATTACKS[3]]
    assert "FiniteDifference(pairs=4" in against(attacks=finer)[0]


def test_settings_name_no_address() -> None:
    class Bare:
        name = "bare"

        def __init__(self, strength: int) -> None:
            self.strength = strength

        def run(self, *arguments: torch.Tensor) -> Attacked:
            return Attacked(arguments[1], torch.zeros(len(arguments[1])))

    assert "Bare(strength=3)" in only(Bare(3)).settings
    assert " at 0x" not in only(Ascent("a", steps=1, segment=lambda *_: None)).settings


# Errors.


def test_wrong_arguments_are_sentences() -> None:
    images, labels = batch()
    attack = Ascent("a", steps=1)
    for attacks, more, message in (
        ([], {}, r"attacks=\[\] is not allowed: at least one, each name once"),
        ([attack, attack], {}, r"attacks=\['a', 'a'\] is not allowed"),
        ([attack], {"batch_size": 0}, "batch_size=0"),
        ([attack], {"seed": -1}, "seed=-1"),
        ([attack], {"judge_dtype": torch.int32}, "judge_dtype=torch.int32"),
        ([attack], {"epsilon": -1.0}, r"epsilon=-1\.0"),
        ([attack], {"images": images * 2}, "outside"),
        ([attack], {"labels": labels.int()}, r"labels is torch\.int32"),
    ):
        arguments = {"images": images, "labels": labels, "epsilon": EPSILON} | more
        with pytest.raises(InvalidArgumentError, match=message):
            evaluate(network(), attacks=attacks, **arguments)


def test_an_evaluation_can_be_made_by_hand() -> None:
    row = Row("a", torch.tensor([True, False, False]), 0.0, 1.0, 1.0)
    found = Evaluation(0.1, torch.tensor([True, True, False]), (row,))
    assert found.worst.tolist() == [True, False, False]
    assert found.accuracy(found.worst)[0] == pytest.approx(1 / 3)
