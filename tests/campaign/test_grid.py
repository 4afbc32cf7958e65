from __future__ import annotations

import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwta_theory.campaign import Task, grid, read_grid
from kwta_theory.campaign.grid import values
from kwta_theory.checks import InvalidArgumentError


def test_values_of_the_command_line():
    assert values("width", "100,1000,1e4") == [100, 1000, 10000.0]
    assert values("cosine", "0.5:0.95:10") == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    assert values("k", "1:9:3, 20") == [1, 5, 9, 20]
    assert values("cosine", "0.9:0.1:3") == [0.9, 0.5, 0.1]
    assert values("width", "1e2:1e6:5:log") == [100, 1000, 10_000, 100_000, 1_000_000]
    assert values("width", "1:1e300:4:log") == [1, 1e100, 1e200, 1e300]
    assert values("inputs", "mnist") == ["mnist"]
    assert values("k", 3) == [3]
    assert values("k", [1, "2:4:3", 7.5]) == [1, 2, 3, 4, 7.5]


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.integers(2, 50), st.integers(0, 4))
def test_even_ranges_are_exact_decimals(start, stop, count, digits):
    scale = 10**digits
    found = values("x", f"{start / scale}:{stop / scale}:{count}")
    assert len(found) == count
    for i, value in enumerate(found):
        numerator = start * (count - 1) + (stop - start) * i  # over scale * (count - 1), one division
        assert value == numerator / (scale * (count - 1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("1:2", "x='1:2' is not allowed: a range is START:STOP:COUNT"),
        ("1:2:1", "COUNT at least 2"),
        ("1:2:3:lin", "a range is"),
        ("1:2:3:log:4", "a range is"),
        ("a:b:3", "a range is"),
        ("1:inf:3", "a range is"),
        ("1:1e999999999:3", "a range is"),
        ("1:2:99999999", "a range is"),
        ("0:1:3:log", "must be positive"),
        ("1,,2", "x has an empty value"),
        ("", "x has an empty value"),
        ([], "x has no value"),
        ([[1]], "a list holds numbers"),
        (True, "x=True is not allowed"),
        (None, "x=None is not allowed"),
        ({"a": 1}, "is not allowed"),
    ],
)
def test_bad_values_are_refused_before_they_are_made(given, message):
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgumentError, match=message):
            values("x", given)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10e6  # bytes; 99,999,999 numbers, or a power of ten with as many digits, need forty times as many


def test_nothing_is_evaluated():
    assert values("inputs", "__import__('os').getcwd()") == ["__import__('os').getcwd()"]
    with pytest.raises(InvalidArgumentError, match="inputs="):
        grid("disjoint-patterns", width=9, k=1, inputs="__import__('os').getcwd()")


def test_a_grid_is_all_combinations_and_each_task_once():
    tasks = grid("same-pattern", width="10,20", k="1,2", cosine=[0.5, 0.9])
    assert len(tasks) == 8
    assert tasks[1] == Task.of("same-pattern", width=10, k=1, cosine=0.9)
    assert len(grid("same-pattern", width="10,1e1", k=1, cosine=0.5)) == 1
    labelled = grid("same-pattern", width=10, k=1, cosine=0.5, labels={"figure": 2}, chunk_trials=7)
    assert labelled[0].labels == {"figure": 2}
    assert labelled[0].chunk_trials == 7


def test_a_bad_combination_is_named():
    with pytest.raises(InvalidArgumentError, match=r"width=10 is below k=20.*\(at width=10, k=20, cosine=0.5\)"):
        grid("same-pattern", width="10,100", k=20, cosine=0.5)
    with pytest.raises(InvalidArgumentError, match="the grid has 100,000,000 combinations"):
        grid("same-pattern", width="1:10000:10000", k="1:10000:10000", cosine=0.5)


def test_a_grid_from_a_file(tmp_path):
    file = tmp_path / "grid ü.toml"
    file.write_text(
        """
        [[sweep]]
        estimator = "disjoint-patterns"
        grid = { width = [100, 1e4], k = 1, cosine = "0.5:0.9:2" }
        labels = { figure = 3 }

        [[sweep]]
        estimator = "same-pattern"
        chunk_trials = 50
        [sweep.grid]
        width = "100"
        sparsity_ratio = [0.1]
        beta = 0.5
        """
    )
    tasks = read_grid(file)
    assert tasks[:4] == grid("disjoint-patterns", width="100,1e4", k=1, cosine="0.5,0.9")
    assert tasks[0].labels == {"figure": 3}
    assert tasks[4] == Task.of("same-pattern", width=100, k=10, cosine=1 / math.sqrt(1.5), chunk_trials=50)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width = [", "is not TOML"),
        ("width = 3", r"must hold tables \[\[sweep\]\] and nothing else"),
        ("[sweep]\nestimator = 'same-pattern'", r"must hold tables \[\[sweep\]\]"),
        ("[[sweep]]\nestimator = 'same-pattern'", "must have a text estimator, a table grid"),
        ("[[sweep]]\nestimator = 'same-pattern'\nseed = 3\ngrid = {}", "'seed' is not known in"),
        ("[[sweep]]\nestimator = 'x'\ngrid = {}", "estimator='x' is not known"),
        ("[[sweep]]\nestimator = 'same-pattern'\ngrid = {labels = 3}", "'labels' is no parameter"),
        ("[[sweep]]\nestimator = 'same-pattern'\ngrid = {width = {a = 1}}", "width={'a': 1} is not allowed"),
        ("[[sweep]]\nestimator = 'same-pattern'\ngrid = {width = 1979-05-27}", "is not allowed"),
    ],
)
def test_a_bad_file_is_refused_and_named(tmp_path, text, message):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        read_grid(file)
    assert "bad.toml" in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"gone.toml' cannot be read: No such file"):
        read_grid(tmp_path / "gone.toml")
    (tmp_path / "latin.toml").write_bytes(b"a = '\xe4'")
    with pytest.raises(InvalidArgumentError, match=r"latin.toml' is not TOML"):
        read_grid(tmp_path / "latin.toml")


def test_a_grid_without_parameters_has_no_place_to_name():
    with pytest.raises(InvalidArgumentError, match=r"is not known.*[^)]$"):
        grid("no-such-estimator")
