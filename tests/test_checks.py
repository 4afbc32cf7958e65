from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kwta_theory.checks import (
    InvalidArgumentError,
    check_cosine,
    check_integer,
    check_number,
    check_points,
    check_width_and_winners,
    winners,
)

laws = settings(derandomize=True, database=None, deadline=None, max_examples=100)


class TestCheckInteger:
    @pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), torch.tensor(3)])
    def test_every_kind_of_integer_becomes_a_python_integer(self, value: Any) -> None:
        assert check_integer("n", value) == 3
        assert type(check_integer("n", value)) is int

    @pytest.mark.parametrize("value", [-1, 1.0, "1", True, np.True_, None, math.nan, Fraction(1)])
    def test_what_is_refused(self, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=r"^n=.* is not allowed: it must be an integer of at least 0\.$"):
            check_integer("n", value)

    def test_bounds_belong_to_the_range(self) -> None:
        assert [check_integer("n", n, 2, 4) for n in (2, 3, 4)] == [2, 3, 4]
        for n in (1, 5):
            with pytest.raises(
                InvalidArgumentError, match=rf"n={n} is not allowed: it must be an integer in \[2, 4\]\."
            ):
                check_integer("n", n, 2, 4)


class TestCheckNumber:
    @pytest.mark.parametrize("value", [0.25, np.float32(0.25), Fraction(1, 4), torch.tensor(0.25)])
    def test_every_kind_of_number_becomes_a_float(self, value: Any) -> None:
        assert check_number("x", value) == 0.25
        assert type(check_number("x", value)) is float

    @pytest.mark.parametrize(
        "value", [math.nan, math.inf, -math.inf, "0.5", b"1", True, np.True_, None, 1j, 10**400, [0.5], torch.ones(2)]
    )
    def test_what_is_refused(self, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=r"^x=.* is not allowed: it must be a finite number in"):
            check_number("x", value)

    def test_open_ends_exclude_their_bound(self) -> None:
        assert check_number("x", 0, 0, 1) == 0.0
        assert check_number("x", 1, 0, 1) == 1.0
        with pytest.raises(InvalidArgumentError, match=r"x=0 is not allowed: it must be a finite number in \(0, 1\]\."):
            check_number("x", 0, 0, 1, open_minimum=True)
        with pytest.raises(InvalidArgumentError, match=r"x=1 is not allowed: it must be a finite number in \[0, 1\)\."):
            check_number("x", 1, 0, 1, open_maximum=True)
        for x in (-0.1, 1.1):
            with pytest.raises(InvalidArgumentError, match=r"it must be a finite number in \[0, 1\]\."):
                check_number("x", x, 0, 1)

    def test_cosine(self) -> None:
        assert check_cosine(-1) == -1.0
        with pytest.raises(InvalidArgumentError, match=r"cosine=1\.5 is not allowed"):
            check_cosine(1.5)
        with pytest.raises(InvalidArgumentError, match=r"alpha=-2 is not allowed"):
            check_cosine(-2, "alpha")


class TestWidthAndWinners:
    def test_pairs(self) -> None:
        assert check_width_and_winners(5, 5) == (5, 5)
        with pytest.raises(
            InvalidArgumentError, match="width=4 is below k=5: a layer must have at least as many outputs"
        ):
            check_width_and_winners(4, 5)
        with pytest.raises(InvalidArgumentError, match="width=0"):
            check_width_and_winners(0, 1)
        with pytest.raises(InvalidArgumentError, match="k=0"):
            check_width_and_winners(1, 0)

    @laws
    @given(st.integers(1, 10**6), st.integers(1, 999_999))
    def test_floor_of_the_ratio_that_was_written(self, width: int, millionths: int) -> None:
        """0.29 * 100 is 28.999999999999996 in binary; what a person wrote gives 29."""
        k = millionths * width // 10**6
        assume(k >= 1)
        assert winners(width, millionths / 10**6) == k

    @laws
    @given(st.integers(1, 10**6), st.data())
    def test_a_ratio_of_integers_gives_its_numerator_back(self, width: int, data: st.DataObject) -> None:
        k = data.draw(st.integers(1, width))
        assert winners(width, k / width) == k

    def test_the_guard_is_needed_and_no_wider_than_rounding(self) -> None:
        assert math.floor(0.29 * 100) == 28
        assert winners(100, 0.29) == 29
        assert winners(100, 0.29 - 1e-14) == 28
        assert winners(100, 0.29 + 1e-14) == 29

    @pytest.mark.parametrize("width", [2**53 + 1, 10**400])
    def test_all_win_at_ratio_one_at_any_width(self, width: int) -> None:
        assert winners(width, 1.0) == width

    def test_no_winner_left(self) -> None:
        with pytest.raises(
            InvalidArgumentError,
            match=r"sparsity_ratio=0\.05 of width=10 leaves floor\(0\.5\) = 0 winners: .* at least 1/width = 0\.1\.",
        ):
            winners(10, 0.05)

    @pytest.mark.parametrize("ratio", [0.0, -0.1, 1.0000001, math.nan])
    def test_ratio_outside(self, ratio: float) -> None:
        with pytest.raises(InvalidArgumentError, match=r"sparsity_ratio=.* in \(0, 1\]"):
            winners(10, ratio)


class TestCheckPoints:
    @pytest.mark.parametrize(
        "points",
        [[[1, 2]], np.ones((2, 3), np.float16), torch.ones(2, 3), [[True, False]], ((1.5,),), [[Fraction(1, 2)]]],
    )
    def test_every_kind_of_real_matrix_becomes_float64(self, points: Any) -> None:
        array = check_points("points", points)
        assert array.dtype == np.float64
        assert array.ndim == 2

    @pytest.mark.parametrize(
        "points",
        [
            [[1], [1, 2]],
            [["1", "2"]],
            [[1 + 2j]],
            [[object()]],
            [[10**400]],
            np.array([["2020-01-01"]], dtype="datetime64[D]"),
            torch.ones(2, 2, requires_grad=True),
        ],
    )
    def test_what_is_no_matrix_of_real_numbers(self, points: Any) -> None:
        with pytest.raises(
            InvalidArgumentError, match=r"^points is not an array of real numbers: .* shape \(N, m\)\.$"
        ):
            check_points("points", points)

    @pytest.mark.parametrize("shape", [(), (3,), (0, 3), (3, 0), (1, 2, 3)])
    def test_wrong_shape(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(
            InvalidArgumentError, match=r"points has shape \(.*\): it must have shape \(N, m\) with N >= 1"
        ):
            check_points("points", np.ones(shape))

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, np.longdouble("1e400")])
    def test_not_finite(self, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="points has NaN or infinity in row 2"):
            check_points("points", [[1, 1], [2, 1], [value, 1]])

    def test_zero_row(self) -> None:
        with pytest.raises(InvalidArgumentError, match="points has a zero row, row 1: a zero input has no direction"):
            check_points("points", [[1.0, 1.0], [0.0, -0.0]])
        check_points("points", [[5e-324, 0.0]])


class TestDistinctDirections:
    @laws
    @given(st.integers(2, 40), st.integers(1, 30), st.data())
    def test_a_multiple_is_found_wherever_it_is_and_at_any_scale(
        self, count: int, dim: int, data: st.DataObject
    ) -> None:
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
        i, j = sorted(data.draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2, unique=True)))
        points = rng.standard_normal((count, dim + 2))
        points[j] = points[i] * data.draw(st.floats(1e-250, 1e250))
        with pytest.raises(InvalidArgumentError, match=rf"points has identical directions in rows {i} and {j}:"):
            check_points("points", points, distinct_directions=True)
        check_points("points", points)  # allowed unless it is asked for

    @laws
    @given(st.integers(2, 40), st.integers(2, 30), st.integers(0, 2**32))
    def test_directions_a_tiny_angle_apart_are_distinct(self, count: int, dim: int, seed: int) -> None:
        """1e-9 apart: their cosine is 1 in float64, but they are no multiples of one another."""
        rng = np.random.default_rng(seed)
        point, direction = rng.standard_normal((2, dim))
        point /= np.linalg.norm(point)
        direction -= (direction @ point) * point
        norm = np.linalg.norm(direction)
        assume(norm > 1e-3)
        points = point + 1e-9 * np.arange(count)[:, None] * direction / norm
        check_points("points", points * rng.uniform(1e-3, 1e3, (count, 1)), distinct_directions=True)

    def test_opposite_directions_are_distinct(self) -> None:
        check_points("points", [[1.0, 2.0], [-1.0, -2.0]], distinct_directions=True)
        check_points("points", [[3.0]], distinct_directions=True)

    def test_a_multiple_is_found_in_a_crowd_that_no_projection_separates(self) -> None:
        """Rows 1e-13 apart with one projection: comparing neighbours in its order alone misses the copy."""
        rng = np.random.default_rng(0)
        for dim in range(3, 30):
            point, direction = rng.standard_normal((2, dim))
            point /= np.linalg.norm(point)
            held, _ = np.linalg.qr(np.stack([point, np.cos(np.arange(1, dim + 1))], axis=1))
            direction -= held @ (held.T @ direction)  # moving along it changes neither the length nor the projection
            crowd = point + 1e-13 * np.arange(1, 100)[:, None] * direction / np.linalg.norm(direction)
            with pytest.raises(InvalidArgumentError, match="identical directions in rows 0 and 100"):
                check_points("points", np.vstack([point, crowd, 3.7 * point]), distinct_directions=True)

    def test_single_precision_copies_are_told_apart_only_by_real_differences(self) -> None:
        row = np.random.default_rng(1).standard_normal(50).astype(np.float32)
        with pytest.raises(InvalidArgumentError, match="identical directions in rows 0 and 1"):
            check_points("points", np.stack([row, 2 * row]), distinct_directions=True)
        check_points("points", np.stack([row, np.float32(3) * row]), distinct_directions=True)  # rounded at 1e-8
