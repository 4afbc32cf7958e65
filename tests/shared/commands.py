"""A command of ``kwta`` as a person meets it, run in this process."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner, Result

from kwta_theory import cli

Argument = str | Path


def kwta(*arguments: Argument) -> Result:
    """Run the command, its two streams apart."""
    return CliRunner(env={"NO_COLOR": "1"}).invoke(cli.app, [str(argument) for argument in arguments])


def refused(code: int, message: str, *arguments: Argument) -> str:
    """Run a command that must end with this code and one sentence; return the sentence."""
    result = kwta(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert re.search(message, result.stderr), result.stderr
    assert len(result.stderr.splitlines()) == 1
    return result.stderr


def of(command: str) -> tuple[Callable[..., Result], Callable[..., str]]:
    """Both for one command: its name goes before the arguments."""

    def runs(*arguments: Argument) -> Result:
        return kwta(command, *arguments)

    def is_refused(code: int, message: str, *arguments: Argument) -> str:
        return refused(code, message, command, *arguments)

    return runs, is_refused
