"""The ledger: every chunk that was ever counted, in one SQLite file that survives whatever ends the run.

Tables. ``tasks`` and ``labels`` say what was sampled. ``chunks`` holds the counted chunks, primary key (task, seed,
chunk); for each task and seed they are always 0, 1, ..., n - 1, without a gap. ``ahead`` holds chunks that were
finished before an earlier one was: they wait there, uncounted, and are used instead of being drawn again.

Every chunk carries a checksum. The file is in write-ahead mode: a process that is killed loses what it had not
committed and nothing else. One process writes at a time (a lock file beside the ledger, freed by the system when its
holder dies); any number may read. Nothing in the file is executed: it holds numbers and JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from kwta_theory.campaign.estimators import Outcome, Value
from kwta_theory.campaign.tally import Tally
from kwta_theory.campaign.task import Task
from kwta_theory.checks import InvalidArgumentError

APPLICATION = 0x6B575441  # "kWTA", in the header of the file
SCHEMA = 1
LARGEST_SEED = 2**63 - 1
_SCHEMA = """
CREATE TABLE tasks (
    id TEXT PRIMARY KEY, estimator TEXT NOT NULL, version INTEGER NOT NULL, chunk_trials INTEGER NOT NULL,
    parameters TEXT NOT NULL, outcomes TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE labels (task TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (task, name, value))
    WITHOUT ROWID;
CREATE TABLE chunks (task TEXT NOT NULL, seed INTEGER NOT NULL, chunk INTEGER NOT NULL, tally TEXT NOT NULL,
    checksum TEXT NOT NULL, seconds REAL NOT NULL, PRIMARY KEY (task, seed, chunk)) WITHOUT ROWID;
CREATE TABLE ahead (task TEXT NOT NULL, seed INTEGER NOT NULL, chunk INTEGER NOT NULL, tally TEXT NOT NULL,
    checksum TEXT NOT NULL, seconds REAL NOT NULL, PRIMARY KEY (task, seed, chunk)) WITHOUT ROWID;
"""
_TABLES = {"tasks", "labels", "chunks", "ahead"}
_CHUNK_COLUMNS = "task, seed, chunk, tally, checksum, seconds"


class LedgerError(Exception):
    """A ledger that cannot be read, written or combined. The text is one sentence and names the file."""


@dataclass(frozen=True)
class Chunk:
    """One finished chunk.

    Attributes:
        number: from 0.
        tally: its trials.
        seconds: wall-clock time of drawing it; the only thing in a ledger that two equal runs do not share.
    """

    number: int
    tally: Tally
    seconds: float


@dataclass(frozen=True)
class Total:
    """The counted chunks of one task and seed.

    Attributes:
        seed: of the stream.
        chunks: how many: 0, 1, ..., chunks - 1.
        tally: their sum.
        seconds: the time of drawing them.
    """

    seed: int
    chunks: int
    tally: Tally
    seconds: float


class Ledger:
    """An open ledger; use it in a ``with`` statement.

    Args:
        path: of the file. It is created, whole or not at all, when ``write`` and it is not there.
        write: False to only read: the file is not changed. (SQLite may leave an empty log beside it, which the next
            writer removes.)
        wait: seconds to wait for another process that writes to it.

    Raises:
        LedgerError: a file that is not there, is no ledger, is damaged, or cannot be opened; another process writes to
            it. The file is left as it was.
    """

    def __init__(self, path: str | os.PathLike[str], *, write: bool = True, wait: float = 0.0) -> None:
        self.path = Path(path)
        self._file = self.path.resolve()
        self.write = write
        self._stack = contextlib.ExitStack()
        self._registered: set[str] = set()
        with self._stack, self._sentences("opened"):
            self._check_place()
            if write:
                self._stack.callback(self._lock(wait).release)
                if not self.path.exists():
                    self._create()
            self._check_file()
            self._connection = self._connect()
            self._stack.callback(self._connection.close)
            self._stack = self._stack.pop_all()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and free the lock; closing twice is allowed."""
        with self._sentences("closed"):
            self._stack.close()

    # What was sampled.

    def register(self, *tasks: Task) -> None:
        """Note tasks and their labels, all or none.

        Raises:
            LedgerError: the ledger holds trials of another version of an estimator.
        """
        there = self._rows("SELECT DISTINCT estimator, version FROM tasks")
        for name, drawn in {(task.estimator, task.version) for task in tasks}:
            for other, version in there:
                if name == other and version != drawn:
                    raise LedgerError(
                        f"ledger {str(self.path)!r} holds trials of version {version} of {name!r}, and this package "
                        f"draws version {drawn}: their trials do not mix, so use another ledger."
                    )
        labels = [(task.id, name, _dump(value)) for task in tasks for name, value in task.labels.items()]
        with self._transaction() as cursor:
            cursor.executemany("INSERT OR IGNORE INTO tasks VALUES (?, ?, ?, ?, ?, ?)", map(_task_row, tasks))
            cursor.executemany("INSERT OR IGNORE INTO labels VALUES (?, ?, ?)", labels)

    def tasks(self) -> list[Task]:
        """All tasks, ordered by estimator and then by identity; labels with several values are joined."""
        columns = "id, estimator, version, chunk_trials, parameters, outcomes"
        return [self._task(*row) for row in self._rows(f"SELECT {columns} FROM tasks ORDER BY estimator, id")]

    def find(self, prefix: str) -> Task:
        """The task whose identity begins so; raise :class:`LedgerError` where none or several do."""
        found = [task for task in self.tasks() if prefix and task.id.startswith(prefix)]
        if len(found) != 1:
            raise LedgerError(
                f"ledger {str(self.path)!r} holds {len(found) or 'no'} task{'s' * (len(found) != 1)} "
                f"whose identity begins with {prefix!r}: give more of its digits."
            )
        return found[0]

    # What was counted.

    def totals(self, task: Task) -> list[Total]:
        """The counted chunks of a task, for each seed in increasing order."""
        return [total for total in (self.total(task, seed) for seed in self.seeds(task)) if total.chunks]

    def seeds(self, task: Task) -> list[int]:
        """The seeds with which a task was sampled, in increasing order."""
        both = "SELECT seed FROM chunks WHERE task = ?1 UNION SELECT seed FROM ahead WHERE task = ?1 ORDER BY seed"
        return [seed for (seed,) in self._rows(both, task.id)]

    def labels(self) -> list[tuple[str, str, str]]:
        """All labels: the task's identity, the name, the value as JSON."""
        return self._rows("SELECT task, name, value FROM labels ORDER BY task, name, value")

    def total(self, task: Task, seed: int) -> Total:
        """The counted chunks of one task and seed."""
        chunks = self.chunks(task, seed)
        return Total(seed, len(chunks), sum((c.tally for c in chunks), Tally()), sum(c.seconds for c in chunks))

    def chunks(self, task: Task, seed: int) -> list[Chunk]:
        """The counted chunks, in order.

        Raises:
            LedgerError: a chunk with a wrong checksum or of a wrong size, a gap.
        """
        chunks = self._chunks("chunks", task, seed)
        if [chunk.number for chunk in chunks] != list(range(len(chunks))):
            raise self._damaged(f"task {task.id[:12]} with seed {seed} has a gap in its chunks")
        return chunks

    def ahead(self, task: Task, seed: int) -> list[Chunk]:
        """Finished chunks that wait for an earlier one."""
        return self._chunks("ahead", task, seed)

    def record(
        self, counted: Iterable[tuple[Task, int, Chunk]], ahead: Iterable[tuple[Task, int, Chunk]] = (),
        settled: Iterable[tuple[Task, int]] = (),
    ) -> None:  # fmt: skip
        """Write chunks, all or none. Writing the same chunk again changes nothing.

        Args:
            counted: the next chunks of their task and seed, in order.
            ahead: chunks that must wait; one that is counted already need not.
            settled: tasks that need no more trials: what waits for them is dropped, since whether a chunk was drawn
                ahead depends on the workers and must not show.

        Raises:
            LedgerError: a counted chunk whose predecessor is not there; the file cannot be written. Nothing is changed.
        """
        with self._transaction() as cursor:
            for task, seed, chunk in counted:
                key = (task.id, seed, chunk.number)
                before = "SELECT 1 FROM chunks WHERE task = ? AND seed = ? AND chunk = ? - 1"
                if chunk.number and not cursor.execute(before, key).fetchone():
                    raise LedgerError(
                        f"ledger {str(self.path)!r} does not take chunk {chunk.number} of task {task.id[:12]} with "
                        f"seed {seed}: chunk {chunk.number - 1} is not there."
                    )
                cursor.execute("INSERT OR IGNORE INTO chunks VALUES (?, ?, ?, ?, ?, ?)", _row(task, seed, chunk))
                cursor.execute("DELETE FROM ahead WHERE task = ? AND seed = ? AND chunk = ?", key)
            for task, seed, chunk in ahead:
                cursor.execute(
                    "INSERT OR IGNORE INTO ahead SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS "
                    "(SELECT 1 FROM chunks WHERE task = ?1 AND seed = ?2 AND chunk = ?3)",
                    _row(task, seed, chunk),
                )
            for task, seed in settled:
                cursor.execute("DELETE FROM ahead WHERE task = ? AND seed = ?", (task.id, seed))

    def absorb(
        self, tasks: Iterable[Task], labels: Iterable[tuple[str, str, str]], counted: Iterable[tuple[Task, int, Chunk]],
        ahead: Iterable[tuple[Task, int, Chunk]],
    ) -> None:  # fmt: skip
        """Write the union of ledgers, all or nothing: see :func:`kwta_theory.campaign.merge`."""
        with self._transaction() as cursor:
            cursor.executemany("INSERT OR IGNORE INTO tasks VALUES (?, ?, ?, ?, ?, ?)", map(_task_row, tasks))
            cursor.executemany("INSERT OR IGNORE INTO labels VALUES (?, ?, ?)", labels)
            for table, entries in (("chunks", counted), ("ahead", ahead)):
                rows = (_row(*entry) for entry in entries)
                cursor.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?, ?, ?)", rows)
            cursor.execute("DELETE FROM ahead WHERE (task, seed, chunk) IN (SELECT task, seed, chunk FROM chunks)")

    # How it is stored.

    def _check_place(self) -> None:
        if self.path.is_dir():
            raise LedgerError(f"ledger {str(self.path)!r} is a directory: a file name is needed.")
        folder = self.path.absolute().parent
        if not folder.is_dir():
            raise LedgerError(f"ledger {str(self.path)!r} cannot be there: its directory does not exist.")
        there = self.path.exists()
        if there and not self.path.is_file():
            raise LedgerError(f"ledger {str(self.path)!r} is no ordinary file.")
        if not there and not self.write:
            raise LedgerError(f"ledger {str(self.path)!r} does not exist.")
        for place in (folder, self.path) if there else (folder,):
            if not os.access(place, os.W_OK if self.write else os.R_OK):
                what = "written" if self.write else "read"
                raise LedgerError(f"ledger {str(self.path)!r} cannot be {what}: permission is denied.")

    def _lock(self, wait: float) -> FileLock:
        lock = FileLock(self._beside(".lock"), timeout=wait, fallback_to_soft=False)
        try:
            lock.acquire()
        except Timeout:
            raise LedgerError(
                f"another process writes to ledger {str(self.path)!r}: wait until it has ended, or let each write to a "
                "ledger of its own and merge them."
            ) from None
        return lock

    def _beside(self, ending: str) -> Path:
        """A file that belongs to the ledger; where the path is a link, it lies beside the file, as SQLite's do."""
        return self._file.with_name(self._file.name + ending)

    def _create(self) -> None:
        """Build the empty ledger under another name and move it: no reader ever sees half of one."""
        log = self._beside("-wal")
        if log.exists() and log.stat().st_size:
            raise LedgerError(
                f"ledger {str(self.path)!r} is gone, but its log {log.name!r} is still there: "
                "put the ledger back, or move the log away."
            )
        temporary = self._beside(f".{os.getpid()}.new")
        try:
            with contextlib.closing(sqlite3.connect(temporary)) as connection:
                connection.executescript(
                    f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA}; {_SCHEMA}"
                )
            temporary.replace(self._file)
        finally:
            temporary.unlink(missing_ok=True)
            temporary.with_name(temporary.name + "-journal").unlink(missing_ok=True)

    def _check_file(self) -> None:
        """Refuse what is no whole ledger, through a connection that cannot change it."""
        with self.path.open("rb") as stream:
            header = stream.read(100)
        if not header.startswith(b"SQLite format 3\x00") or len(header) < 100:
            what = "is empty" if not header else "is not a ledger (no SQLite file)"
            raise LedgerError(f"ledger {str(self.path)!r} {what}: it was left as it is.")
        log = self._beside("-wal")
        if not (log.exists() and log.stat().st_size):  # with a log, its pages complete the file
            page = int.from_bytes(header[16:18]) or 1
            size = int.from_bytes(header[28:32]) * (65536 if page == 1 else page)
            if self.path.stat().st_size != size:
                raise self._damaged(f"it has {self.path.stat().st_size} bytes, and its header says {size}")
        with contextlib.closing(self._reader()) as reader:
            if reader.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
                raise LedgerError(f"ledger {str(self.path)!r} is a database of another program: it was left as it is.")
            schema = reader.execute("PRAGMA user_version").fetchone()[0]
            if schema != SCHEMA:
                raise LedgerError(
                    f"ledger {str(self.path)!r} has format {schema}, and this version of kwta_theory reads format "
                    f"{SCHEMA}: use the version that wrote it."
                )
            trouble = reader.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if trouble != "ok":
                raise self._damaged(" ".join(str(trouble).split()))
            tables = {name for (name,) in reader.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            if not tables >= _TABLES:
                raise self._damaged(f"the table {min(_TABLES - tables)} is missing")
            gap = reader.execute(
                "SELECT task, seed FROM chunks GROUP BY task, seed HAVING min(chunk) <> 0 OR max(chunk) + 1 <> count(*)"
            ).fetchone()
            if gap:
                raise self._damaged(f"task {str(gap[0])[:12]} with seed {gap[1]} has a gap in its chunks")

    def _reader(self) -> sqlite3.Connection:
        uri = self.path.absolute().as_uri() + "?mode=ro"
        if not os.access(self.path.absolute().parent, os.W_OK) and not self._beside("-wal").exists():
            uri += "&immutable=1"  # the index of the log cannot be made there, and there is no log
        return sqlite3.connect(uri, uri=True, timeout=10.0)

    def _connect(self) -> sqlite3.Connection:
        if not self.write:
            return self._reader()
        connection = sqlite3.connect(self.path, timeout=10.0, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    @contextlib.contextmanager
    def _sentences(self, done: str) -> Iterator[None]:
        """Errors of SQLite and of the system as sentences that name the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._sentence(error, done) from error
        except OSError as error:
            raise LedgerError(f"ledger {str(self.path)!r} cannot be {done}: {error.strerror or error}.") from error

    def _sentence(self, error: sqlite3.Error, done: str) -> LedgerError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and done == "written"):
            why = "the disk is full" if code == sqlite3.SQLITE_FULL else str(error)
            return LedgerError(
                f"ledger {str(self.path)!r} cannot be {done}: {why}. What was committed before is kept; the run goes "
                "on from there when it is started again."
            )
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self._damaged(str(error))
        return LedgerError(f"ledger {str(self.path)!r} cannot be {done}: {error}.")

    def _damaged(self, what: str) -> LedgerError:
        return LedgerError(f"ledger {str(self.path)!r} is damaged ({what}): it was left as it is.")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        if not self.write:
            raise LedgerError(f"ledger {str(self.path)!r} was opened for reading: it cannot be written.")
        with self._sentences("written"):
            cursor = self._connection.cursor()
            try:
                cursor.execute("BEGIN IMMEDIATE")
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.rollback()
                raise

    def _rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        with self._sentences("read"):
            return self._connection.execute(query, arguments).fetchall()

    def _task(self, key: str, estimator: str, version: int, chunk_trials: int, parameters: str, outcomes: str) -> Task:
        labels: dict[str, Value] = {}
        try:
            for name, text in self._rows("SELECT name, value FROM labels WHERE task = ? ORDER BY name, value", key):
                value = json.loads(text)
                labels[name] = f"{labels[name]}; {value}" if name in labels else value
            measured = tuple(Outcome(str(name), kind) for name, kind in json.loads(outcomes))
            task = Task(
                estimator, version, dict(sorted(json.loads(parameters).items())), chunk_trials, measured, labels
            )
            if task.id == key and measured:
                return task
        except (ValueError, TypeError, AttributeError, RecursionError):
            pass
        raise self._damaged(f"the row of task {str(key)[:12]} does not match its identity")

    def _chunks(self, table: str, task: Task, seed: int) -> list[Chunk]:
        query = f"SELECT {_CHUNK_COLUMNS} FROM {table} WHERE task = ? AND seed = ? ORDER BY chunk"
        names = {outcome.name for outcome in task.outcomes}
        chunks = []
        for key, _, number, text, checksum, seconds in self._rows(query, task.id, seed):
            where = f"chunk {number} of task {task.id[:12]} with seed {seed}"
            if checksum != checksum_of(key, seed, number, text):
                raise self._damaged(f"{where} does not match its checksum")
            try:
                tally = Tally.from_json(text)
            except InvalidArgumentError:
                raise self._damaged(f"{where} holds no tally") from None
            if tally.trials != task.chunk_trials or set(tally.names) != names:
                raise self._damaged(f"{where} is not a chunk of {task.chunk_trials} trials")
            if not isinstance(seconds, float) or not 0 <= seconds < math.inf:
                raise self._damaged(f"{where} took {seconds!r} seconds")
            chunks.append(Chunk(number, tally, seconds))
        return chunks


def checksum_of(task: str, seed: int, chunk: int, tally: str) -> str:
    """16 hexadecimal digits of BLAKE2b over everything in a row but its seconds."""
    return hashlib.blake2b(f"{task}\x1f{seed}\x1f{chunk}\x1f{tally}".encode(), digest_size=8).hexdigest()


def _row(task: Task, seed: int, chunk: Chunk) -> tuple[object, ...]:
    text = chunk.tally.to_json()
    return task.id, seed, chunk.number, text, checksum_of(task.id, seed, chunk.number, text), chunk.seconds


def _task_row(task: Task) -> tuple[object, ...]:
    parameters, outcomes = _dump(dict(task.parameters)), _dump([[o.name, o.kind] for o in task.outcomes])
    return task.id, task.estimator, task.version, task.chunk_trials, parameters, outcomes


def _dump(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
