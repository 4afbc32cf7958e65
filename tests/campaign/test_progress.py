"""What a person sees while a campaign runs: short names, lines, a table that fits, warnings, forecasts."""

from __future__ import annotations

import io
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kwta_theory import campaign
from kwta_theory.campaign import progress
from kwta_theory.campaign.runner import Status
from kwta_theory.campaign.tally import Tally

TASKS = campaign.grid("same-pattern", width=[20, 10], k="1,2", cosine="0.5:0.9:5")


def status(task, same=30, trials=100, met=None, left=12.3, drawn=1):
    tally = Tally(trials, {"same": same}) if trials else Tally()
    return Status(task, 0, campaign.estimate(tally, task.primary), drawn, drawn, met, left)


def drawn(statuses, width=80, height=24, **options):
    """The live table as a terminal of this size shows it."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, height=height, no_color=True)
    console.print(progress.table(statuses, 65.0, width, height, **options))
    return stream.getvalue()


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_what_differs_has_columns_with_the_size_of_the_layer_first():
    common, heads, cells = progress.columns(TASKS)
    assert common == "same-pattern device=cpu margin=0: same"
    assert heads == ["width", "k", "cosine"]
    assert cells[TASKS[0].id] == ["20", "1", "0.5"]
    assert progress.names(TASKS)[1][TASKS[-1].id] == "width=10 k=2 cosine=0.9"


def test_one_task_has_its_parameters_in_the_title_and_its_whole_name_in_lines():
    common, heads, cells = progress.columns(TASKS[:1])
    assert (common, heads, cells) == (f"{TASKS[0].title}: same", [], {TASKS[0].id: []})
    assert progress.names(TASKS[:1]) == ("", {TASKS[0].id: TASKS[0].title})


def test_different_estimators_keep_their_whole_names():
    tasks = [TASKS[0], campaign.Task.of("boundary-crossings", width=5, k=1)]
    assert progress.columns(tasks) == ("", ["task"], {task.id: [task.title] for task in tasks})
    assert progress.names(tasks)[1] == {task.id: task.title for task in tasks}


def test_values_that_six_digits_confuse_are_shown_in_full():
    tasks = campaign.grid("same-pattern", width=20, k=1, cosine=[0.99999998, 0.99999999])
    assert list(progress.columns(tasks)[2].values()) == [["0.99999998"], ["0.99999999"]]
    other = campaign.grid("same-pattern", width=20, k=1, cosine=[1 / 3, 0.5])
    assert list(progress.columns(other)[2].values()) == [["0.333333"], ["0.5"]]


def test_tasks_that_differ_in_their_chunks_alone_are_told_apart():
    tasks = [campaign.Task.of("same-pattern", chunk_trials=n, width=20, k=1, cosine=0.5) for n in (10, 20)]
    assert progress.columns(tasks)[1:] == (["chunk_trials"], {tasks[0].id: ["10"], tasks[1].id: ["20"]})


def test_a_parameter_that_only_some_tasks_have_is_empty_for_the_others():
    tasks = [
        campaign.Task.of("disjoint-patterns", width=50, k=1, cosine=0.5),
        campaign.Task.of("disjoint-patterns", width=50, k=1, inputs="mnist"),
    ]
    _, heads, cells = progress.columns(tasks)
    assert heads == ["cosine", "input_seed", "inputs"]
    assert list(cells.values()) == [["0.5", "", "cosine"], ["", "0", "mnist"]]
    assert list(progress.names(tasks)[1].values()) == ["cosine=0.5 inputs=cosine", "input_seed=0 inputs=mnist"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["same-pattern", "disjoint-patterns"]),
            st.integers(2, 4),
            st.floats(-1, 1),
            st.sampled_from([10, 20]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_different_tasks_of_an_estimator_have_different_names(cells):
    tasks = list(
        dict.fromkeys(campaign.Task.of(name, chunk_trials=n, width=9, k=k, cosine=c) for name, k, c, n in cells)
    )
    alone = [task for task in tasks if task.estimator == tasks[0].estimator]
    rows = [tuple(row) for row in progress.columns(alone)[2].values()]
    assert len(set(rows)) == len(alone)


def test_plain_lines_name_each_task_once_and_the_run_every_ten_seconds(capsys):
    clock = Clock()
    say = progress.PlainLines(clock=clock)
    a, b = TASKS[:2]
    say([status(a), status(b, left=90)])
    clock.now += 9.9
    say([status(a, met="trials"), status(b, left=90)])
    clock.now += 0.2
    for _ in range(3):
        say([status(a, met="trials"), status(b, left=600)])
    clock.now += 20
    say([status(a, met="trials"), status(b, met="decided")])
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "0 s  2 tasks: same-pattern device=cpu k=1 margin=0 width=20: same",
        "10 s  cosine=0.5: 0.3 in [0.13291, 0.514596], 100 trials (trials)",
        "10 s  1 of 2 tasks finished, 200 trials, time left 10 min",
        "30 s  cosine=0.6: 0.3 in [0.13291, 0.514596], 100 trials (decided)",
    ]


def test_plain_lines_count_what_a_resumed_run_finds_finished(capsys):
    say = progress.PlainLines()
    say([status(task, met="trials", drawn=0) for task in TASKS[:3]] + [status(TASKS[3])])
    assert capsys.readouterr().err.splitlines()[1:] == ["0 s  3 of 4 tasks had enough before this run"]


def test_mixed_estimators_are_only_counted_in_the_first_line(capsys):
    progress.PlainLines()([status(TASKS[0])])
    assert capsys.readouterr().err == "0 s  1 task\n"


@pytest.mark.parametrize(
    ("rules", "endless"),
    [
        ({"relative_error": 0.1}, True),
        ({"relative_error": 0.1, "trials": 5}, False),
        ({"relative_error": 0.1, "seconds": 5}, False),
        ({"relative_error": 0.1, "decided": 0.5}, False),
        ({"relative_error": 0.1, "decided": 0.0}, True),  # the side of 0 on which 0 lies is never decided
        ({"trials": 5}, False),
    ],
)
def test_only_a_relative_error_alone_waits_for_an_event_for_ever(rules, endless):
    assert progress.needs_event(campaign.Until(**rules)) is endless


def test_unseen_events_are_pointed_out_where_nothing_else_ends_the_task(capsys):
    clock = Clock()
    zeros = [status(TASKS[0], same=0, trials=20_000, left=math.inf), status(TASKS[1], same=0, trials=9_999)]
    warning = "1 open task with estimate 0 after at least 20,000 trials: relative-error is never met at 0; give"
    assert progress.unseen(zeros).startswith(warning)
    assert progress.unseen([status(TASKS[0], same=0, trials=20_000, met="trials")]) == ""
    assert progress.unseen([status(TASKS[0], same=1, trials=20_000)]) == ""
    for endless in (True, False):
        say = progress.PlainLines(endless=endless, clock=clock)
        for _ in range(3):  # said once, and not with every line
            say(zeros)
            clock.now += 10
        text = capsys.readouterr().err
        assert text.count(warning) == endless
        assert text.count("time left unknown") == 2
        flat = " ".join(drawn(zeros, endless=endless).split())
        assert (warning in flat) is endless


def test_the_warning_comes_again_when_more_tasks_have_seen_nothing(capsys):
    clock = Clock()
    say = progress.PlainLines(endless=True, clock=clock)
    for many in (1, 2):
        clock.now += 10
        say([status(task, same=0, trials=20_000 if i < many else 10) for i, task in enumerate(TASKS[:2])])
    assert "1 open task with" in (text := capsys.readouterr().err)
    assert "2 open tasks with" in text


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (80, 10), (60, 5)])
def test_the_table_fits_the_terminal(width, height):
    statuses = [status(task, 3 * i, met="relative-error" if i < 4 else None) for i, task in enumerate(TASKS)]
    lines = drawn(statuses, width, height).splitlines()
    assert len(lines) <= max(height, progress._FEWEST_ROWS + progress._FRAME)
    assert max(map(len, lines)) <= width


def test_the_table_shows_open_tasks_first_and_counts_the_others():
    statuses = [status(task, met="trials") for task in TASKS[:10]] + [status(task, 31) for task in TASKS[10:]]
    text = drawn(statuses, height=24)
    assert "same-pattern device=cpu margin=0: same" in text
    for head in ("width", "k", "cosine", "estimate", "interval", "trials", "time left"):
        assert head in text
    assert text.count("0.31   [0.1401, 0.5251]      100        12 s") == 10
    assert text.count("100      trials") == 4
    flat = " ".join(text.split())
    assert "10 of 20 tasks finished, 2,000 trials, time left 12 s, 65 s so far; 6 not shown" in flat
    assert "not shown" not in drawn(statuses, height=40)


def test_an_estimate_that_is_not_there_is_empty():
    text = drawn([status(task, trials=0, left=math.inf) for task in TASKS[:2]])
    assert text.count("[0, 1]        0     unknown") == 2
    assert progress.number(status(TASKS[0], trials=0)) == "unknown"


def test_a_long_name_is_cut_and_the_numbers_stay():
    tasks = [TASKS[0], campaign.Task.of("disjoint-patterns", width=5, k=1, cosine=0.25)]
    text = drawn([status(TASKS[0]), Status(tasks[1], 0, status(TASKS[0]).estimate, 1, 1, None, 5.0)], width=70)
    assert "…" in text
    assert text.count("[0.1329, 0.5146]") == 2
    assert "…" not in drawn([status(TASKS[0]), status(TASKS[1])], width=70)


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("terminal", "variables", "live"),
    [(True, {}, True), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False), (False, {}, False)],
)
def test_the_live_table_needs_a_terminal_that_may_be_coloured(monkeypatch, terminal, variables, live):
    stream = FakeTerminal() if terminal else io.StringIO()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stderr", stream)
    with progress.reporter() as report:
        report([status(TASKS[0], met="trials")])
    text = stream.getvalue()
    assert ("\x1b[" in text) is live
    assert ("0 s  " in text) is not live
    assert "0.3" in text


def test_quiet_says_nothing(capsys):
    with progress.reporter(quiet=True) as report:
        report([status(TASKS[0])])
    assert capsys.readouterr() == ("", "")


def test_the_rules_reach_the_warning(monkeypatch, capsys):
    ticks = itertools.count(0.0, 10.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(ticks))
    monkeypatch.setattr(
        progress.PlainLines.__init__, "__kwdefaults__", {"endless": False, "clock": lambda: next(ticks)}
    )
    for rules, warned in (({"relative_error": 0.1}, 1), ({"relative_error": 0.1, "trials": 10**6}, 0)):
        with progress.reporter(until=campaign.Until(**rules)) as report:
            report([status(TASKS[0], same=0, trials=20_000)])
        assert capsys.readouterr().err.count("is never met at 0") == warned


@given(st.floats(0, 1e12))
def test_times_are_short(seconds):
    assert len(progress.time_text(seconds)) <= 12


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0 s"), (99.4, "99 s"), (100, "2 min"), (5999, "100 min"), (6000, "1.7 h"), (172_800, "2.0 days")),
        *((math.inf, "unknown"), (math.nan, "unknown")),
    ],
)
def test_times_have_the_unit_that_fits(seconds, text):
    assert progress.time_text(seconds) == text
