from __future__ import annotations

import csv
import itertools

import pytest

from kwta_theory import campaign
from kwta_theory.campaign import Ledger, LedgerError, Moments, Tally, Task, Until, export, merge, rows
from kwta_theory.campaign.export import columns
from kwta_theory.campaign.ledger import Chunk
from kwta_theory.checks import InvalidArgumentError


@pytest.fixture
def parts(tmp_path, coins):
    """Three ledgers: seed 0 for a while, seed 0 for longer with other tasks, seed 1."""
    campaign.run(coins[:2], tmp_path / "a.db", Until(trials=200))
    campaign.run(coins[1:], tmp_path / "b.db", Until(trials=400))
    campaign.run(coins, tmp_path / "c.db", Until(trials=120), seed=1)
    return [tmp_path / name for name in ("a.db", "b.db", "c.db")]


def test_a_merge_is_a_union(parts, tmp_path, content, coins):
    wholes = []
    for i, order in enumerate(itertools.permutations(parts)):
        merge(tmp_path / f"out{i}.db", order)
        wholes.append(content(tmp_path / f"out{i}.db"))
    assert all(whole == wholes[0] for whole in wholes)
    merge(tmp_path / "step.db", parts[:2])
    merge(tmp_path / "step.db", parts[2:])
    assert content(tmp_path / "step.db") == wholes[0]
    for extra in (parts, [tmp_path / "step.db"], [parts[0]], [parts[1], parts[1]]):
        merge(tmp_path / "step.db", extra)
        assert content(tmp_path / "step.db") == wholes[0]
    with Ledger(tmp_path / "step.db", write=False) as ledger:
        assert [[total.tally.trials for total in ledger.totals(task)] for task in coins] == [
            [200, 120],
            [400, 120],
            [400, 120],
        ]


def test_merging_into_itself_changes_no_byte_of_what_counts(parts, content):
    before = content(parts[0])
    merge(parts[0], [parts[0]])
    assert content(parts[0]) == before


def test_inputs_are_left_alone(parts, tmp_path):
    before = [part.read_bytes() for part in parts]
    merge(tmp_path / "out.db", parts)
    assert [part.read_bytes() for part in parts] == before


def test_seeds_add_up_and_the_same_seed_coincides(parts, tmp_path, coins):
    merge(tmp_path / "out.db", parts)
    with Ledger(tmp_path / "out.db", write=False) as merged, Ledger(parts[1], write=False) as b:
        row = next(row for row in rows(merged) if row["task"] == coins[2].id and row["outcome"] == "heads")
        assert (row["trials"], row["seeds"]) == (520, "0 1")
        assert merged.total(coins[2], 0) == b.total(coins[2], 0)


def chunk(heads, total=20.0):
    return Chunk(0, Tally(40, {"heads": heads}, {"level": Moments(total, 12), "score": Moments(total, 12)}), 0.0)


def ledger_with(path, task, *, counted=(), ahead=()):
    with Ledger(path) as ledger:
        ledger.register(task)
        ledger.record([(task, 0, c) for c in counted], [(task, 0, c) for c in ahead])
    return path


def test_a_chunk_that_differs_is_an_error_that_names_it(tmp_path, coins, content):
    a = ledger_with(tmp_path / "a.db", coins[0], counted=[chunk(20)])
    b = ledger_with(tmp_path / "b.db", coins[0], counted=[chunk(21)])
    c = ledger_with(tmp_path / "c.db", coins[0], ahead=[chunk(21)])
    before = content(a)
    for other in (b, c):
        with pytest.raises(LedgerError, match=f"chunk 0 of task {coins[0].id[:12]} .* with seed 0 in ledger") as caught:
            merge(a, [other])
        assert "not drawn by the same program" in str(caught.value)
        with pytest.raises(LedgerError, match="differs from that in another ledger"):
            merge(tmp_path / "new.db", [other, a])
        assert not (tmp_path / "new.db").exists()
    assert content(a) == before


def test_rounding_of_sums_is_no_difference(tmp_path, coins, content):
    a = ledger_with(tmp_path / "a.db", coins[0], counted=[chunk(20)])
    b = ledger_with(tmp_path / "b.db", coins[0], counted=[chunk(20, 20.000000000000004)])
    merge(tmp_path / "ab.db", [a, b])
    merge(tmp_path / "ba.db", [b, a])
    assert content(tmp_path / "ab.db") == content(tmp_path / "ba.db")
    c = ledger_with(tmp_path / "c.db", coins[0], counted=[chunk(20, 20.001)])
    with pytest.raises(LedgerError, match="differs"):
        merge(a, [c])


def test_what_waits_is_merged_and_counted_chunks_win(tmp_path, coins):
    task = coins[0]
    waiting = [Chunk(n, chunk(20).tally, 0.0) for n in (1, 5)]
    a = ledger_with(tmp_path / "a.db", task, ahead=waiting)
    b = ledger_with(tmp_path / "b.db", task, counted=[Chunk(n, chunk(20).tally, 0.0) for n in range(3)])
    merge(b, [a])
    with Ledger(b, write=False) as ledger:
        assert ledger.total(task, 0).chunks == 3
        assert [c.number for c in ledger.ahead(task, 0)] == [5]


def test_versions_do_not_mix(tmp_path, coins):
    a = ledger_with(tmp_path / "a.db", coins[0])
    newer = Task("coin", 2, coins[0].parameters, 40, coins[0].outcomes)
    b = ledger_with(tmp_path / "b.db", newer)
    with pytest.raises(LedgerError, match=r"holds version 1 of 'coin' and .* version 2"):
        merge(tmp_path / "out.db", [a, b])
    with pytest.raises(InvalidArgumentError, match="inputs is empty"):
        merge(tmp_path / "out.db", [])
    with pytest.raises(LedgerError, match="does not exist"):
        merge(tmp_path / "out.db", [tmp_path / "gone.db"])
    assert not (tmp_path / "out.db").exists()


def test_rows_have_every_number_with_its_interval(parts, coins):
    with Ledger(parts[0], write=False) as ledger:
        table = rows(ledger, error=0.01)
        tally = ledger.total(coins[0], 0).tally
    assert [row["outcome"] for row in table] == ["heads", "level", "score"] * 2
    assert [row["p"] for row in table[::3]] == [0.2, 0.5]  # numbers in their order
    heads = table[3]
    assert (heads["successes"], heads["trials"], heads["error"]) == (tally.counts["heads"], 200, 0.01)
    assert heads["lower"] < heads["estimate"] < heads["upper"]
    assert heads["variance"] == tally.variance("heads")
    assert table[5]["interval"] == "asymptotic"
    assert table[5]["successes"] is None
    with Ledger(parts[0], write=False) as ledger:
        assert rows(ledger, error=1e-6)[3]["lower"] < heads["lower"]


def test_csv_gives_the_numbers_back(parts, tmp_path):
    with Ledger(parts[1], write=False) as ledger:
        export(ledger, tmp_path / "out ü.csv")
        table = rows(ledger)
    with (tmp_path / "out ü.csv").open(newline="", encoding="utf-8") as stream:
        read = list(csv.DictReader(stream))
    assert len(read) == len(table) == 6
    for text, row in zip(read, table, strict=True):
        assert list(text) == columns(table)
        for name in ("estimate", "lower", "upper", "variance", "p"):
            assert float(text[name]) == row[name]
    assert list(read[0])[-1] == "seconds"


def test_parquet_holds_the_same_table(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    tasks = [
        Task.of("coin", p=0.5, chunk_trials=10, labels={"figure": 4}),
        Task.of("coin", p=0.2, chunk_trials=10, labels={"figure": "four"}),
    ]
    campaign.run(tasks, tmp_path / "l.db", Until(trials=20))
    with Ledger(tmp_path / "l.db", write=False) as ledger:
        export(ledger, tmp_path / "out.parquet")
        table = rows(ledger)
    read = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["estimate"] for row in read] == [row["estimate"] for row in table]
    assert {row["label_figure"] for row in read} == {"4", "four"}
    assert list(read[0]) == columns(table)


def test_bad_places_for_an_export(parts, tmp_path):
    with Ledger(parts[0], write=False) as ledger:
        with pytest.raises(InvalidArgumentError, match=r"must end in \.csv or \.parquet"):
            export(ledger, tmp_path / "out.xlsx")
        with pytest.raises(InvalidArgumentError, match="its directory is not there"):
            export(ledger, tmp_path / "gone" / "out.csv")
        (tmp_path / "dir.csv").mkdir()
        with pytest.raises(InvalidArgumentError, match="it is a directory"):
            export(ledger, tmp_path / "dir.csv")


def test_no_permission_to_export(parts, tmp_path, monkeypatch):
    from kwta_theory.campaign.export import check_export

    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InvalidArgumentError, match="permission is denied"):
        check_export(tmp_path / "out.csv")


def test_parquet_without_its_package_is_a_sentence(parts, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with (
        Ledger(parts[0], write=False) as ledger,
        pytest.raises(InvalidArgumentError, match="needs the package pyarrow"),
    ):
        export(ledger, tmp_path / "out.parquet")


def test_an_empty_ledger_is_a_table_without_rows(tmp_path):
    with Ledger(tmp_path / "l.db") as ledger:
        export(ledger, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().startswith("task,estimator,version,outcome,")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1
