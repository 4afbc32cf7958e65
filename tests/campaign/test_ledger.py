from __future__ import annotations

import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time

import pytest

from kwta_theory import campaign
from kwta_theory.campaign import Ledger, LedgerError, Task, Until, estimators
from kwta_theory.campaign.ledger import Chunk
from kwta_theory.campaign.tally import Tally


def drawn(task, number, seed=0):
    tally = estimators.find("coin").draw(task.parameters, task.chunk_trials, 1000 * seed + number)
    return Chunk(number, tally, 0.25)


@pytest.fixture
def filled(tmp_path, coins):
    """A ledger with three chunks of two tasks."""
    path = tmp_path / "filled.db"
    with Ledger(path) as ledger:
        for task in coins[:2]:
            ledger.register(task)
            ledger.record([(task, 0, drawn(task, n)) for n in range(3)], [(task, 0, drawn(task, 5))])
    return path


def read_all(path, *, write):
    with Ledger(path, write=write) as ledger:
        for task in ledger.tasks():
            ledger.totals(task)
            ledger.ahead(task, 0)


def edit(path, *statements):
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_what_is_written_is_read(filled, coins):
    with Ledger(filled, write=False) as ledger:
        assert set(ledger.tasks()) == set(coins[:2])
        task = next(task for task in ledger.tasks() if task == coins[1])
        assert (task.canonical, task.outcomes) == (coins[1].canonical, coins[1].outcomes)
        assert ledger.chunks(task, 0) == [drawn(task, n) for n in range(3)]
        assert ledger.ahead(task, 0) == [drawn(task, 5)]
        assert ledger.total(task, 0).tally == sum(drawn(task, n).tally for n in range(3))
        assert ledger.total(task, 0).seconds == 0.75
        assert ledger.totals(task) == [ledger.total(task, 0)]
        assert ledger.chunks(task, 1) == []
        assert ledger.find(task.id[:8]) == task


def test_writing_twice_changes_nothing_and_settling_drops_what_waited(filled, coins, content):
    before = content(filled)
    with Ledger(filled) as ledger:
        ledger.register(coins[0])
        ledger.record([(coins[0], 0, drawn(coins[0], 2))], [(coins[0], 0, drawn(coins[0], 5))])
    assert content(filled) == before
    with Ledger(filled) as ledger:
        ledger.record([(coins[0], 0, drawn(coins[0], n)) for n in (3, 4, 5)])
        assert ledger.ahead(coins[0], 0) == []
        ledger.record([], [], [(coins[1], 0)])
        assert ledger.ahead(coins[1], 0) == []


def test_labels_are_a_set(tmp_path):
    with Ledger(tmp_path / "l.db") as ledger:
        for figure in (2, 1, 2):
            ledger.register(Task.of("coin", p=0.5, labels={"figure": figure, "name": "ü; é"}))
        assert ledger.tasks()[0].labels == {"figure": "1; 2", "name": "ü; é"}


def test_a_reader_cannot_write_and_changes_nothing(filled, coins):
    before = filled.read_bytes()
    with Ledger(filled, write=False) as ledger:
        with pytest.raises(LedgerError, match="was opened for reading"):
            ledger.register(coins[2])
        ledger.tasks()
        ledger.close()  # and once more at the end of the block
    assert filled.read_bytes() == before


def test_a_reader_looks_on_while_a_run_writes(filled, coins):
    with Ledger(filled) as writer, Ledger(filled, write=False) as reader:
        writer.record([(coins[0], 0, drawn(coins[0], 3))])
        assert reader.total(coins[0], 0).chunks == 4


def test_another_version_of_an_estimator_is_not_mixed_in(filled, coins):
    newer = Task("coin", 2, coins[0].parameters, 40, coins[0].outcomes)
    with Ledger(filled) as ledger, pytest.raises(LedgerError, match="holds trials of version 1 of 'coin', and this"):
        ledger.register(newer)


def test_prefixes_that_say_too_little_are_refused(filled):
    with Ledger(filled, write=False) as ledger:
        with pytest.raises(LedgerError, match="holds no tasks whose identity begins with 'zz'"):
            ledger.find("zz")
        with pytest.raises(LedgerError, match="holds no tasks"):
            ledger.find("")
        twins = {task.id[0] for task in ledger.tasks()}
        assert len(twins) == 2


@pytest.mark.parametrize("ending", ["with space and ü?#%.db", "plain"])
def test_any_name_will_do(tmp_path, ending, coins):
    folder = tmp_path / "a b ü"
    folder.mkdir()
    with Ledger(folder / ending) as ledger:
        ledger.register(coins[0])
    with Ledger(folder / ending, write=False) as ledger:
        assert ledger.tasks() == [coins[0]]
    with Ledger(folder / ending):
        pass
    assert set(os.listdir(folder)) <= {ending, ending + ".lock"}


def test_places_that_will_not_do(tmp_path):
    with pytest.raises(LedgerError, match="is a directory"):
        Ledger(tmp_path)
    with pytest.raises(LedgerError, match="its directory does not exist"):
        Ledger(tmp_path / "gone" / "l.db")
    with pytest.raises(LedgerError, match=r"l\.db' does not exist"):
        Ledger(tmp_path / "l.db", write=False)
    with pytest.raises(LedgerError, match="is no ordinary file"):
        Ledger("/dev/null")
    (tmp_path / "l.db-wal").write_bytes(b"left over")
    with pytest.raises(LedgerError, match=r"is gone, but its log 'l\.db-wal' is still there"):
        Ledger(tmp_path / "l.db")
    assert not (tmp_path / "l.db").exists()


def test_no_permission_is_a_sentence(filled, monkeypatch):
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    with pytest.raises(LedgerError, match=r"filled\.db' cannot be written: permission is denied"):
        Ledger(filled)
    with Ledger(filled, write=False) as ledger:  # a folder that is not writable can still be read
        assert len(ledger.tasks()) == 2
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(LedgerError, match="cannot be read: permission is denied"):
        Ledger(filled, write=False)


@pytest.fixture
def open_folder():
    """A directory that every user may read; pytest keeps its own to their owner."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
def test_no_permission_for_a_real_user(open_folder, filled):
    folder = open_folder
    shutil.copy(filled, folder / "l.db")
    code = f"""
        import os
        import kwta_theory.campaign as campaign
        # Whatever is imported late is imported now: the other user may not be allowed to read the packages.
        with campaign.Ledger({str(filled)!r}) as ledger:
            ledger.tasks()
        os.setuid(65534)
        with campaign.Ledger({str(folder / "l.db")!r}, write=False) as ledger:
            print(len(ledger.tasks()))
        for name in ("l.db", "new.db"):
            try:
                campaign.Ledger({str(folder)!r} + "/" + name)
            except campaign.LedgerError as error:
                print(error)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    assert lines[0] == "2"
    assert all("permission is denied" in line for line in lines[1:])
    assert len(lines) == 3


# Damage.


def test_a_damaged_file_is_named_and_left_alone(filled):
    whole = filled.read_bytes()
    page = 4096
    damages = {
        "empty": b"",
        "text": b"task,seed\n" * 100,
        "head only": whole[:60],
        "one page": whole[:page],
        "half": whole[: len(whole) // 2],
        "one byte short": whole[:-1],
        "zeros in the middle": whole[:page] + bytes(page) + whole[2 * page :],
        "noise at the end": whole[:-page] + bytes(i * 37 % 251 for i in range(page)),
        "no header": bytes(100) + whole[100:],
    }
    assert len(whole) == 5 * page
    for name, damaged in damages.items():
        filled.write_bytes(damaged)
        for write in (True, False):
            with pytest.raises(LedgerError, match=r"filled\.db'") as caught:
                read_all(filled, write=write)
            assert str(caught.value).endswith("."), name
            assert filled.read_bytes() == damaged, name
    filled.write_bytes(whole)
    with Ledger(filled) as ledger:
        assert len(ledger.tasks()) == 2


def test_a_truncated_ledger_at_any_length(filled):
    whole = filled.read_bytes()
    for length in range(0, len(whole), 1111):
        filled.write_bytes(whole[:length])
        with pytest.raises(LedgerError, match=r"filled\.db'"):
            Ledger(filled)
        assert filled.stat().st_size == length


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA application_id = 7", "is a database of another program"),
        ("PRAGMA user_version = 99", "has format 99, and this version of kwta_theory reads format 1"),
        ("DROP TABLE ahead", "the table ahead is missing"),
        ("DELETE FROM chunks WHERE chunk = 1", "has a gap in its chunks"),
        ("DELETE FROM chunks WHERE chunk = 0", "has a gap in its chunks"),
        ("UPDATE chunks SET tally = replace(tally, '40', '41') WHERE chunk = 1", "does not match its checksum"),
        ("UPDATE chunks SET checksum = '' WHERE chunk = 1", "chunk 1 of task .* does not match its checksum"),
        ("UPDATE tasks SET parameters = replace(parameters, '0.5', '0.6')", "does not match its identity"),
        ("UPDATE tasks SET parameters = '[]'", "does not match its identity"),
        ("UPDATE tasks SET parameters = 'import os'", "does not match its identity"),
        ('UPDATE tasks SET outcomes = \'[["x","odd"]]\'', "does not match its identity"),
        ("UPDATE tasks SET outcomes = '[]'", "does not match its identity"),
    ],
)
def test_changed_content_is_noticed(filled, statement, message):
    edit(filled, statement)
    with pytest.raises(LedgerError, match=message) as caught:
        read_all(filled, write=True)
    assert "filled.db" in str(caught.value)


def test_a_tally_of_the_wrong_size_is_noticed(tmp_path, coins):
    for tally in (Tally(3, drawn(coins[0], 0).tally.counts | {"heads": 1}), Tally(40, {"tails": 1})):
        path = tmp_path / f"{tally.trials}.db"
        with Ledger(path) as ledger:
            ledger.register(coins[0])
            ledger.record([(coins[0], 0, Chunk(0, tally, 0.0))])
            with pytest.raises(LedgerError, match="is not a chunk of 40 trials"):
                ledger.chunks(coins[0], 0)


def test_text_that_is_no_tally_is_noticed(filled, coins):
    from kwta_theory.campaign.ledger import checksum_of

    checksum = checksum_of(coins[0].id, 0, 1, "{}")
    edit(
        filled,
        f"UPDATE chunks SET tally = '{{}}', checksum = '{checksum}' WHERE chunk = 1 AND task = '{coins[0].id}'",
    )
    with Ledger(filled) as ledger, pytest.raises(LedgerError, match="holds no tally"):
        ledger.chunks(coins[0], 0)


# A full disk.


def test_a_full_disk_keeps_what_was_committed(tmp_path, coins, content):
    path = tmp_path / "full.db"
    with Ledger(path) as ledger:
        ledger._connection.execute("PRAGMA max_page_count = 30")  # SQLite's own word for a full disk: SQLITE_FULL
        with pytest.raises(LedgerError, match=r"full\.db' cannot be written: the disk is full.*is kept"):
            campaign.run(coins, ledger, Until(trials=40_000))
        kept = sum(ledger.total(task, 0).chunks for task in coins)
    assert 10 < kept < 3000
    campaign.run(coins, path, Until(trials=8000))
    campaign.run(coins, tmp_path / "undisturbed.db", Until(trials=8000))
    assert content(path) == content(tmp_path / "undisturbed.db")


def test_a_disk_that_refuses_to_write(tmp_path):
    # The system itself refuses: no file of this process may grow beyond 100 kB.
    pytest.importorskip("resource")
    code = f"""
        import resource
        from kwta_theory import campaign
        from kwta_theory.campaign.ledger import Chunk
        task = campaign.Task.of("same-pattern", width=9, k=1, cosine=0.5, chunk_trials=7)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            with campaign.Ledger({str(tmp_path / "l.db")!r}) as ledger:
                ledger.register(task)
                for number in range(10_000):
                    ledger.record([(task, 0, Chunk(number, campaign.Tally(7, {{"same": 3}}), 0.0))])
                    last = number
        except campaign.LedgerError as error:
            print(last)
            print(error)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    last, sentence = result.stdout.splitlines()
    assert "l.db' cannot be written" in sentence
    with Ledger(tmp_path / "l.db") as ledger:
        assert ledger.total(ledger.tasks()[0], 0).chunks == int(last) + 1


# Two at once.


def test_a_second_writer_is_refused_or_waits(filled):
    first = Ledger(filled)
    with pytest.raises(LedgerError, match=r"another process writes to ledger '.*filled\.db'"):
        Ledger(filled)
    start = time.monotonic()
    with pytest.raises(LedgerError, match="another process writes"):
        Ledger(filled, wait=0.3)
    assert time.monotonic() - start >= 0.3
    first.close()
    with Ledger(filled, wait=300):
        pass


def test_the_lock_of_a_process_that_was_killed_is_free(filled):
    code = f"""
        import os, sys, time
        from kwta_theory import campaign
        ledger = campaign.Ledger({str(filled)!r})
        print("open", flush=True)
        time.sleep(600)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True) as holder:
        killed = threading.Event()

        def kill():
            killed.set()
            holder.kill()

        try:
            assert holder.stdout.readline() == "open\n"
            with pytest.raises(LedgerError, match="another process writes"):
                Ledger(filled)
            timer = threading.Timer(0.3, kill)
            timer.start()
            with Ledger(filled, wait=300):
                assert killed.is_set()  # it waited for the holder to end
            timer.join()
        finally:
            holder.kill()
