"""How every command ends: exit codes, and each failure that is to be expected as one sentence on standard error.

What nobody expects is a fault of this package: it keeps its traceback. The commands of ``kwta`` are bodies of
:func:`sentences` and start from :func:`leave`; a script that returns its exit code asks :func:`told` for it. Nothing
heavy is imported before something has failed.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping

FAILED = 1
BAD_USE = 2
# What shells use for a program ended by Ctrl-C, and for one whose reader has left (``kwta statements | head``).
INTERRUPTED, CLOSED_PIPE = 130, 141
# The exceptions by which a command fails, each with the sentence to say; an empty one is for the exception's own.
Failures = Callable[[], Mapping[type[Exception], str]]


def nothing_else() -> Mapping[type[Exception], str]:
    """The failures of a command that has none of its own."""
    return {}


def told(command: str, error: BaseException, failures: Failures = nothing_else, kept: str = "") -> int:
    """Say on standard error what ended a command.

    Args:
        command: its name, before the sentence.
        error: what was raised.
        failures: called when something was raised, so that it may import the exceptions that it lists.
        kept: what an interrupted command leaves behind, for its sentence.

    Returns:
        The exit code. 2: an argument is not allowed. 1: one of the failures, or the system refused (``OSError``). 130:
        Ctrl-C. 141: nobody reads the output any more, and nothing is said.

    Raises:
        The error itself, where it is none of these.
    """
    if isinstance(error, KeyboardInterrupt):
        return _say(command, f"interrupted; {kept}." if kept else "interrupted.", INTERRUPTED)
    if isinstance(error, BrokenPipeError):
        return _reader_left()
    from kwta_theory.checks import InvalidArgumentError

    if isinstance(error, InvalidArgumentError):
        return _say(command, str(error), BAD_USE)
    for failure, sentence in failures().items():
        if isinstance(error, failure):
            return _say(command, sentence or str(error), FAILED)
    if isinstance(error, OSError):
        where = f"{str(error.filename)!r}: " if error.filename else ""
        return _say(command, f"{where}{error.strerror or error}.", FAILED)
    raise error


@contextlib.contextmanager
def sentences(command: str, failures: Failures = nothing_else, kept: str = "") -> Iterator[None]:
    """Leave by ``SystemExit`` with the code of :func:`told`, whose arguments these are, when the body fails."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        raise SystemExit(told(command, error, failures, kept)) from None


def leave(command: Callable[[], object]) -> None:
    """Run a whole program and end the process: the entry point of ``kwta``.

    A closed pipe ends quietly. After Ctrl-C the process ends at once: threads may still draw, an ordinary exit would
    unwind them inside C++ and abort. All files are whole already.
    """
    code: object = 0
    for stream in (sys.stdout, sys.stderr):  # a name that a terminal cannot show must not cost the result
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        command()
    except SystemExit as stop:
        code = stop.code
    except BrokenPipeError:
        code = _reader_left()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _reader_left()
    if code == INTERRUPTED:
        with contextlib.suppress(BrokenPipeError):
            sys.stderr.flush()
        os._exit(INTERRUPTED)
    sys.exit(code)  # type: ignore[arg-type]  # what SystemExit carried


def _say(command: str, sentence: str, code: int) -> int:
    with contextlib.suppress(BrokenPipeError):  # then nobody listens
        print(f"{command}: {sentence}", file=sys.stderr, flush=True)
    return code


def _reader_left() -> int:
    """Give Python, which flushes standard output once more on its way out, somewhere to write."""
    if sys.__stdout__ is not None and sys.stdout is sys.__stdout__:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.__stdout__.fileno())
    return CLOSED_PIPE
