"""The runner without processes: arrivals in any order, deaths, and Ctrl-C between any two of its lines."""

from __future__ import annotations

import gc
import math
import os
import sys
import tempfile
from concurrent.futures import BrokenExecutor, Future
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kwta_theory import campaign, seeding
from kwta_theory.campaign import (
    BackendError,
    Estimator,
    EstimatorError,
    Ledger,
    LedgerError,
    Moments,
    Outcome,
    Tally,
    Task,
    Until,
    backends,
    estimators,
    export,
    merge,
    rows,
    runner,
    worker,
)
from kwta_theory.campaign.ledger import Chunk
from kwta_theory.campaign.worker import ORDER_SECONDS, Order, carry_out
from kwta_theory.checks import InvalidArgumentError

PACKAGE = Path(campaign.__file__).parent
RULES = [
    Until(trials=400),
    Until(relative_error=0.5),
    Until(decided=0.3, trials=800),
    Until(relative_error=0.4, decided=0.1, trials=600, error=0.01),
]


class Shuffled:
    """A backend whose orders are carried out in a random order, some only in part, and which may lose workers."""

    def __init__(self, seed, *, deaths=0.0, slots=8):
        self.random = Random(seed)
        self.deaths = deaths  # never two in a row, unless always
        self.dying = False
        self._slots = slots
        self.pending = []
        self.drawn = []
        self.orders = []
        self.restarts = 0
        self.killed = None

    @property
    def slots(self):
        self.settle()  # asked once per turn of the loop: something always arrives
        return self._slots

    def submit(self, order):
        future = Future()
        self.orders.append(order)
        self.pending.append((future, order))
        if len(self.pending) > 2:
            self.settle()
        return future

    def settle(self):
        if not self.pending:
            return
        future, order = self.pending.pop(self.random.randrange(len(self.pending)))
        if future.cancelled():
            return
        self.dying = self.random.random() < self.deaths and (self.deaths == 1 or not self.dying)
        if self.dying:
            future.set_exception(BrokenExecutor("dead"))
            return
        kept = self.random.randint(1, len(order.chunks))
        chunks = carry_out(replace(order, chunks=order.chunks[:kept]))
        self.drawn += [(order.parameters.get("p"), chunk.number) for chunk in chunks]
        future.set_result(chunks)

    def restart(self):
        self.restarts += 1
        self.pending.clear()

    def close(self, *, kill):
        self.killed = kill


@pytest.fixture
def memory():
    """A folder in memory, where the system has one, for tests of hundreds of ledgers: a disk would be the slow part."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)


@pytest.fixture
def use(monkeypatch):
    """Let the next runs use this backend, whatever they ask for."""

    def set_backend(backend):
        monkeypatch.setattr(backends, "connect", lambda *_: backend)
        return backend

    return set_backend


class Clock:
    """Stands in for the module ``time``: it goes on by ``step`` seconds whenever it is read."""

    def __init__(self, step=0.0):
        self.now, self.step = 1000.0, step

    def monotonic(self):
        self.now += self.step
        return self.now

    perf_counter = monotonic

    def sleep(self, seconds):
        self.now += seconds

    def rule(self, monkeypatch):
        """Let runs go by this clock."""
        begin = runner._Run
        monkeypatch.setattr(runner, "time", self)
        monkeypatch.setattr(runner, "_Run", lambda *arguments: begin(*arguments, started=self.now))


def table(path, folder):
    """The exported file of a ledger without its last column, the seconds: as it is written, byte for byte."""
    with Ledger(path, write=False) as ledger:
        export(ledger, folder / "out.csv")
    lines = (folder / "out.csv").read_bytes().splitlines()
    assert lines[0].endswith(b",seconds")
    return [line.rpartition(b",")[0] for line in lines]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """For each set of rules the ledger of a run in this process, nothing happening to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    tasks = campaign.grid("coin", p=[0.5, 0.2, 0.05], chunk_trials=40)
    for number, until in enumerate(RULES):
        campaign.run(tasks, folder / f"{number}.db", until, seed=3)
    return [folder / f"{number}.db" for number in range(len(RULES))]


# What counts does not depend on how it was computed.


@pytest.mark.parametrize("which", range(len(RULES)))
@pytest.mark.parametrize("batch", [None, 1, 7])
def test_any_order_of_arrival_and_any_batch_give_the_same_ledger(
    which, batch, memory, coins, content, use, undisturbed
):
    for seed in range(3):
        path = memory / f"{seed}.db"
        backend = use(Shuffled(seed, deaths=0.15 * seed))
        campaign.run(coins, path, RULES[which], seed=3, batch=batch)
        assert content(path) == content(undisturbed[which])
        assert table(path, memory) == table(undisturbed[which], memory)
        assert max(len(order.chunks) for order in backend.orders) <= (batch or math.inf)


@pytest.mark.parametrize("how", [{"workers": 2}, {"workers": 2, "batch": 5}, {"backend": "serial"}, {"batch": 3}])
def test_workers_backend_and_batch_do_not_show(how, tmp_path, coins, undisturbed):
    # Under half a second for each of the real processes: the rest of this file needs none.
    campaign.run(coins, tmp_path / "l.db", RULES[3], seed=3, **how)
    assert table(tmp_path / "l.db", tmp_path) == table(undisturbed[3], tmp_path)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.integers(0, 2**32), st.integers(0, len(RULES) - 1))
def test_a_run_that_is_stopped_again_and_again_ends_the_same(
    memory, coins, content, monkeypatch, undisturbed, seed, which
):
    random = Random(seed)
    path = Path(tempfile.mkdtemp(dir=memory)) / "l.db"
    monkeypatch.setattr(runner, "_LAST_ORDERS", 0.0)

    def stop(_):
        if random.random() < 0.5:
            raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_GLANCE", 0.0)
    monkeypatch.setattr(runner, "_REPORTS", math.inf)
    for _ in range(12):
        monkeypatch.setattr(backends, "connect", lambda *_: Shuffled(random.random()))
        try:
            campaign.run(coins, path, RULES[which], seed=3, report=stop)
        except KeyboardInterrupt:
            continue
        break
    monkeypatch.undo()
    campaign.run(coins, path, RULES[which], seed=3)
    assert content(path) == content(undisturbed[which])


def interrupted_at(step, run):
    """Run with KeyboardInterrupt raised before the given line of the runner, its schedule and its ledger; did it?"""
    left = step
    watched = {str(PACKAGE / name) for name in ("runner.py", "schedule.py", "ledger.py")}

    def line(frame, event, _):
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return line

    before = sys.gettrace()
    sys.settrace(lambda frame, *_: line if frame.f_code.co_filename in watched else None)
    try:
        run()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
        gc.collect()
    return False


def test_ctrl_c_between_any_two_lines_loses_nothing(memory, content, monkeypatch):
    # A small run has some two thousand steps; every 23rd is tried, with other arrivals each time.
    monkeypatch.setattr(runner, "_LAST_ORDERS", 0.0)
    tasks = campaign.grid("coin", p=[0.5, 0.2], chunk_trials=20)
    until = Until(trials=120)
    campaign.run(tasks, memory / "whole.db", until)
    whole = content(memory / "whole.db")
    interruptions = 0
    for step in range(1, 100_000, 23):
        path = memory / f"{step}.db"
        backend = Shuffled(step, deaths=0.1)
        monkeypatch.setattr(backends, "connect", lambda *_, backend=backend: backend)
        if not interrupted_at(step, lambda path=path: campaign.run(tasks, path, until, batch=2)):
            break
        interruptions += 1
        with Ledger(path) as ledger:  # it opens: no gap
            for task in tasks:
                kept = {chunk.number for chunk in (*ledger.chunks(task, 0), *ledger.ahead(task, 0))}
                finished = {number for p, number in backend.drawn if p == task.parameters["p"]}
                assert finished <= kept, step
        campaign.run(tasks, path, until)
        assert content(path) == whole, step
    assert interruptions > 50


# When it stops.


def test_each_rule_stops_a_task(tmp_path, coins):
    for until, met in [
        (Until(trials=130), "trials"),
        (Until(relative_error=0.3), "relative-error"),
        (Until(decided=0.35), "decided"),
    ]:
        statuses = campaign.run(coins, tmp_path / f"{met}.db", until)
        assert [status.task for status in statuses] == coins
        for status in statuses:
            assert (status.met, status.seconds_left, status.drawn) == (met, 0.0, status.chunks)
            assert status.estimate.trials == 40 * status.chunks
    trials = campaign.run(coins, tmp_path / "trials.db", Until(trials=130))[0]
    assert trials.estimate.trials == 160  # whole chunks


def test_a_rule_is_met_at_the_first_prefix_that_meets_it(tmp_path, coins):
    until = Until(relative_error=0.3, decided=0.3)
    for status in campaign.run(coins, tmp_path / "l.db", until, seed=5):
        with Ledger(tmp_path / "l.db", write=False) as ledger:
            chunks = ledger.chunks(status.task, 5)
        prefixes = [sum((c.tally for c in chunks[:n]), Tally()) for n in range(1, len(chunks) + 1)]
        met = [until.met(status.task, prefix) for prefix in prefixes]
        assert met == [None] * (len(chunks) - 1) + [status.met]


def test_several_rules_mean_whichever_comes_first(tmp_path, coins):
    statuses = campaign.run(coins, tmp_path / "l.db", Until(relative_error=0.6, decided=0.05, trials=400))
    assert {status.met for status in statuses} == {"relative-error", "decided", "trials"}


def test_a_time_limit_decides_only_how_long_the_prefix_is(tmp_path, coins, monkeypatch):
    Clock(step=0.01).rule(monkeypatch)
    (short,) = campaign.run(coins[:1], tmp_path / "l.db", Until(seconds=0.15), seed=3)
    assert short.met is None
    assert 0 < short.chunks <= 15  # the clock is read at least once for each
    campaign.run(coins[:1], tmp_path / "same.db", Until(trials=short.estimate.trials), seed=3)
    assert table(tmp_path / "l.db", tmp_path) == table(tmp_path / "same.db", tmp_path)
    (longer,) = campaign.run(coins[:1], tmp_path / "l.db", Until(seconds=0.15), seed=3)
    assert longer.chunks == longer.drawn + short.chunks
    assert longer.drawn > 0  # each run has its own time


def test_a_second_run_adds_nothing(tmp_path, coins, content, use):
    use(Shuffled(1))
    campaign.run(coins, tmp_path / "l.db", RULES[3], seed=3)
    before = content(tmp_path / "l.db")
    use(None)  # not even asked for
    again = campaign.run(coins, tmp_path / "l.db", RULES[3], seed=3)
    assert content(tmp_path / "l.db") == before
    assert all(status.drawn == 0 and status.met for status in again)


def test_an_extended_run_equals_a_longer_one(tmp_path, coins, content):
    campaign.run(coins[:2], tmp_path / "l.db", Until(trials=200))
    campaign.run(coins, tmp_path / "l.db", Until(trials=800))
    campaign.run(coins, tmp_path / "long.db", Until(trials=800))
    assert content(tmp_path / "l.db") == content(tmp_path / "long.db")
    loose = campaign.run(coins, tmp_path / "l.db", Until(trials=200))
    assert [status.estimate.trials for status in loose] == [800] * 3  # what is there stays


def test_a_stricter_rule_goes_on_and_equals_the_strict_run(tmp_path, coins, content):
    campaign.run(coins, tmp_path / "l.db", Until(relative_error=0.6))
    campaign.run(coins, tmp_path / "l.db", Until(relative_error=0.4))
    campaign.run(coins, tmp_path / "strict.db", Until(relative_error=0.4))
    assert content(tmp_path / "l.db") == content(tmp_path / "strict.db")


def test_seeds_add_up_when_merged_and_one_seed_coincides(tmp_path, coins):
    for name, seed in (("a", 1), ("b", 2), ("c", 2)):
        campaign.run(coins, tmp_path / f"{name}.db", Until(trials=200), seed=seed)
    merge(tmp_path / "out.db", [tmp_path / f"{name}.db" for name in "abc"])
    with Ledger(tmp_path / "out.db", write=False) as ledger:
        assert {row["trials"] for row in rows(ledger)} == {400}
        first, second = (ledger.total(coins[0], seed).tally for seed in (1, 2))
    assert first != second
    with Ledger(tmp_path / "c.db", write=False) as ledger:
        assert ledger.total(coins[0], 2).tally == second


def test_a_chunk_is_drawn_from_its_own_seed(tmp_path, coins):
    campaign.run(coins[:1], tmp_path / "l.db", Until(trials=120), seed=9)
    with Ledger(tmp_path / "l.db", write=False) as ledger:
        for chunk in ledger.chunks(coins[0], 9):
            seed = seeding.derive(9, coins[0].id, chunk.number)
            assert chunk.tally == estimators.find("coin").draw({"p": 0.5}, 40, seed)


def test_a_task_listed_twice_is_sampled_once_and_an_open_ledger_stays_open(tmp_path, coins):
    with Ledger(tmp_path / "l.db") as ledger:
        statuses = campaign.run([*coins, coins[0]], ledger, Until(trials=80))
        assert len(statuses) == 3
        assert ledger.total(coins[0], 0).tally.trials == 80


# What a run says meanwhile.


def test_reports_say_where_every_task_stands(tmp_path, coins, monkeypatch):
    monkeypatch.setattr(runner, "_GLANCE", 0.0)
    monkeypatch.setattr(runner, "_REPORTS", math.inf)
    seen = []
    statuses = campaign.run(coins, tmp_path / "l.db", Until(trials=200, seconds=3600), report=seen.append)
    assert seen[-1] == statuses
    assert all([status.task for status in report] == coins for report in seen)
    counts = [[status.chunks for status in report] for report in seen]
    assert counts == sorted(counts)
    assert len({tuple(row) for row in counts}) > 10
    for report in seen[:-1]:
        for status in report:
            assert (status.met is None) == (status.chunks < 5)
            assert 0 <= status.seconds_left <= 3600
            assert status.seed == 0
            assert status.estimate.trials == 40 * status.chunks


@pytest.mark.parametrize(("takes", "reports"), [(0.0, 4), (0.05, 2)])
def test_reports_are_rare_when_they_are_slow(takes, reports, tmp_path, coins, monkeypatch):
    clock = Clock(step=0.001)
    clock.rule(monkeypatch)
    seen = []

    def report(statuses):
        seen.append(statuses)
        clock.sleep(takes)

    campaign.run(coins, tmp_path / "l.db", Until(seconds=0.5), report=report)
    # One at the beginning, one at the end; between them every 0.2 seconds, or every 20 times as long as one takes.
    assert len(seen) == reports


def test_a_forecast_is_infinite_where_there_is_none(tmp_path, coins):
    seen = []
    rare = campaign.grid("coin", p=0.0, chunk_trials=40)
    campaign.run([*coins[:1], *rare], tmp_path / "l.db", Until(relative_error=0.4, trials=10**4), report=seen.append)
    assert all(status.seconds_left == math.inf for status in seen[0])  # nothing is drawn yet
    assert not any(math.isnan(status.seconds_left) for report in seen for status in report)


# What can go wrong.


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"seed": -1}, "seed=-1 is not allowed"),
        ({"seed": 2**63}, "seed=9223372036854775808 is not allowed"),
        ({"seed": 0.5}, r"seed=0\.5 is not allowed"),
        ({"batch": 0}, "batch=0 is not allowed"),
        ({"workers": 0}, "workers=0 is not allowed"),
        ({"backend": "threads"}, "backend='threads' is not allowed: it must be one of processes, serial, dask"),
        ({"backend": "dask"}, "scheduler=None does not fit backend='dask'"),
        ({"scheduler": "tcp://127.0.0.1:1"}, "does not fit backend='processes'"),
        ({"backend": "serial", "workers": 2}, "workers=2 has no effect with backend='serial'"),
        ({"wait_for_ledger": -1}, "wait_for_ledger=-1 is not allowed"),
        ({"tasks": []}, "tasks is empty"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_made(how, message, tmp_path, coins):
    tasks = how.pop("tasks", coins)
    with pytest.raises(InvalidArgumentError, match=message):
        campaign.run(tasks, tmp_path / "l.db", Until(trials=10), **how)
    assert list(tmp_path.iterdir()) == []


def test_options_without_effect_are_refused(tmp_path, coins):
    message = r"wait_for_ledger=1\.0 has no effect: the ledger is open"
    with Ledger(tmp_path / "l.db") as ledger, pytest.raises(InvalidArgumentError, match=message):
        campaign.run(coins, ledger, Until(trials=10), wait_for_ledger=1.0)
    with Ledger(tmp_path / "l.db", write=False) as ledger, pytest.raises(LedgerError, match="opened for reading"):
        campaign.run(coins, ledger, Until(trials=10))


def test_other_versions_are_refused(tmp_path, coins):
    newer = Task("coin", 2, coins[0].parameters, 40, coins[0].outcomes)
    with pytest.raises(InvalidArgumentError, match="is of version 2, and this package draws version 1: make the task"):
        campaign.run([newer], tmp_path / "l.db", Until(trials=10))
    with Ledger(tmp_path / "l.db") as ledger:
        ledger.register(newer)
    with pytest.raises(LedgerError, match="holds trials of version 2 of 'coin', and this package draws version 1"):
        campaign.run(coins, tmp_path / "l.db", Until(trials=10))


def test_a_rule_that_cannot_be_met_is_refused(tmp_path):
    task = Task.of("boundary-crossings", width=8, k=2)
    with pytest.raises(InvalidArgumentError, match="needs a probability or a share"):
        campaign.run([task], tmp_path / "l.db", Until(decided=0.5, trials=10))


def odd(name, draw, kind="event"):
    return campaign.register(Estimator(name, 1, "", (), dict, lambda _: 1.0, draw, (Outcome("x", kind),)))


def fails_late(_, trials, seed):
    if seed in LATE:
        raise ValueError("no luck")
    return Tally(trials, {"x": 0})


odd("fails-late", fails_late)
LATE_TASK = Task.of("fails-late", chunk_trials=5)
LATE = {seeding.derive(0, LATE_TASK.id, 4)}


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_a_chunk_that_fails_ends_the_run_with_everything_before_kept(batch, tmp_path, use):
    for backend in (backends.Serial(), Shuffled(0), Shuffled(1)):
        path = tmp_path / f"{id(backend)}.db"
        use(backend)
        with pytest.raises(EstimatorError, match=r"chunk 4 of fails-late with \{\} failed: ValueError: no luck"):
            campaign.run([LATE_TASK], path, Until(trials=100), batch=batch)
        with Ledger(path, write=False) as ledger:
            kept = {chunk.number for chunk in (*ledger.chunks(LATE_TASK, 0), *ledger.ahead(LATE_TASK, 0))}
        assert kept == {number for _, number in getattr(backend, "drawn", [(None, n) for n in range(4)])}


@pytest.mark.parametrize(
    ("tally", "kind"),
    [
        (3, "event"),
        (Tally(4, {"x": 1}), "event"),
        (Tally(5, {"y": 1}), "event"),
        (Tally(5, {"x": 1}), "value"),
        (Tally(5, {}, {"x": Moments(6, 5)}), "share"),
        (Tally(5, {}, {"x": Moments(-1, 1)}), "share"),
        (Tally(5, {}, {"x": Moments(1, 2)}), "share"),
    ],
)
def test_an_estimator_must_return_what_it_promises(tally, kind):
    estimator = Estimator("promise", 1, "", (), dict, lambda _: 1.0, lambda *_: tally, (Outcome("x", kind),))
    with pytest.raises(EstimatorError, match=rf"promise returned .*: it must be a tally of 5 trials with x \({kind}\)"):
        carry_out(Order(estimator, {}, 5, ((0, 1),)))


def test_an_order_ends_after_its_time(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(worker, "time", clock)

    def draw(_, trials, seed):
        clock.sleep(0.03)
        return Tally(trials, {"x": 0})

    estimator = Estimator("slow", 1, "", (), dict, lambda _: 1.0, draw, (Outcome("x"),))
    order = Order(estimator, {}, 5, tuple((n, n) for n in range(1000)), seconds=0.1)
    assert [chunk.number for chunk in carry_out(order)] == [0, 1, 2]  # a fourth would end after 0.12 seconds
    assert len(carry_out(replace(order, seconds=0.0))) == 1  # never none
    assert Order(estimator, {}, 5, ()).seconds == ORDER_SECONDS


def test_workers_that_keep_dying_end_the_run(tmp_path, coins, use):
    backend = use(Shuffled(0, deaths=1.0))
    with pytest.raises(BackendError, match=r"workers died 4 times without finishing a chunk .* \(BrokenExecutor\)"):
        campaign.run(coins, tmp_path / "l.db", Until(trials=100))
    assert backend.restarts == backends.PATIENCE
    assert backend.killed is True


def test_deaths_with_progress_in_between_are_forgiven(tmp_path, coins, use, content, undisturbed):
    backend = use(Shuffled(5, deaths=0.3))
    campaign.run(coins, tmp_path / "l.db", RULES[0], seed=3)
    assert backend.restarts > backends.PATIENCE
    assert content(tmp_path / "l.db") == content(undisturbed[0])


class Stubborn(Shuffled):
    """A backend that refuses orders."""

    def __init__(self, *errors):
        super().__init__(0)
        self.errors = list(errors)

    def submit(self, order):
        if self.errors:
            raise self.errors.pop()
        return super().submit(order)


def test_a_worker_that_died_between_orders_is_replaced(tmp_path, coins, use, content, undisturbed):
    backend = use(Stubborn(BrokenExecutor("dead"), BrokenExecutor("dead")))
    campaign.run(coins, tmp_path / "l.db", RULES[0], seed=3)
    assert backend.restarts == 2
    assert content(tmp_path / "l.db") == content(undisturbed[0])


def test_workers_that_cannot_be_started_are_a_sentence(tmp_path, coins, use):
    use(Stubborn(OSError(12, "Cannot allocate memory")))
    with pytest.raises(BackendError, match=r"a worker cannot be started: Cannot allocate memory\."):
        campaign.run(coins, tmp_path / "l.db", Until(trials=100))


class Failing(Shuffled):
    """A backend whose second order fails in its own way."""

    def __init__(self, error):
        super().__init__(0)
        self.error = error

    def settle(self):
        if self.pending and len(self.drawn) > 3 and self.error:
            future, _ = self.pending.pop()
            future.set_exception(self.error)
            self.error = None
        else:
            super().settle()


def test_failures_of_the_backend_keep_what_arrived(tmp_path, coins, use, monkeypatch):
    monkeypatch.setattr(runner, "_LAST_ORDERS", 0.0)
    for error, expected, message in [
        (TypeError("cannot pickle"), EstimatorError, "could not be sent to a worker and back: TypeError: cannot"),
        (BackendError("the cluster is gone."), BackendError, "the cluster is gone"),
    ]:
        backend = use(Failing(error))
        path = tmp_path / f"{type(error).__name__}.db"
        with pytest.raises(expected, match=message):
            campaign.run(coins, path, Until(trials=400))
        with Ledger(path, write=False) as ledger:
            there = {(t.parameters["p"], c.number) for t in coins for c in (*ledger.chunks(t, 0), *ledger.ahead(t, 0))}
        assert there == set(backend.drawn)


def test_what_goes_wrong_in_a_report_comes_out_and_everything_is_kept(tmp_path, coins):
    def report(statuses):
        if statuses[0].chunks:
            raise RuntimeError("no more paper")

    with pytest.raises(RuntimeError, match="no more paper"):
        campaign.run(coins, tmp_path / "l.db", Until(trials=10**7), report=report)
    with Ledger(tmp_path / "l.db", write=False) as ledger:
        assert ledger.total(coins[0], 0).chunks > 0


def test_orders_of_tasks_that_have_enough_are_not_waited_for(tmp_path, coins, use):
    class Endless(Shuffled):
        def settle(self):  # the first order comes, the others never do
            if len(self.drawn) == 0 and self.pending:
                future, order = self.pending.pop(0)
                chunks = carry_out(order)
                self.drawn += chunks
                future.set_result(chunks)

    backend = use(Endless(0))
    (status,) = campaign.run(coins[:1], tmp_path / "l.db", Until(relative_error=5.0))
    assert (status.met, status.chunks) == ("relative-error", 1)
    assert backend.killed is True
    assert len(backend.orders) > 1


def test_the_ledger_refuses_a_chunk_without_its_predecessor(tmp_path, coins, content):
    tally = estimators.find("coin").draw(coins[0].parameters, 40, 0)
    with Ledger(tmp_path / "l.db") as ledger:
        ledger.register(coins[0])
        with pytest.raises(LedgerError, match=r"does not take chunk 2 of task .* with seed 0: chunk 1 is not there"):
            ledger.record([(coins[0], 0, Chunk(n, tally, 0.0)) for n in (0, 2)])
        assert ledger.chunks(coins[0], 0) == []
        ledger.record([(coins[0], 0, Chunk(0, tally, 0.0))])
        ledger.record([], [(coins[0], 0, Chunk(0, tally, 0.0))])  # it counts: it need not wait
        assert ledger.ahead(coins[0], 0) == []
