"""The command as a person meets it: streams, files, exit codes and refusals."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from kwta_theory import cli
from kwta_theory.statements import STATEMENTS

SMALL = ["--inputs", "gaussian", "--points", "4", "--width", "256", "--budget", "quick", "--trials", "1000"]


def kwta(*arguments: str) -> Result:
    """Run the command in this process, its two streams apart."""
    return CliRunner(env={"NO_COLOR": "1"}).invoke(cli.app, arguments)


def test_help_needs_neither_torch_nor_scipy():
    code = "import sys, kwta_theory.cli; print(sorted({'torch', 'scipy', 'numpy', 'matplotlib'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_names_in_the_help_are_the_statements():
    assert ", ".join(STATEMENTS) == cli.STATEMENT_NAMES


def test_results_go_to_standard_output_and_progress_to_standard_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = kwta("verify", *SMALL, "--only", "theorem-10")
    assert result.exit_code == 0, result.output
    assert "theorem-10" in result.stdout
    assert "VACUOUS" in result.stdout
    assert "HOLDS" in result.stdout
    assert "\x1b[" not in result.stdout + result.stderr
    assert re.findall(r"\[(\d)/3\] \d+ s  theorem-10", result.stderr) == ["1", "2", "3"]
    assert "finding the widths of theorem-10, gaussian" in result.stderr
    assert list(tmp_path.iterdir()) == []
    sentences = [line for line in result.stdout.splitlines() if line.startswith("- ")]
    assert len(sentences) == 2
    assert "first true at a width between" in sentences[0]


def test_two_points_need_no_counting_to_find_the_width():
    """The bracket over pairs is one pair: both of its ends are the same width."""
    small = [argument if argument != "4" else "2" for argument in SMALL]
    result = kwta("verify", *small, "--only", "theorem-10", "--quiet")
    assert result.exit_code == 0, result.output
    assert "by counting" not in result.stdout


def test_quiet_leaves_standard_error_empty():
    result = kwta("verify", *SMALL, "--only", "lemma-5", "--quiet")
    assert result.exit_code == 0
    assert result.stderr == ""


def test_json_and_html_are_whole_and_self_contained(tmp_path):
    folder = tmp_path / "with space and ü"
    folder.mkdir()
    json_file, html_file = folder / "v.json", folder / "v.html"
    result = kwta(
        *("verify", *SMALL, "--only", "theorem-1", "--only", "theorem-11"),
        *("--json", str(json_file), "--html", str(html_file), "--figures", str(folder)),
    )
    assert result.exit_code == 0, result.output
    record = json.loads(json_file.read_text())
    assert record["complete"] is True
    assert record["settings"]["seed"] == 0
    assert [v["outcome"] for v in record["verdicts"]] == [
        *("VACUOUS", "VACUOUS", "HOLDS", "VACUOUS", "VACUOUS", "UNDECIDED"),  # one fixed x', then every x'
        *("VACUOUS", "VACUOUS", "HOLDS"),
    ]
    measured = record["verdicts"][0]["measured"]
    assert measured["failures"]["trials"] == 1000
    assert (
        measured["failure_interval"][0] <= measured["failures"]["successes"] / 1000 <= measured["failure_interval"][1]
    )
    page = html_file.read_text()
    assert page.count("<svg") == 2
    assert "Theorem 1 (for one fixed x&#x27; and for every x&#x27;)" in page
    assert "theorem-1 (every x&#x27;)" in page
    assert not re.search(r"(src|href)\s*=\s*\"(?!#)", page.replace("xlink:href", "xlink"))
    assert sorted(path.name for path in folder.iterdir()) == ["theorem-1.png", "theorem-11.png", "v.html", "v.json"]


def test_the_same_seed_prints_the_same_numbers(tmp_path):
    files = [tmp_path / "a.json", tmp_path / "b.json", tmp_path / "c.json"]
    for file, seed in zip(files, ("3", "3", "4"), strict=True):
        kwta("verify", *SMALL, "--only", "theorem-10", "--seed", seed, "--json", str(file))
    texts = [re.sub(r'"seconds": [0-9.e-]+', "", file.read_text()) for file in files]
    assert texts[0] == texts[1] != texts[2]


def test_a_refuted_statement_exits_with_1():
    result = kwta("verify", *SMALL, "--only", "theorem-2-fixed-ratio")
    assert result.exit_code == 1, result.stderr
    assert "REFUTED" in result.stdout
    assert "replay the witness with `from kwta_theory import theory; theory.disjoint_patterns(" in result.stdout


def test_a_users_own_points_are_read(tmp_path):
    path = tmp_path / "points.npy"
    np.save(path, np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32))
    result = kwta("verify", "--inputs", str(path), *SMALL[2:], "--only", "theorem-10")
    assert result.exit_code == 0, result.output
    assert "N=5" in result.stdout
    assert "m=8" in result.stdout


def saved(path: Path, array: np.ndarray) -> str:
    np.save(path, array)
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width", "3", "--winners", "5"], "width=3 is below k=5"),
        (["--cosine", "1.5"], r"cosine=1.5 is not allowed: it must be a finite number in \[-1, 1\]"),
        (["--sparsity-ratio", "0.48"], "outside the hypothesis of Lemma 5"),
        (["--budget", "endless"], "budget='endless' is not allowed: it must be one of quick, standard, thorough"),
        (["--trials", "20"], "too few to decide: even unanimous"),
        (["--trials", "0"], "trials=0 is not allowed"),
        (["--only", "theorem-12"], "statement 'theorem-12' is not there"),
        (["--device", "cuda:7"], "cuda:7"),
        (["--inputs", "nowhere.npy"], "nowhere.npy"),
        (["--json", "no/such/folder/v.json"], "its directory does not exist"),
        (["--html", "."], "is a directory"),
        (["--figures", "no/such/folder"], "is not a directory"),
        (["--seed", "-1"], "seed=-1 is not allowed"),
        (["--points", "9999"], "9999"),
        (["--points", "0"], "points=0 is not allowed"),
    ],
)
def test_bad_use_exits_with_2_and_one_sentence(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = kwta("verify", *arguments)
    assert result.exit_code == 2
    assert re.search(message, result.stderr), result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1.0, np.nan], [1.0, 0.0]]), "NaN or infinity in row 0"),
        (np.array([[1.0, 1.0], [0.0, 0.0]]), "zero row, row 1"),
        (np.array([[1.0, 1.0], [3.0, 3.0]]), "identical directions in rows 0 and 1"),
    ],
)
def test_points_that_break_a_hypothesis_exit_with_2(array, message, tmp_path):
    result = kwta("verify", "--inputs", saved(tmp_path / "p.npy", array), "--only", "theorem-10")
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_unknown_option_exits_with_2():
    assert kwta("verify", "--budgets", "quick").exit_code == 2


def test_statements_are_listed():
    result = kwta("statements")
    assert result.exit_code == 0
    for name, statement in STATEMENTS.items():
        assert name in result.stdout
        assert statement.text in result.stdout


def test_version_is_printed():
    assert re.fullmatch(r"kwta_theory \d+\.\d+\.\d+\n", kwta("--version").stdout)


def test_an_interrupted_run_keeps_what_it_had(tmp_path):
    file = tmp_path / "v.json"
    statements = ["--only", "theorem-1", "--only", "theorem-8", "--only", "theorem-9"]
    arguments = ["verify", "--inputs", "gaussian", *statements, "--json", str(file)]
    process = subprocess.Popen(
        [sys.executable, "-c", "from kwta_theory.cli import main; main()", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the verdicts so far are in" in errors
    assert "Traceback" not in errors
    record = json.loads(file.read_text())
    assert record["complete"] is False
    assert record["verdicts"]


def test_a_closed_pipe_ends_quietly():
    command = f"{sys.executable} -c 'from kwta_theory.cli import main; main()' statements | head -n 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr
