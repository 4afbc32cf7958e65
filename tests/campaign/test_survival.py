"""What ends a run, with real processes and files: SIGKILL, a worker that dies, a full disk, a second run, Ctrl-C."""

from __future__ import annotations

import math
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from kwta_theory import campaign, seeding
from kwta_theory.campaign import BackendError, Ledger, LedgerError, Task, Until, backends, runner
from kwta_theory.campaign.ledger import checksum_of
from kwta_theory.campaign.worker import ORDER_SECONDS

if sys.platform == "win32":
    pytest.skip("signals and limits of POSIX", allow_module_level=True)

HERE = Path(__file__).parent
# Imported once; what is killed is a fork of this process, so that twenty deaths do not cost twenty imports.
HEAD = f"""
import math, os, random, resource, signal, sys, time
sys.path.insert(0, {str(HERE)!r})
import conftest
from kwta_theory import campaign, seeding
from kwta_theory.campaign import Estimator, Ledger, LedgerError, Outcome, Tally, Until, runner

folder = sys.argv[1]
tasks = campaign.grid("coin", p=[0.5, 0.2, 0.05], chunk_trials=5)

def make_nap():
    def draw(parameters, trials, seed):
        import os, time
        from kwta_theory.campaign.tally import Tally
        time.sleep(30 if os.path.exists(parameters["file"] + ".long") else parameters["nap"])
        with open(parameters["file"], "a") as stream:
            stream.write(f"{{seed}}\\n")
        return Tally(trials, {{"x": seed % 2}})
    return Estimator("nap", 1, "", ("nap", "file"), lambda g: dict(g), lambda _: 1.0, draw, (Outcome("x"),))

campaign.register(make_nap())
"""


def script(code, *arguments):
    return [sys.executable, "-c", HEAD + textwrap.dedent(code), *map(str, arguments)]


def carried_out(code, *arguments):
    result = subprocess.run(script(code, *arguments), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


# SIGKILL.

KILLS = """
workers, kills, length = map(int, sys.argv[2:])
runner._GLANCE, runner._REPORTS = 1e-3, math.inf
until = Until(trials=5 * length)
randomly = random.Random(workers)
for _ in range(kills):
    ear, mouth = os.pipe()
    child = os.fork()
    if child == 0:
        # A starting worker whose parent is killed prints a traceback on standard output (loky): not among our numbers.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        counts = []
        def say(statuses):  # one byte for each chunk that is counted
            counts.append(sum(status.chunks for status in statuses))
            os.write(mouth, b"." * (counts[-1] - counts[max(0, len(counts) - 2)]))
        campaign.run(tasks, folder + "/killed.db", until, workers=workers, batch=2, report=say)
        os._exit(0)
    os.close(mouth)
    # A moment: after so many chunks and up to five milliseconds more; every fourth time one before the first chunk.
    chunks = randomly.randrange(1, 2 * length // kills) if randomly.randrange(4) else 0
    heard = sum(bool(os.read(ear, 1)) for _ in range(chunks))
    time.sleep(randomly.random() * (5e-3 if chunks else 0.1))
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]) and heard == chunks
    os.close(ear)
    if os.path.exists(folder + "/killed.db"):
        with Ledger(folder + "/killed.db", write=False) as ledger:
            print(sum(ledger.total(task, 0).chunks for task in ledger.tasks()), flush=True)
for name in ("killed", "undisturbed"):
    print(sum(status.drawn for status in campaign.run(tasks, f"{folder}/{name}.db", until)))
"""


@pytest.mark.parametrize(("workers", "kills", "length"), [(1, 20, 1000), (2, 8, 800)])
def test_kills_leave_the_ledger_of_an_undisturbed_run(workers, kills, length, tmp_path, content):
    *lives, resumed, whole = map(int, carried_out(KILLS, tmp_path, workers, kills, length))
    assert lives == sorted(lives)  # nothing that was counted is ever lost
    assert len(set(lives)) > kills / 2  # the kills came at different places,
    assert 0 < resumed < whole == 3 * length  # and before the end
    assert content(tmp_path / "killed.db") == content(tmp_path / "undisturbed.db")


def test_workers_of_a_killed_run_end_themselves(tmp_path):
    code = """
        print("here", flush=True)
        nap = campaign.grid("nap", nap=0.01, file=folder + "/log", chunk_trials=5)
        say = lambda statuses: statuses[0].chunks and print("go", flush=True)
        campaign.run(nap, folder + "/l.db", Until(trials=10**6), workers=2, report=say)
    """
    with subprocess.Popen(
        script(code, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["here\n", "go\n"]
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        assert len(children) >= 2
        _, alive = psutil.wait_procs(children, timeout=20)
        assert alive == []


# Workers that die.


def worker_processes():
    found = psutil.Process().children(recursive=True)
    return [process for process in found if any("LokyProcess" in part for part in process.cmdline())]


def test_a_run_survives_the_death_of_a_worker(tmp_path, coins, content, monkeypatch):
    monkeypatch.setattr(runner, "_GLANCE", 1e-3)  # so that it is reported before the end however fast the machine is
    monkeypatch.setattr(runner, "_REPORTS", math.inf)
    killed = []

    def kill(statuses):
        if statuses[0].chunks and not killed:
            worker = worker_processes()[0]
            worker.kill()
            killed.append(worker.pid)

    campaign.run(coins, tmp_path / "killed.db", Until(trials=4000), workers=2, batch=1, report=kill)
    campaign.run(coins, tmp_path / "whole.db", Until(trials=4000))
    assert len(killed) == 1
    assert content(tmp_path / "killed.db") == content(tmp_path / "whole.db")
    assert worker_processes() == []


def make_poison(deadly):
    here = os.getpid()

    def draw(parameters, trials, seed):
        import os
        import time

        from kwta_theory.campaign.tally import Tally

        if seed in deadly and os.getpid() != here:
            time.sleep(2)  # its death takes the other worker along, which is to have finished what comes before
            os.kill(os.getpid(), 9)
        return Tally(trials, {"x": seed % 2})

    outcomes = (campaign.Outcome("x"),)
    return campaign.Estimator("poison", 1, "", (), dict, lambda _: 1.0, draw, outcomes)


def test_a_chunk_that_kills_every_worker_ends_the_run_and_all_before_it_is_kept(tmp_path, content, monkeypatch):
    monkeypatch.setattr(backends, "PATIENCE", 1)
    deadly = set()
    campaign.register(make_poison(deadly))
    task = Task.of("poison", chunk_trials=5)
    deadly.add(seeding.derive(0, task.id, 30))
    with pytest.raises(BackendError, match=r"workers died 2 times without finishing a chunk .* is in the ledger\."):
        campaign.run([task], tmp_path / "l.db", Until(trials=500), workers=2, batch=10)
    with Ledger(tmp_path / "l.db", write=False) as ledger:
        assert ledger.total(task, 0).chunks == 30
    assert worker_processes() == []
    campaign.run([task], tmp_path / "l.db", Until(trials=500))  # in this process it is harmless
    campaign.run([task], tmp_path / "whole.db", Until(trials=500))
    assert content(tmp_path / "l.db") == content(tmp_path / "whole.db")


# A full disk.

FULL = """
if sys.argv[2] == "limit":  # no file of this process may grow beyond so many bytes; Python ignores SIGXFSZ
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    campaign.run(tasks, folder + "/l ü.db", Until(trials=2000), workers=int(sys.argv[4]))
except LedgerError as error:
    print(error)
"""


def resumed_after_a_full_disk(ledger, sentences, content, tmp_path, coins):
    (sentence,) = sentences
    assert sentence.startswith(f"ledger {str(ledger)!r} cannot be written: ")
    assert sentence.endswith("What was committed before is kept; the run goes on from there when it is started again.")
    with Ledger(ledger) as opened:
        tasks = opened.tasks()
        kept = sum(opened.total(task, 0).chunks for task in tasks)
    assert 0 < kept < 1200
    tasks = campaign.grid("coin", p=[0.5, 0.2, 0.05], chunk_trials=5)
    statuses = campaign.run(tasks, ledger, Until(trials=2000))
    assert sum(status.drawn for status in statuses) <= 1200 - kept
    campaign.run(tasks, tmp_path / "whole.db", Until(trials=2000))
    assert content(ledger) == content(tmp_path / "whole.db")


@pytest.mark.parametrize(("limit", "workers"), [(100_000, 1), (150_000, 2)])
def test_a_system_that_refuses_to_write(limit, workers, tmp_path, content, coins):
    sentences = carried_out(FULL, tmp_path, "limit", limit, workers)
    resumed_after_a_full_disk(tmp_path / "l ü.db", sentences, content, tmp_path, coins)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB; only root can make one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted: {made.stderr.strip()}; the limit on files tests the same")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk(small_disk, tmp_path, content, coins):
    sentences = carried_out(FULL, small_disk, "disk", 0, 1)
    assert "the disk is full" in sentences[0]
    kept = tmp_path / "rescued"
    subprocess.run(["cp", "-r", small_disk, kept], check=True)  # there is no room to go on where it was
    sentences = [sentences[0].replace(str(small_disk), str(kept))]
    resumed_after_a_full_disk(kept / "l ü.db", sentences, content, tmp_path, coins)


def test_a_disk_without_room_for_an_empty_ledger(small_disk):
    (small_disk / "filler").write_bytes(bytes(299 * 1024))
    with pytest.raises(LedgerError, match=r"l\.db' cannot be opened"):
        Ledger(small_disk / "l.db")
    assert {path.name for path in small_disk.iterdir()} <= {"filler", "l.db.lock"}
    (small_disk / "filler").unlink()
    with Ledger(small_disk / "l.db"):
        pass


# Two runs at once.


def test_a_second_run_is_refused_or_waits_and_counts_nothing_twice(tmp_path, content):
    code = """
        def say(statuses):  # go on when the second run has been refused
            if statuses[0].chunks and not os.path.exists(folder + "/refused"):
                print("go", flush=True)
                while not os.path.exists(folder + "/refused"):
                    time.sleep(0.01)
        nap = campaign.grid("nap", nap=0.01, file=folder + "/log", chunk_trials=5)
        campaign.run(nap, folder + "/l.db", Until(trials=500), report=say)
    """
    other = """
        nap = campaign.grid("nap", nap=0.01, file=folder + "/log", chunk_trials=5)
        try:
            campaign.run(nap, folder + "/l.db", Until(trials=600))
        except LedgerError as error:
            print(error)
        open(folder + "/refused", "w").close()
        (status,) = campaign.run(nap, folder + "/l.db", Until(trials=600), wait_for_ledger=60.0)
        print(status.drawn, status.chunks)
        campaign.run(nap, folder + "/whole.db", Until(trials=600))
    """
    with subprocess.Popen(script(code, tmp_path), stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "go\n"
        lines = carried_out(other, tmp_path)
        first.communicate()
    assert lines[0].startswith(f"another process writes to ledger {str(tmp_path / 'l.db')!r}: wait until it has ended")
    assert lines[1] == "20 120"
    assert content(tmp_path / "l.db") == content(tmp_path / "whole.db")


# Ctrl-C.

INTERRUPTED = """
nap = campaign.grid("nap", nap=0.005, file=folder + "/log", chunk_trials=5)
def say(statuses):
    if statuses[0].chunks >= int(sys.argv[3]):
        print("go", flush=True)
try:
    campaign.run(nap, folder + "/l.db", Until(trials=10**6), workers=int(sys.argv[2]), report=say,
                 batch=int(sys.argv[4]) or None)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
# Seconds that a run may take to end after Ctrl-C.
ENDS = 2.0


def crowding():
    """How much longer the clock runs than the processor works, 1 on a machine that has nothing else to do.

    The two seconds are a demand on an idle machine; on one that is shared by ten they are ten times as long.
    """
    clock, work = time.monotonic(), time.process_time()
    while time.process_time() - work < 0.2:
        pass
    return max(1.0, (time.monotonic() - clock) / 0.2)


@pytest.mark.parametrize(("workers", "chunks", "batch"), [(1, 20, 0), (2, 20, 1), (2, 20, 0), (2, 0, 0)])
def test_ctrl_c_ends_within_two_seconds_with_everything_finished_on_disk(workers, chunks, batch, tmp_path):
    log = tmp_path / "log"
    with subprocess.Popen(
        script(INTERRUPTED, tmp_path, workers, chunks, batch),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout.readline() == "go\n"
        if chunks:  # from now on each chunk takes 30 seconds; wait until all workers are in one
            (tmp_path / "log.long").touch()
            size = -1
            while size != (size := log.stat().st_size):
                time.sleep(0.3)
        children = psutil.Process(process.pid).children(recursive=True)
        start = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: everyone gets it
        output, errors = process.communicate()
        elapsed = time.monotonic() - start
    assert output.endswith("interrupted\n")
    assert errors == ""
    assert process.returncode == 0
    assert elapsed < ENDS * crowding()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    task = Task("nap", 1, {"file": str(log), "nap": 0.005}, 5, (campaign.Outcome("x"),))
    with Ledger(tmp_path / "l.db") as ledger:
        kept = {seeding.derive(0, task.id, c.number) for c in (*ledger.chunks(task, 0), *ledger.ahead(task, 0))}
    finished = {int(line) for line in log.read_text().split()} if log.exists() else set()
    # In orders of several, of naps of 5 ms, two workers had finished at most 0.1 s each before the long chunk began.
    unsent = 0 if batch or workers == 1 or not chunks else round(workers * ORDER_SECONDS / 0.005)
    assert kept <= finished
    assert len(finished - kept) <= unsent
    assert len(kept) >= chunks


# Nothing in a file is executed.


class Bomb:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_nothing_planted_in_a_ledger_is_executed(tmp_path, coins):
    place = tmp_path / "boom"
    campaign.run(coins[:1], tmp_path / "clean.db", Until(trials=80))
    clean = (tmp_path / "clean.db").read_bytes()
    text = f"__import__('os').mkdir({str(place)!r})"
    plants = [pickle.dumps(Bomb(place)), text, f"!!python/object/apply:os.mkdir [{place}]"]
    columns = [
        *(("tasks", name) for name in ("id", "estimator", "version", "chunk_trials", "parameters", "outcomes")),
        *(("labels", name) for name in ("name", "value")),
        *(("chunks", name) for name in ("tally", "checksum", "seconds")),
        *(("ahead", name) for name in ("tally", "checksum", "seconds")),
    ]
    refused = 0
    for number, (table, column) in enumerate(columns):
        for kind, plant in enumerate(plants):
            path = tmp_path / f"{number}-{kind}.db"
            path.write_bytes(clean)
            with sqlite3.connect(path) as connection:
                connection.execute("INSERT INTO labels VALUES (?, 'figure', '1')", (coins[0].id,))
                connection.execute(
                    "INSERT INTO ahead SELECT task, seed, 7, tally, checksum, seconds FROM chunks LIMIT 1"
                )
                connection.execute(f"UPDATE {table} SET {column} = ?", (plant,))
                for seed, chunk, tally in connection.execute("SELECT seed, chunk, tally FROM chunks").fetchall():
                    forged = checksum_of(coins[0].id, seed, chunk, tally)
                    if column == "tally":
                        connection.execute("UPDATE chunks SET checksum = ? WHERE chunk = ?", (forged, chunk))
            connection.close()
            try:
                campaign.run(coins[:1], path, Until(trials=120))
                with Ledger(path, write=False) as ledger:
                    campaign.export(ledger, tmp_path / "out.csv")
                campaign.merge(tmp_path / f"{number}-{kind}-merged.db", [path])
            except LedgerError as error:
                refused += path.name in str(error)
            assert not place.exists()
    assert refused >= 3 * len(columns) - 8


def test_the_plants_would_go_off_if_they_were_executed(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "pickle")))
    eval(f"__import__('os').mkdir({str(tmp_path / 'text')!r})")
    assert {path.name for path in tmp_path.iterdir()} == {"pickle", "text"}
