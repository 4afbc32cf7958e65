"""Sweeps on a real scheduler and real workers on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from kwta_theory import campaign
from kwta_theory.campaign import Task, Until, cluster
from kwta_theory.campaign.backends import BackendError, connect
from kwta_theory.campaign.estimators import Estimator
from kwta_theory.checks import InvalidArgumentError

distributed = pytest.importorskip("distributed")

# BLAS threads that workers are given, and that the runner has to limit.
BLAS_THREADS = 3


def make_slow_coin():
    def draw(parameters, trials, seed):
        import threading
        import time

        import numpy as np

        from kwta_theory.campaign.tally import Tally

        if threading.current_thread() is not threading.main_thread():  # on a worker: the reference need not wait
            time.sleep(parameters["seconds"])
        return Tally(trials, {"heads": int((np.random.default_rng(seed).random(trials) < parameters["p"]).sum())})

    def resolve(given):
        return {"p": float(given["p"]), "seconds": float(given.get("seconds", 0.03))}

    return Estimator("slow-coin", 1, "", ("p", "seconds"), resolve, lambda _: 1e4, draw, (campaign.Outcome("heads"),))


def make_thread_counter():
    def blas_threads():
        import threadpoolctl

        return max(pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas")

    def set_blas_threads(number):
        import threading

        import threadpoolctl

        def set_here():
            for pool in threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers:
                pool.set_num_threads(number)

        # threadpoolctl obeys the first thread that sets a limit, while it lives.
        thread = threading.Thread(target=set_here)
        thread.start()
        thread.join()

    def draw(parameters, trials, seed):
        from kwta_theory.campaign.tally import Moments, Tally

        return Tally(trials, {}, {"threads": Moments.of([float(blas_threads())] * trials)})

    outcomes = (campaign.Outcome("threads", "value"),)
    estimator = Estimator("thread-counter", 1, "", (), lambda _: {}, lambda _: 1e4, draw, outcomes)
    return blas_threads, set_blas_threads, estimator


campaign.register(make_slow_coin())
blas_threads, set_blas_threads, thread_counter = make_thread_counter()
campaign.register(thread_counter)


class Cluster:
    """A scheduler and workers as processes; everything they write goes into a folder."""

    def __init__(self, folder, **environment):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.folder = folder
        self.environment = {**os.environ, **environment}
        self.workers = []
        self.scheduler = None
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(port))

    def add_worker(self, *options, threads=1):
        name = f"worker-{len(self.workers)}"
        self.workers.append(
            self._start("worker", self.address, "--no-nanny", "--nthreads", str(threads), "--name", name, *options)
        )

    def _start(self, what, *options):
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard", *options]
        if what == "worker":
            command += ["--local-directory", str(self.folder)]
        with (self.folder / f"{what}-{len(self.workers)}.log").open("w") as log:
            return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)

    @contextlib.contextmanager
    def client(self):
        with distributed.Client(self.address, timeout=30, set_as_default=False) as client:
            yield client

    def wait(self):
        with self.client() as client:
            client.wait_for_workers(len(self.workers), timeout=60)
        return self

    def orders_of(self, number):
        """How many orders a worker holds, in the eyes of the scheduler."""
        with self.client() as client:
            names = {address: info["name"] for address, info in client.scheduler_info(-1)["workers"].items()}
            return sum(len(keys) for a, keys in client.processing().items() if names[a] == f"worker-{number}")

    def end(self):
        for process in [*self.workers, self.scheduler]:
            if process is not None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()


@pytest.fixture
def start(tmp_path):
    """Start a cluster of one's own."""
    clusters = []

    def started(*workers, **environment):
        clusters.append(Cluster(tmp_path, **environment))
        for options in workers:
            clusters[-1].add_worker(*options)
        return clusters[-1].wait()

    yield started
    for each in clusters:
        each.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A cluster that nobody harms: a worker with one thread and one with two."""
    started = Cluster(tmp_path_factory.mktemp("dask"))
    try:
        started.add_worker()
        started.add_worker(threads=2)
        yield started.wait()
    finally:
        started.end()


@pytest.fixture
def sweep(tmp_path, content):
    """Run slow coins on a cluster; ``serial()`` is what the ledger must hold in the end."""
    tasks = campaign.grid("slow-coin", p=[0.2, 0.5], chunk_trials=10)
    until = Until(trials=500)

    class Sweep:
        ledger = tmp_path / "cluster.db"

        def on(self, address, **options):
            return campaign.run(tasks, self.ledger, until, seed=7, backend="dask", scheduler=address, **options)

        def resume(self):
            return campaign.run(tasks, self.ledger, until, seed=7)

        def held(self):
            return content(self.ledger)

        def serial(self):
            campaign.run(tasks, tmp_path / "serial.db", until, seed=7)
            return content(tmp_path / "serial.db")

        def chunks(self):
            with campaign.Ledger(self.ledger, write=False) as ledger:
                return sum(ledger.total(task, 7).chunks + len(ledger.ahead(task, 7)) for task in tasks)

    return Sweep()


class Midway:
    """A report that does something once, after so many chunks, and remembers how many there were."""

    def __init__(self, action, chunks=20):
        self.action, self.chunks, self.drawn = action, chunks, None

    def __call__(self, statuses):
        drawn = sum(status.drawn for status in statuses)
        if self.drawn is None and drawn >= self.chunks:
            self.drawn = drawn
            self.action()


def test_a_cluster_writes_the_ledger_of_one_process(shared, tmp_path, content, coins, capfd):
    tasks = [*coins, Task.of("same-pattern", width=50, k=3, cosine=0.8, chunk_trials=500)]
    until = Until(trials=2000, relative_error=0.05)
    filters = list(logging.getLogger("distributed.client").filters)
    threads = threading.active_count()
    for name, options in (("serial", {}), ("dask", {"backend": "dask", "scheduler": shared.address})):
        campaign.run(tasks, tmp_path / f"{name}.db", until, seed=3, **options)
    held = content(tmp_path / "dask.db")
    assert held == content(tmp_path / "serial.db")
    assert len(held["tasks"]) == 4
    assert len(held["chunks"]) > 100
    # Nothing is left behind in this process, and nothing was said.
    assert threading.active_count() == threads
    assert logging.getLogger("distributed.client").filters == filters
    with pytest.raises(ValueError, match="No global client"):
        distributed.get_client()
    assert capfd.readouterr() == ("", "")


def test_slots_follow_the_threads_of_the_workers_and_cost_nothing_to_ask(shared, monkeypatch):
    monkeypatch.setattr(cluster, "COUNT_SECONDS", 0.05)
    pool = cluster.Dask(shared.address)
    try:
        assert pool.slots == 6  # two for each of three threads
        start = time.perf_counter()
        for _ in range(1000):
            pool.slots  # noqa: B018  (the question is what is measured)
        assert time.perf_counter() - start < 0.1  # a question to the scheduler takes 0.3 ms
        pool.restart()  # all is well
    finally:
        pool.close(kill=False)
    pool.close(kill=True)  # once more: nothing to do


def test_workers_use_one_blas_thread_for_a_chunk_and_get_theirs_back(shared, tmp_path):
    task = Task.of("thread-counter", chunk_trials=10)
    with shared.client() as client:
        client.run(set_blas_threads, BLAS_THREADS)
        for trials in (500, 1000):
            status = campaign.run([task], tmp_path / "runs.db", Until(trials=trials), backend="dask",
                                  scheduler=shared.address, batch=2)[0]  # fmt: skip
            assert status.drawn >= 50
            assert status.estimate.value == 1.0
            # The control: without the limit there are more.
            assert set(client.run(blas_threads).values()) == {BLAS_THREADS}


def test_the_limit_lasts_until_the_last_order_of_a_worker_ends():
    before = blas_threads()
    inside, leave = threading.Event(), threading.Event()

    def other():
        with cluster._one_blas_thread:
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    set_blas_threads(BLAS_THREADS)
    try:
        with cluster._one_blas_thread:
            thread.start()
            inside.wait()
            assert blas_threads() == 1
        assert blas_threads() == 1  # the other has not ended
        leave.set()
        thread.join()
        assert blas_threads() == BLAS_THREADS
    finally:
        leave.set()
        set_blas_threads(before)


def test_ctrl_c_ends_within_two_seconds(shared, tmp_path):
    # Chunks of four seconds are in hand when it comes: nobody waits for them.
    script = """
        import sys, time
        from kwta_theory import campaign
        from kwta_theory.campaign import Estimator, Outcome, Tally, Until

        def draw(parameters, trials, seed):
            import time
            time.sleep(parameters["seconds"])
            return Tally(trials, {"tails": 1})

        def resolve(given):
            return {"seconds": float(given["seconds"])}

        outcomes = (Outcome("tails"),)
        campaign.register(Estimator("sleeper", 1, "", ("seconds",), resolve, lambda _: 1.0, draw, outcomes))
        tasks = campaign.grid("sleeper", seconds=[0.02, 4], chunk_trials=1)

        def report(statuses):
            if statuses[0].drawn > 5:
                print("drawing", flush=True)

        try:
            campaign.run(tasks, sys.argv[1], Until(trials=100_000), backend="dask", scheduler=sys.argv[2], batch=1,
                         report=report)
        except KeyboardInterrupt:
            print(time.monotonic())
    """
    ledger = tmp_path / "runs.db"
    command = [sys.executable, "-c", textwrap.dedent(script), str(ledger), shared.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "drawing\n"
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert errors == ""
    # The clock is that of the system. How long Python takes to put its modules away afterwards is its own affair.
    assert 0 < float(output.split()[-1]) - start < 2.0
    with campaign.Ledger(ledger, write=False) as held:
        assert held.total(held.tasks()[0], 0).chunks + held.total(held.tasks()[1], 0).chunks > 5


def test_an_estimator_that_the_workers_cannot_import_is_named(shared, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text(
        "from kwta_theory.campaign import Estimator, Outcome, Tally\n"
        "def draw(parameters, trials, seed):\n    return Tally(trials, {'heads': 0})\n"
        "def resolve(given):\n    return {}\n"
        "def cost(parameters):\n    return 1.0\n"
        "HERE = Estimator('only-here', 1, '', (), resolve, cost, draw, (Outcome('heads'),))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    campaign.register(only_here.HERE)
    task = Task.of("only-here", chunk_trials=10)
    with pytest.raises(BackendError, match=r"could not carry out an order .* the module of the estimator"):
        campaign.run([task], tmp_path / "runs.db", Until(trials=10), backend="dask", scheduler=shared.address)


# A worker's death moves its orders (the scheduler's default), or fails them, which the runner answers.
@pytest.mark.parametrize("deaths_forgiven", [3, 0])
def test_a_worker_killed_with_orders_in_hand_costs_nothing(start, sweep, capfd, deaths_forgiven):
    started = start((), (), DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=str(deaths_forgiven))
    held = []

    def kill():
        started.workers[0].send_signal(signal.SIGSTOP)  # nothing is finished between the question and the kill
        time.sleep(0.2)
        held.append(started.orders_of(0))
        started.workers[0].kill()

    midway = Midway(kill)
    statuses = sweep.on(started.address, report=midway)
    assert [status.met for status in statuses] == ["trials", "trials"]
    assert held[0] >= 1
    assert 20 <= midway.drawn < 100
    assert sweep.held() == sweep.serial()
    assert capfd.readouterr() == ("", "")


def test_a_run_without_workers_waits_for_them_and_not_for_ever(start, sweep, monkeypatch, capfd):
    monkeypatch.setattr(cluster, "NO_WORKER_SECONDS", 1.0)
    monkeypatch.setattr(cluster, "COUNT_SECONDS", 0.1)
    started = start((), ())
    midway = Midway(lambda: [worker.kill() for worker in started.workers])
    with pytest.raises(BackendError, match=r"has had no worker for 1 seconds\. Everything finished before is in the"):
        sweep.on(started.address, report=midway)
    assert 20 <= midway.drawn <= sweep.chunks() < 100
    # A worker that comes in time is waited for.
    monkeypatch.setattr(cluster, "NO_WORKER_SECONDS", 30.0)
    started.add_worker()
    assert [status.met for status in sweep.on(started.address)] == ["trials", "trials"]
    assert sweep.held() == sweep.serial()
    assert capfd.readouterr() == ("", "")


def test_another_version_is_refused_and_a_lost_scheduler_keeps_what_was_finished(start, sweep, tmp_path, capfd):
    preload = tmp_path / "other_version.py"
    preload.write_text(
        "import dataclasses\nfrom kwta_theory.campaign import estimators\n"
        "other = dataclasses.replace(estimators.find('same-pattern'), version=2)\n"
        "estimators._REGISTRY['same-pattern'] = other\n"
    )
    started = start(("--preload", str(preload)))
    task = Task.of("same-pattern", width=50, k=3, cosine=0.8, chunk_trials=500)
    with pytest.raises(
        campaign.EstimatorError, match=r"draws version 2 of same-pattern, .* needs version 1: give both"
    ):
        campaign.run([task], tmp_path / "runs.db", Until(trials=1000), backend="dask", scheduler=started.address)
    with campaign.Ledger(tmp_path / "runs.db", write=False) as ledger:
        assert ledger.total(task, 0).chunks == 0

    midway = Midway(started.scheduler.kill)
    began = time.monotonic()
    with pytest.raises(BackendError, match=r"is lost: .* Everything finished before is in the ledger"):
        sweep.on(started.address, report=midway)
    assert time.monotonic() - began < 15
    assert 20 <= midway.drawn <= sweep.chunks() < 100
    sweep.resume()
    assert sweep.held() == sweep.serial()
    assert capfd.readouterr() == ("", "")


def test_a_scheduler_that_stops_answering_is_given_up(start, sweep, monkeypatch, capfd):
    started = start(())

    def stop():
        monkeypatch.setattr(cluster, "SILENT_SECONDS", 1.0)  # not earlier: it has imported what it needs
        time.sleep(2 * cluster.COUNT_SECONDS)
        started.scheduler.send_signal(signal.SIGSTOP)

    midway = Midway(stop)
    with pytest.raises(BackendError, match=r"its scheduler does not answer any more \(TimeoutError\)\. Everything"):
        sweep.on(started.address, report=midway)
    assert midway.drawn <= sweep.chunks() < 100
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1", "nonsense", "foo://127.0.0.1:1", "tls://127.0.0.1:1"])
def test_an_address_that_is_none_is_refused_at_once(address, capfd):
    start = time.monotonic()
    with pytest.raises(BackendError, match="no Dask scheduler answers at"):
        connect("dask", 1, address)
    assert time.monotonic() - start < cluster.ANSWER_SECONDS / 2
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("listening", [False, True])
def test_where_no_scheduler_answers_nobody_waits_for_ever(listening, monkeypatch, capfd):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1.0)
    threads = threading.active_count()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listening:
            silent.listen()
        start = time.monotonic()
        with pytest.raises(BackendError, match=r"no Dask scheduler answers at 'tcp.* seconds"):
            connect("dask", 1, f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - start < 5.0
    assert threading.active_count() == threads
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("address", ["", " ", 8786])
def test_an_address_must_be_a_text(address):
    with pytest.raises(InvalidArgumentError, match="must be the address of one"):
        connect("dask", 1, address)


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InvalidArgumentError, match=r"needs the package distributed: install kwta-theory\[cluster\]"):
        connect("dask", 1, "tcp://127.0.0.1:1")


def test_a_worker_draws_what_this_process_draws_and_refuses_another_version():
    from kwta_theory.campaign.worker import Order, carry_out

    task = Task.of("same-pattern", width=50, k=3, cosine=0.8, chunk_trials=500)
    same = campaign.find("same-pattern")
    order = Order(same, task.parameters, 500, ((0, 11), (1, 12)))
    there, here = cluster.carry_out_there(order), carry_out(order)
    assert [chunk.tally for chunk in there] == [chunk.tally for chunk in here]
    newer = dataclasses.replace(order, estimator=dataclasses.replace(same, version=2))
    with pytest.raises(campaign.EstimatorError, match="draws version 1 of same-pattern, and this run needs version 2"):
        cluster.carry_out_there(newer)
