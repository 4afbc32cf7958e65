"""kwta sweep, kwta estimators and kwta ledger as a person meets them: streams, files, exit codes, refusals."""

from __future__ import annotations

import csv
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import tomllib
from pathlib import Path

import filelock
import pytest
from commands import kwta, refused
from typer.testing import CliRunner

from kwta_theory import campaign, cli, cli_campaign
from kwta_theory.campaign import Status, Tally, backends

COMMAND = [sys.executable, "-c", "from kwta_theory.cli import main; main()"]
# Chunks of 200 trials: a millisecond each.
SMALL = ["sweep", "--estimator", "same-pattern", "--width", "20", "--k", "2", "--cosine", "0.9"]
SMALL += ["--chunk-trials", "200"]


def without_seconds(ledger: Path, folder: Path) -> list[dict[str, str]]:
    """The export of a ledger but for the time it took."""
    file = folder / "export.csv"
    assert kwta("ledger", "export", ledger, file).exit_code == 0
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def sampled(ledger: Path, *, until: str = "trials=400", seed: int = 0, cosine: str = "0.8,0.9") -> Path:
    """A small ledger."""
    options = ["--until", until, "--seed", str(seed), "--ledger", ledger, "--quiet"]
    result = kwta(*SMALL[:-4], "--cosine", cosine, *SMALL[-2:], *options)
    assert result.exit_code == 0, result.output
    return ledger


@pytest.fixture
def ledger(tmp_path):
    """Two tasks with 400 trials each."""
    return sampled(tmp_path / "l.db")


@pytest.fixture
def asked(monkeypatch):
    """What ``kwta sweep`` would run: nothing is drawn."""
    calls: list[dict[str, object]] = []

    def run(tasks, ledger, until, **options):
        calls.append({"tasks": tasks, "ledger": ledger, "until": until, **options})
        return []

    monkeypatch.setattr(campaign, "run", run)
    return calls


# Help.


def test_the_help_of_every_command_fits_eighty_columns_and_loses_no_brackets():
    runner = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    for command in (["sweep"], ["estimators"], ["ledger"], *(["ledger", name] for name in ("show", "merge", "export"))):
        result = runner.invoke(cli.app, [*command, "--help"])
        assert result.exit_code == 0
        assert max(map(len, result.stdout.splitlines())) <= 80
        assert "[]" not in result.stdout
    assert "[[sweep]]" in runner.invoke(cli.app, ["sweep", "--help"]).stdout
    top = runner.invoke(cli.app, ["--help"]).stdout
    assert [name for name in ("sweep", "estimators", "ledger") if f"│ {name}" not in top] == []


def test_the_example_for_a_grid_in_the_help_is_one(tmp_path, asked):
    text = " ".join(re.sub("[│╭╰─╮╯]", " ", kwta("sweep", "--help").stdout).split())
    estimator, grid = re.search(r'(estimator = "[a-z-]+") and (grid = \{.*?\})', text).groups()
    file = tmp_path / "grid.toml"
    file.write_text(f"[[sweep]]\n{estimator}\n{grid}\n", encoding="utf-8")
    assert tomllib.loads(file.read_text())
    result = kwta("sweep", "--grid", file, "--until", "trials=1", "--ledger", tmp_path / "l.db")
    assert result.exit_code == 0, result.output
    assert [task.parameters["width"] for task in asked[0]["tasks"]] == [100, 10_000]


def test_every_estimator_is_listed_with_its_parameters_and_an_example_that_is_accepted(tmp_path, asked):
    own = [name for name in campaign.known() if campaign.find(name).draw.__module__.startswith("kwta_theory.campaign.")]
    assert list(cli_campaign.EXAMPLES) == own
    assert ", ".join(own) == cli_campaign.ESTIMATOR_NAMES
    assert set(cli_campaign.PARAMETERS) == {name for key in own for name in campaign.find(key).accepts}
    everything = kwta("estimators").stdout
    for name in own:
        one = kwta("estimators", name).stdout
        found = campaign.find(name)
        assert one.splitlines()[0] == f"{name}: {found.summary}"
        assert f"{name}: {found.summary}\n    parameters: {', '.join(found.accepts)}\n" in everything
        for parameter in found.accepts:
            assert f"    {parameter:15} {cli_campaign.PARAMETERS[parameter]}\n" in one
        assert ", ".join(outcome.name for outcome in found.outcomes) in one
        example = re.search(r"example: kwta (.*) --ledger", one).group(1)
        assert example in everything
        result = kwta(*shlex.split(example), "--ledger", tmp_path / "l.db")
        assert result.exit_code == 0, result.output
        assert {task.estimator for task in asked[-1]["tasks"]} == {name}
    refused(2, "estimator='nope' is not known: it must be one of boundary-crossings", "estimators", "nope")


# What is sampled.


@pytest.mark.parametrize(
    ("estimator", "base", "option", "name", "values"),
    [
        ("same-pattern", "--k 2 --cosine 0.5", "--width 10,1e2", "width", [10, 100]),
        ("disjoint-patterns", "--k 2 --cosine 0.5", "--log-width 50:100:2", "log_width", [50, 100]),
        ("same-pattern", "--width 9 --cosine 0.5", "--k 1,2", "k", [1, 2]),
        ("same-pattern", "--width 9 --cosine 0.5", "--winners 3", "k", [3]),
        ("same-pattern", "--width 100 --cosine 0.5", "--sparsity-ratio 0.1,0.2", "k", [10, 20]),
        ("same-pattern", "--width 9 --k 1", "--cosine -0.5:0.5:3", "cosine", [-0.5, 0, 0.5]),
        ("same-pattern", "--width 9 --k 1", "--beta 3", "cosine", [0.5]),
        ("same-pattern", "--width 9 --k 1 --cosine 0.5", "--margin 0.25", "margin", [0.25]),
        ("disjoint-patterns", "--width 9 --k 1 --cosine 0.5", "--points 3,4", "points", [3, 4]),
        ("disjoint-patterns", "--width 9 --k 1", "--inputs gaussian,mnist", "inputs", ["gaussian", "mnist"]),
        ("disjoint-patterns", "--width 9 --k 1 --inputs gaussian", "--input-dim 7", "input_dim", [7]),
        ("disjoint-patterns", "--width 9 --k 1 --inputs mnist", "--input-seed 5", "input_seed", [5]),
        ("distinct-patterns", "--width 9 --k 1 --input-dim 4 --points 3", "--probability 0.25", "probability", [0.25]),
        ("boundary-crossings", "--width 9 --k 1", "--angle 1.5", "angle", [1.5]),
        ("disjoint-patterns", "--width 1e4 --k 1 --cosine 0.5", "--method gram,tail", "method", ["gram", "tail"]),
        ("same-pattern", "--width 9 --k 1 --cosine 0.5", "--device cpu,cuda", "device", ["cpu", "cuda"]),
        ("same-pattern", "--width 9 --k 1 --cosine 0.5", "--set margin=0.5,1", "margin", [0.5, 1]),
    ],
)
def test_each_parameter_reaches_the_tasks(asked, tmp_path, estimator, base, option, name, values):
    options = ["--until", "trials=1", "--ledger", tmp_path / "l.db"]
    result = kwta("sweep", "--estimator", estimator, *base.split(), *option.split(), *options)
    assert result.exit_code == 0, result.output
    assert [task.parameters[name] for task in asked[0]["tasks"]] == pytest.approx(values)
    assert all(task.estimator == estimator for task in asked[0]["tasks"])


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        ("--seed 7", "seed", 7),
        ("--workers 2", "workers", 2),
        ("--backend serial", "backend", "serial"),
        ("--scheduler tcp://h:1", "scheduler", "tcp://h:1"),
        ("--batch 3", "batch", 3),
        ("--wait 2.5", "wait_for_ledger", 2.5),
        ("--error 0.01", "until", campaign.Until(trials=1, error=0.01)),
        ("--until seconds=2", "until", campaign.Until(trials=1, seconds=2.0)),
        ("--until decided=0.5,relative-error=0.1", "until", campaign.Until(0.1, 1, None, 0.5)),
    ],
)
def test_each_way_of_running_reaches_the_runner(asked, tmp_path, option, name, value):
    for extra in ([], option.split()):
        assert kwta(*SMALL, "--until", "trials=1", "--ledger", tmp_path / "l.db", *extra).exit_code == 0
    assert asked[0][name] != value
    assert asked[1][name] == value
    assert asked[0]["tasks"][0].chunk_trials == 200


def test_grid_file(asked, tmp_path):
    file = tmp_path / "ein gitter ü.toml"
    file.write_text(
        '[[sweep]]\nestimator = "same-pattern"\nchunk_trials = 50\nlabels = { name = "a" }\n'
        'grid = { width = "10,20", k = 1, cosine = 0.5 }\n',
        encoding="utf-8",
    )
    options = ["--until", "trials=1", "--ledger", tmp_path / "l.db"]
    assert kwta("sweep", "--grid", file, *options).exit_code == 0
    assert [(task.parameters["width"], task.chunk_trials) for task in asked[0]["tasks"]] == [(10, 50), (20, 50)]
    assert asked[0]["tasks"][0].labels == {"name": "a"}
    refused(2, "exactly one of --estimator and --grid", "sweep", "--grid", file, "--estimator", "x", *options)
    refused(2, "exactly one of --estimator and --grid", "sweep", *options)
    for option, name in (("--log-width 3", "log-width"), ("--chunk-trials 3", "chunk-trials"), ("--set k=3", "set")):
        message = f"--{name} has no effect with --grid: write it into the file"
        refused(2, message, "sweep", "--grid", file, *option.split(), *options)
    file.write_text("width = 3", encoding="utf-8")
    refused(2, "ein gitter ü.toml' must hold tables", "sweep", "--grid", file, *options)
    refused(2, "nope.toml' cannot be read", "sweep", "--grid", tmp_path / "nope.toml", *options)


# Rules, results, files.


def test_results_go_to_standard_output_and_progress_to_standard_error(tmp_path):
    result = kwta(*SMALL, "--until", "trials=1000", "--ledger", tmp_path / "l.db")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(
        "same-pattern cosine=0.9 device=cpu k=2 margin=0 width=20: same; stopped by: trials\n"
    )
    assert re.search(r" 0\.\d+  \[0\.\d+, 0\.\d+\]   1,000\n", result.stdout)
    assert "trials (trials)" in result.stderr
    assert "\x1b[" not in result.output
    quiet = kwta(*SMALL, "--until", "trials=1000", "--ledger", tmp_path / "other.db", "--quiet")
    assert (quiet.stderr, quiet.stdout) == ("", result.stdout)


@pytest.mark.parametrize(
    ("rules", "stopped", "trials"),
    [
        (["trials=500"], "trials", 600),
        (["relative-error=0.5"], "relative-error", 200),
        (["decided=0.99"], "decided", 200),
        (["seconds=0.2"], "seconds", None),
        (["trials=5000", "relative-error=0.1,decided=0.9999999"], "decided", 200),
    ],
)
def test_each_rule_stops_the_run(tmp_path, rules, stopped, trials):
    options = [part for rule in rules for part in ("--until", rule)]
    result = kwta(*SMALL, *options, "--ledger", tmp_path / "l.db", "--quiet")
    assert result.exit_code == 0, result.output
    why = re.search(r"stopped by: ([a-z-]+)\n", result.stdout).group(1)
    found = re.search(r"\]  +([\d,]+)\n", result.stdout).group(1)
    assert why == stopped
    assert trials is None or int(found.replace(",", "")) == trials


def test_two_estimators_have_a_table_each(tmp_path):
    file, path = tmp_path / "g.toml", tmp_path / "l.db"
    sweeps = [
        f'[[sweep]]\nestimator = "{name}"\nchunk_trials = 100\ngrid = {{ width = "10,20", k = 1, cosine = 0.5 }}\n'
        for name in ("same-pattern", "pattern-overlap")
    ]
    file.write_text("".join(sweeps), encoding="utf-8")
    result = kwta("sweep", "--grid", file, "--until", "trials=100", "--ledger", path, "--quiet")
    assert result.exit_code == 0, result.output
    titles = [line for line in result.stdout.splitlines() if "device=" in line]
    assert titles == [
        "pattern-overlap cosine=0.5 device=cpu k=1 method=gram: overlap; stopped by: trials",
        "same-pattern cosine=0.5 device=cpu k=1 margin=0: same; stopped by: trials",
    ]
    shown = kwta("ledger", "show", path).stdout
    for title in (
        "pattern-overlap cosine=0.5 device=cpu k=1 method=gram; seeds: 0\n",
        "same-pattern cosine=0.5 device=cpu k=1 margin=0; outcome: same; seeds: 0\n",
    ):
        assert title in shown
    for name in ("overlap", "disjoint", "same"):
        assert len(re.findall(rf"^[0-9a-f]{{4}}  +\d\d  {name} ", shown, re.MULTILINE)) == 2


def test_a_missing_folder_is_made_and_an_empty_one_is_not_left_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sampled(Path("runs/a b/ü.db"))
    assert Path("runs/a b/ü.db").is_file()
    for command in (["ledger", "merge", "x/y/out.db", "nope.db"], [*SMALL, "--until", "trials=1", "--seed", "-1"]):
        ledger = [] if command[0] == "ledger" else ["--ledger", "x/y/l.db"]
        assert kwta(*command, *ledger).exit_code in (1, 2)
        assert not Path("x").exists()
    Path("there").mkdir()
    assert kwta("ledger", "merge", "there/out.db", "nope.db").exit_code == 1
    assert Path("there").is_dir()  # what was there before stays, empty or not
    assert kwta("ledger", "merge", "new/out.db", "runs/a b/ü.db").exit_code == 0
    assert Path("new/out.db").is_file()
    refused(1, "'.*x.toml'", *SMALL, "--until", "trials=1", "--ledger", Path("runs/a b/ü.db/x.toml/l.db"))


def test_resuming_and_other_seeds(tmp_path):
    there, whole = sampled(tmp_path / "a.db"), sampled(tmp_path / "b.db", until="trials=1000")
    more = kwta(*SMALL, "--until", "trials=400", "--ledger", there)
    assert "1 of 1 task had enough before this run" in more.stderr
    sampled(there, until="trials=1000")
    assert without_seconds(there, tmp_path) == without_seconds(whole, tmp_path)
    other = sampled(tmp_path / "c.db", until="trials=1000", seed=1)
    assert without_seconds(other, tmp_path) != without_seconds(whole, tmp_path)
    assert kwta("ledger", "merge", there, other).exit_code == 0
    rows = without_seconds(there, tmp_path)
    assert [(row["trials"], row["seeds"]) for row in rows] == [("2000", "0 1")] * 2


def test_error_widens_the_intervals(tmp_path, ledger):
    def width(*arguments):
        low, high = re.search(r"\[([\d.]+), ([\d.]+)\]", kwta(*arguments).stdout).groups()
        return float(high) - float(low)

    assert width("ledger", "show", ledger, "--error", "1e-6") > width("ledger", "show", ledger)
    rules = [*SMALL, "--until", "trials=400", "--ledger", ledger, "--quiet"]
    assert width(*rules, "--error", "1e-6") > width(*rules)
    for error in ("1e-6", "1e-3"):
        assert kwta("ledger", "export", ledger, tmp_path / f"{error}.csv", "--error", error).exit_code == 0
        assert f",{float(error)}," in (tmp_path / f"{error}.csv").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--until trials", "until='trials' is not allowed: write trials=NUMBER"),
        ("--until never=1", "until='never=1' is not known"),
        ("--until trials=1 --set margin", "--set 'margin' is not allowed: it must be NAME=VALUES"),
        ("--until trials=1 --set width=3", "--set 'width=3' is not allowed"),
        ("--until trials=1 --set margin=1 --set margin=2", "--set 'margin=2' is not allowed"),
        ("--until trials=1 --set labels=2", "--set 'labels=2' is not allowed"),
        ("--until trials=1 --set nope=2", "nope=2 is not a parameter of 'same-pattern'"),
        ("--until trials=1 --beta 1", "cosine and beta of cosine, beta was given"),
        ("--until trials=1 --seed -1", "seed=-1 is not allowed"),
        ("--until trials=1 --workers 0", "workers=0 is not allowed"),
        ("--until trials=1 --batch 0", "batch=0 is not allowed"),
        ("--until trials=1 --wait -1", "wait_for_ledger=-1.0 is not allowed"),
        ("--until trials=1 --error 2", "error=2.0 is not allowed"),
        (
            "--until trials=1 --backend cloud",
            "backend='cloud' is not allowed: it must be one of processes, serial, dask",
        ),
        ("--until trials=1 --backend dask", "scheduler=None does not fit backend='dask'"),
        ("--until trials=1 --scheduler tcp://h:1", "scheduler='tcp://h:1' does not fit backend='processes'"),
        ("--until trials=1 --backend serial --workers 2", "workers=2 has no effect with backend='serial'"),
    ],
)
def test_bad_use_is_a_sentence_and_leaves_no_file(tmp_path, options, message):
    refused(2, re.escape(message), *SMALL, *options.split(), "--ledger", tmp_path / "runs" / "l.db", "--quiet")
    assert not (tmp_path / "runs").exists()


def test_no_scheduler_and_failing_workers_and_estimators_end_with_code_1(tmp_path, monkeypatch):
    def fail(error):
        def connect(*arguments):
            raise error

        monkeypatch.setattr(backends, "connect", connect)

    command = [*SMALL, "--until", "trials=1", "--ledger", tmp_path / "l.db", "--quiet"]
    fail(campaign.BackendError("no Dask scheduler answers at 'tcp://h:1'."))
    refused(1, "kwta sweep: no Dask scheduler answers at 'tcp://h:1'.", *command)
    fail(campaign.EstimatorError("chunk 3 failed."))
    refused(1, "kwta sweep: chunk 3 failed.", *command)
    fail(PermissionError(13, "Permission denied", "/root/x"))
    refused(1, "kwta sweep: '/root/x': Permission denied.", *command)
    fail(OSError(28, "No space left on device"))
    refused(1, "kwta sweep: No space left on device.", *command)
    fail(OSError("odd"))
    refused(1, "kwta sweep: odd.", *command)
    fail(KeyboardInterrupt())
    refused(130, "kwta sweep: interrupted; what was finished is kept in '.*l.db'.", *command)
    fail(BrokenPipeError())
    assert kwta(*command).stderr == ""


def test_another_run_on_the_ledger_is_refused_or_waited_for(ledger):
    lock = filelock.FileLock(f"{ledger}.lock", thread_local=False)
    command = [*SMALL, "--until", "trials=600", "--ledger", ledger, "--quiet"]
    merge = ["ledger", "merge", ledger, ledger]
    for arguments in (command, merge):
        lock.acquire()
        refused(1, "another process writes to ledger", *arguments)
        timer = threading.Timer(0.2, lock.release)
        timer.start()
        assert kwta(*arguments, "--wait", "20").exit_code == 0
        timer.join()


# Ledgers.


def test_show(ledger, tmp_path):
    text = kwta("ledger", "show", ledger).stdout
    assert text.startswith("same-pattern device=cpu k=2 margin=0 width=20; outcome: same; seeds: 0\n")
    with campaign.Ledger(ledger, write=False) as opened:
        for row in campaign.rows(opened):
            interval = f"[{row['lower']:.6g}, {row['upper']:.6g}]"
            cells = [row["task"][:4], f"{row['cosine']:g}", f"{row['estimate']:.6g}", interval, "400"]
            assert re.search("  +".join(map(re.escape, cells)), text)
        first, second = (task.id[:6] for task in opened.tasks())
    found = kwta("ledger", "show", ledger, "--why", first, second).stdout
    assert found.startswith("cosine is 0.")
    assert kwta("ledger", "show", ledger, "--why", first, first).stdout == "They are one task.\n"
    refused(1, "holds no tasks whose identity begins with 'xyz'", "ledger", "show", ledger, "--why", first, "xyz")
    campaign.Ledger(tmp_path / "new.db").close()
    assert kwta("ledger", "show", tmp_path / "new.db").stdout == "0 tasks without trials.\n"
    with campaign.Ledger(ledger) as opened:
        opened.register(campaign.Task.of("same-pattern", width=30, k=1, cosine=0.5))
    assert kwta("ledger", "show", ledger).stdout.endswith("1 task without trials.\n")


def test_show_has_columns_for_outcomes_and_seeds_that_differ(ledger):
    sampled(ledger, seed=7, cosine="0.9")
    text = kwta("ledger", "show", ledger).stdout
    assert text.startswith("same-pattern device=cpu k=2 margin=0 width=20; outcome: same\n")
    assert re.search(r" 0\.8 .* 400  0 *$", text, re.MULTILINE)
    assert re.search(r" 0\.9 .* 800  0 7 *$", text, re.MULTILINE)


def test_the_tables_of_the_grid_in_the_help_fit_eighty_columns(tmp_path, monkeypatch):
    path = tmp_path / "l.db"
    tasks = campaign.grid("disjoint-patterns", width="100,1e4", k="1,4", cosine="0.5,0.95")
    tally = Tally(1_160_000, {"disjoint": 1641})
    monkeypatch.setattr(campaign, "rows", lambda *_: [shown_row(task, tally) for task in tasks])
    with campaign.Ledger(path) as opened:
        for task in tasks:
            opened.register(task)
    statuses = [Status(task, 0, campaign.estimate(tally, task.primary), 1, 1, None, 0.0) for task in tasks]
    monkeypatch.setattr(campaign, "run", lambda *_, **__: statuses)
    sweep = ["sweep", "--estimator", "disjoint-patterns", "--width", "9", "--k", "1", "--cosine", "0.5"]
    for arguments in (["ledger", "show", path], [*sweep, "--until", "relative-error=0.05", "--ledger", path]):
        lines = kwta(*arguments).stdout.splitlines()
        assert len(lines) >= len(tasks)
        assert max(map(len, lines[1:])) <= 80  # the title is text, which a terminal wraps


def shown_row(task, tally):
    found = campaign.estimate(tally, task.primary)
    numbers = {"estimate": found.value, "lower": found.interval.lower, "upper": found.interval.upper}
    names = {"task": task.id, "estimator": task.estimator, "outcome": "disjoint", "seeds": "0"}
    return names | numbers | {"trials": tally.trials}


def test_merge_is_a_union(ledger, tmp_path):
    before = without_seconds(ledger, tmp_path)
    out, other = tmp_path / "out.db", sampled(tmp_path / "other.db", seed=1)
    for inputs in ([ledger], [ledger], [ledger, ledger], [out], [out, ledger]):
        assert kwta("ledger", "merge", out, *inputs).exit_code == 0
        assert without_seconds(out, tmp_path) == before
    assert kwta("ledger", "merge", ledger, ledger).exit_code == 0
    assert without_seconds(ledger, tmp_path) == before
    assert kwta("ledger", "merge", out, other, ledger).exit_code == 0
    assert [row["trials"] for row in without_seconds(out, tmp_path)] == ["800", "800"]
    refused(1, "nope.db' does not exist", "ledger", "merge", out, tmp_path / "nope.db")
    assert kwta("ledger", "merge", out).exit_code == 2


def test_another_version_of_an_estimator_does_not_mix(ledger, tmp_path):
    old = tmp_path / "old.db"
    task = campaign.Task.of("same-pattern", chunk_trials=200, width=20, k=2, cosine=0.9)
    with campaign.Ledger(old) as opened:
        opened.register(campaign.Task(task.estimator, 99, task.parameters, 200, task.outcomes))
    refused(1, "version 99", "ledger", "merge", ledger, old)
    refused(1, "version 99.*use another ledger", *SMALL, "--until", "trials=1", "--ledger", old, "--quiet")


def test_export_to_csv_and_parquet(ledger, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "zwei worte ü.PARQUET"
    rows = without_seconds(ledger, tmp_path)
    assert kwta("ledger", "export", ledger, file).exit_code == 0
    found = parquet.read_table(file).to_pylist()
    assert [row["estimate"] for row in found] == [float(row["estimate"]) for row in rows]
    assert [row["task"] for row in found] == [row["task"] for row in rows]
    refused(2, "x.txt' must end in .csv or .parquet", "ledger", "export", ledger, tmp_path / "x.txt")
    refused(2, "cannot be written", "ledger", "export", ledger, tmp_path / "nowhere" / "x.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused(2, "needs the package pyarrow", "ledger", "export", ledger, tmp_path / "x.parquet")


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "text", "folder", "missing"])
def test_a_damaged_ledger_is_named_and_left_as_it_is(ledger, tmp_path, damage):
    bad = tmp_path / "schlecht ü.db"
    data = ledger.read_bytes()
    half = len(data) // 2
    contents = {"cut": data[:half], "garbage": data[:half] + b"\xff" * 4096 + data[half + 4096 :], "empty": b""}
    if damage == "folder":
        bad.mkdir()
    elif damage != "missing":
        bad.write_bytes(contents.get(damage, b"no ledger\n" * 500))
    commands = [
        ["ledger", "show", bad],
        ["ledger", "export", bad, tmp_path / "x.csv"],
        ["ledger", "merge", tmp_path / "out.db", ledger, bad],
    ]
    if damage != "missing":
        commands.append([*SMALL, "--until", "trials=600", "--ledger", bad, "--quiet"])
    for command in commands:
        refused(1, "schlecht ü.db' (is|does)", *command)
    if bad.is_file():
        assert bad.read_bytes() == contents.get(damage, b"no ledger\n" * 500)
    assert not (tmp_path / "x.csv").exists()
    assert not (tmp_path / "out.db").exists()


def test_no_permission(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    refused(1, "l.db' cannot be written: permission is denied", *SMALL, "--until", "trials=1", "--ledger", ledger)
    refused(1, "l.db' cannot be read: permission is denied", "ledger", "show", ledger)
    refused(2, "x.csv' cannot be written: permission is denied", "ledger", "export", ledger, tmp_path / "x.csv")

    def mkdir(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    refused(1, "new': Permission denied", *SMALL, "--until", "trials=1", "--ledger", tmp_path / "new" / "l.db")


# The command itself: signals, pipes, terminals.


def test_help_needs_neither_torch_nor_scipy_nor_the_campaign():
    code = "import sys, kwta_theory.cli; print(sorted({'torch', 'scipy', 'numpy', 'sqlite3'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_closed_pipe_ends_quietly(ledger):
    process = subprocess.Popen(
        [*COMMAND, "ledger", "show", str(ledger)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()  # before the command has started: every write of it fails
    with process.stderr as errors:
        assert errors.read() == ""
    assert process.wait(300) in (1, 141)


def test_interrupting_two_workers_keeps_everything_and_resumes_to_the_same_numbers(tmp_path):
    path, whole = tmp_path / "runs" / "l.db", tmp_path / "whole.db"
    sweep = [*SMALL[:-1], "5000", "--ledger", path]  # some 20 ms for a chunk
    # A shell that starts jobs in the background makes them deaf to Ctrl-C: hear it again.
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    process = subprocess.Popen(
        [sys.executable, "-c", hears + COMMAND[2], *sweep, "--workers", "2", "--until", "seconds=100"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while chunks(path) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    output, errors = process.communicate(timeout=300)
    assert time.monotonic() - sent < 4 * crowding()  # two seconds, and as many again for a machine that is shared
    assert process.returncode == 130
    assert errors.splitlines()[-1] == f"kwta sweep: interrupted; what was finished is kept in {str(path)!r}."
    assert "Traceback" not in errors
    assert output == ""
    drawn = chunks(path)
    assert drawn >= 3
    for ledger in (path, whole):
        more = ["--until", f"trials={5000 * (drawn + 5)}", "--quiet"]
        assert kwta(*sweep[:-1], ledger, *more).exit_code == 0
    assert chunks(path) == drawn + 5
    assert without_seconds(path, tmp_path) == without_seconds(whole, tmp_path)


def chunks(path: Path) -> int:
    """Counted chunks in a ledger that another process may be writing."""
    if not path.exists():
        return 0
    with campaign.Ledger(path, write=False) as opened:
        return sum(total.chunks for task in opened.tasks() for total in opened.totals(task))


def crowding() -> float:
    """How many processes want each processor; at least one."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def in_terminal(arguments: list[str], *, interrupt_at: bytes = b"", variables: dict[str, str] | None = None):
    """Run the command in a pseudo-terminal of 80 columns and 24 lines.

    Returns:
        its output, its exit code, whether the settings of the terminal are as before, and the seconds that it took to
        end after Ctrl-C was typed, which happens when the pattern ``interrupt_at`` has been seen.
    """
    # A session of its own whose terminal this is, so that the terminal itself turns Ctrl-C into the signal.
    start = "import fcntl, signal, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    start += "signal.signal(signal.SIGINT, signal.default_int_handler); "
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", start + COMMAND[2], *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**environment, "TERM": "xterm-256color", **(variables or {})},
    )  # fmt: skip
    output, sent, deadline = b"", 0.0, time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([mine], [], [], 0.05)[0]:
            output += os.read(mine, 65536)
        elif process.poll() is not None:
            break
        if interrupt_at and not sent and re.search(interrupt_at, output):
            os.write(mine, b"\x03")
            sent = time.monotonic()
    took = time.monotonic() - sent
    process.kill()
    code = process.wait(10)
    sane = termios.tcgetattr(theirs) == before
    os.close(mine)
    os.close(theirs)
    return output.decode(), code, sane, took


def last_frame(output: str) -> str:
    """The last drawing of the live table, without colours and movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.rpartition("\x1b[1A")[2]).replace("\r", "")


def test_a_terminal_shows_one_live_table_and_is_left_sane_after_ctrl_c(tmp_path):
    arguments = [*SMALL[:-3], "0.5:0.9:3", *SMALL[-2:], "--ledger", str(tmp_path / "l.db")]
    arguments += ["--until", "trials=1e7"]
    output, code, sane, took = in_terminal(arguments, interrupt_at=rb"time left \d")
    assert code == 130
    assert took < 4 * crowding()
    assert sane
    assert output.count("\x1b[?25l") == output.count("\x1b[?25h") == 1  # the cursor is hidden, and comes back
    frame = last_frame(output)
    assert "same-pattern device=cpu k=2 margin=0 width=20: same" in frame
    assert re.search(r"cosine +estimate +interval +trials +time left", frame)
    for cosine in ("0.5", "0.7", "0.9"):
        assert re.search(rf"{cosine} +0\.\d+ +\[0\.\d+, 0\.\d+\] +[\d,]+ +\d", frame)
    assert "0 of 3 tasks finished" in frame
    assert "interrupted; what was finished is kept" in " ".join(frame.split())
    assert "Traceback" not in output


def test_in_a_terminal_the_live_table_gives_way_to_the_result(tmp_path):
    arguments = [*SMALL, "--ledger", str(tmp_path / "l.db"), "--until", "trials=2000"]
    output, code, sane, _ = in_terminal(arguments)
    assert (code, sane) == (0, True)
    assert output.count("\x1b[?25l") == output.count("\x1b[?25h") == 1
    result = last_frame(output)
    assert "stopped by" in result
    assert "time left" not in result
