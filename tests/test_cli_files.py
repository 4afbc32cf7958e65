"""Where commands write: what a file must not replace, and folders that are made and taken away again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kwta_theory import cli
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.cli_files import check_replaceable, check_target, folder_of


def test_a_new_file_and_an_ordinary_one_may_be_written(tmp_path):
    path = tmp_path / "zwei worte ü.json"
    check_target(path)
    path.touch()
    check_target(path)
    (tmp_path / "link").symlink_to(path)
    check_target(tmp_path / "link")


def test_directories_are_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match="is a directory: a file name is needed"):
        check_target(tmp_path)
    with pytest.raises(InvalidArgumentError, match="its directory does not exist"):
        check_target(tmp_path / "x" / "y")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
@pytest.mark.parametrize(
    "command",
    [
        ["verify", "--only", "lemma-5", "--json"],
        ["verify", "--only", "lemma-5", "--html"],
        ["bounds", "theorem-1", "--plot"],
        ["attack", "checkpoint.pt", "--json"],
        ["ledger", "export", "ledger.db"],
    ],
)
def test_no_command_puts_a_file_in_the_place_of_a_pipe(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.csv")
    result = CliRunner(env={"NO_COLOR": "1"}).invoke(cli.app, [*command, "pipe.csv"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.endswith(": 'pipe.csv' is no ordinary file, which would be replaced: give another name.\n")
    assert Path("pipe.csv").is_fifo()
    with pytest.raises(InvalidArgumentError, match="is no ordinary file"):
        check_replaceable(Path("pipe.csv"))


def test_folders_stay_only_where_something_was_put(tmp_path):
    file = tmp_path / "a" / "b" / "l.db"
    with folder_of(file):
        assert file.parent.is_dir()
    assert not (tmp_path / "a").exists()
    with pytest.raises(RuntimeError), folder_of(file):
        raise RuntimeError
    assert not (tmp_path / "a").exists()
    with folder_of(file):
        file.touch()
    assert file.exists()
