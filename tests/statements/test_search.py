from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from kwta_theory.statements.search import smallest_log_width, smallest_width


@given(threshold=st.integers(1, 10**12), minimum=st.integers(1, 1000))
def test_a_threshold_is_found_exactly(threshold, minimum):
    found = smallest_width(lambda width: width >= threshold, minimum, 10**12)
    assert found == max(threshold, minimum)


@given(tooth=st.integers(2, 50), threshold=st.integers(100, 10_000))
def test_with_saw_teeth_the_answer_is_a_place_where_false_becomes_true(tooth, threshold):
    def holds(width: int) -> bool:
        return width + 3 * (width % tooth) >= threshold

    found = smallest_width(holds, 10, 10**6)
    assert found is not None
    assert holds(found)
    assert found == 10 or not holds(found - 1)


def test_nothing_is_found_where_nothing_is_true():
    assert smallest_width(lambda _: False, 2, 10**6) is None
    assert smallest_log_width(lambda _: 1.0, 1.0, 1e6) is None


@given(root=st.floats(1.0, 1e7), slope=st.floats(1e-3, 10.0), bend=st.floats(0.0, 1.0))
def test_a_logarithmic_root_is_found_to_four_digits_from_above(root, slope, bend):
    def excess(x: float) -> float:
        return slope * (root - x) * (1 + bend / (1 + abs(root - x)))

    found = smallest_log_width(excess, 1.0, 1e7)
    assert found is not None
    assert excess(found) <= 0
    assert found <= root * (1 + 1e-3)


def test_the_ends_of_the_search_are_tried():
    assert smallest_width(lambda width: width >= 1000, 3, 1000) == 1000
    assert math.isclose(smallest_log_width(lambda x: 10.0 - x, 1.0, 10.0) or 0.0, 10.0, rel_tol=1e-3)
    assert smallest_log_width(lambda x: 0.5 - x, 1.0, 10.0) == 1.0
