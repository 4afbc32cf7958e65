from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwta_theory.campaign import Moments, Tally
from kwta_theory.checks import InvalidArgumentError

finite = st.floats(-1e6, 1e6)


@st.composite
def tallies(draw):
    values = draw(st.lists(finite, max_size=5))
    return Tally(len(values), {"up": sum(v > 0 for v in values)}, {"v": Moments.of(values)})


@given(st.lists(tallies(), min_size=1, max_size=5), st.randoms())
def test_addition_is_a_commutative_monoid_to_the_last_bit(parts, random):
    total = sum(parts, Tally())
    shuffled = random.sample(parts, len(parts))
    assert sum(shuffled) == total
    assert Tally() + total == total + Tally() == total
    middle = len(parts) // 2
    assert sum(parts[:middle], Tally()) + sum(parts[middle:], Tally()) == total


def test_floating_point_addition_would_not_have_been_associative():
    # The control of the test above: the same law fails for plain floats.
    a, b, c = 0.1, 0.2, 0.3
    assert (a + b) + c != a + (b + c)
    parts = [Tally(1, {}, {"v": Moments.of([x])}) for x in (a, b, c)]
    assert (parts[0] + parts[1]) + parts[2] == parts[0] + (parts[1] + parts[2])


@given(tallies())
def test_json_gives_the_tally_back(tally):
    assert Tally.from_json(tally.to_json()) == tally
    assert Tally.from_json(tally.to_json()).to_json() == tally.to_json()


@given(st.lists(finite, min_size=2, max_size=40))
def test_mean_and_variance_are_those_of_numpy(values):
    tally = Tally(len(values), {"up": sum(v > 0 for v in values)}, {"v": Moments.of(values)})
    scale = max(map(abs, values)) + 1
    assert tally.mean("v") == pytest.approx(np.mean(values), abs=1e-12 * scale)
    assert tally.variance("v") == pytest.approx(np.var(values, ddof=1), rel=1e-9, abs=1e-12 * scale**2)
    ups = np.array([v > 0 for v in values], dtype=float)
    assert tally.mean("up") == pytest.approx(ups.mean())
    assert tally.variance("up") == pytest.approx(ups.var(ddof=1))


def test_equal_values_have_no_variance_whatever_the_rounding():
    tally = sum(Tally(3, {}, {"v": Moments.of([0.1, 0.1, 0.1])}) for _ in range(7))
    assert tally.variance("v") < 1e-17


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tally(2, {"up": 3}), r"counts\['up'\]=3 is not allowed"),
        (lambda: Tally(-1), "trials=-1 is not allowed"),
        (lambda: Tally(1, {"up": 1}) + Tally(1, {"down": 1}), "of up and of down cannot be added"),
        (lambda: Tally(0, {"up": 0}).mean("up"), "trials=0 is not allowed here"),
        (lambda: Tally(1, {"up": 0}).variance("up"), "must be at least 2"),
        (lambda: Tally(1, {"up": 0}).mean("down"), "outcome='down' is not in this tally"),
        (lambda: Moments(float("nan"), 0), "total=nan is not allowed"),
        (lambda: Moments(0, -1), "squares=-1 is not allowed"),
        (lambda: Tally.from_json("[]"), "is not a tally"),
        (lambda: Tally.from_json('{"trials":1,"counts":{"up":1.5},"moments":{}}'), "counts"),
        (lambda: Tally.from_json('{"trials":1,"counts":{},"moments":{"v":["1/0","1"]}}'), "is not a tally"),
        (lambda: Tally.from_json('{"trials":1,"counts":{},"moments":{"v":[1,1]}}'), "is not a tally"),
        (lambda: Tally.from_json('{"trials":1,"counts":{},"moments":{},"code":"x"}'), "is not a tally"),
        (lambda: Tally.from_json("[" * 100_000), "is not a tally"),
    ],
)
def test_what_is_no_tally_is_refused(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()


def test_other_types_do_not_add():
    with pytest.raises(TypeError):
        Tally() + 1
    with pytest.raises(TypeError):
        Moments() + 1


def test_closeness_forgives_rounding_of_sums_and_nothing_else():
    def tally(total, squares, ups=1):
        return Tally(4, {"up": ups}, {"v": Moments(Fraction(total), Fraction(squares))})

    one = tally(2.0, 3.0)
    assert one.close_to(one)
    assert one.close_to(tally(2.0 * (1 + 1e-13), 3.0))
    assert not one.close_to(tally(2.0 * (1 + 1e-6), 3.0))
    assert not one.close_to(tally(2.0, 3.0 * (1 + 1e-6)))
    assert not one.close_to(tally(2.0, 3.0, ups=2))
    assert not one.close_to(Tally(4, {"up": 1}))
