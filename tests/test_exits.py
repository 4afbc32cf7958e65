"""How commands end: the code and the one sentence of each kind of exception, and what is left to Python."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kwta_theory import exits
from kwta_theory.checks import InvalidArgumentError


class OwnError(Exception):
    pass


class OtherError(OSError):
    pass


def failures():
    return {OwnError: "", OtherError: "give less."}


CASES = [
    (InvalidArgumentError("x=3 is not allowed."), 2, "kwta x: x=3 is not allowed.\n"),
    (OwnError("chunk 3 failed."), 1, "kwta x: chunk 3 failed.\n"),
    (OtherError(5, "more"), 1, "kwta x: give less.\n"),  # before the sentence for OSError
    (PermissionError(13, "Permission denied", "/root/ü"), 1, "kwta x: '/root/ü': Permission denied.\n"),
    (OSError(28, "No space left on device"), 1, "kwta x: No space left on device.\n"),
    (OSError("odd"), 1, "kwta x: odd.\n"),
    (KeyboardInterrupt(), 130, "kwta x: interrupted; it is kept.\n"),
    (BrokenPipeError(32, "Broken pipe"), 141, ""),
]


@pytest.mark.parametrize(("error", "code", "sentence"), CASES)
def test_each_failure_has_its_code_and_its_sentence(error, code, sentence, capsys):
    assert exits.told("kwta x", error, failures, "it is kept") == code
    assert capsys.readouterr() == ("", sentence)
    with pytest.raises(SystemExit) as left, exits.sentences("kwta x", failures, "it is kept"):
        raise error
    assert left.value.code == code
    assert capsys.readouterr() == ("", sentence)


def test_where_nothing_is_kept_nothing_is_said_of_it(capsys):
    assert exits.told("kwta x", KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "kwta x: interrupted.\n"


@pytest.mark.parametrize("error", [ValueError("a fault"), OwnError("of another command"), SystemExit(3)])
def test_what_is_not_expected_keeps_its_traceback(error, capsys):
    with pytest.raises(type(error)) as caught, exits.sentences("kwta x"):
        raise error
    assert caught.value is error
    assert error.__context__ is None
    assert capsys.readouterr() == ("", "")


def test_a_body_that_ends_well_is_left_alone(capsys):
    with exits.sentences("kwta x", failures):
        pass
    assert capsys.readouterr() == ("", "")


def test_the_failures_are_asked_for_only_when_something_was_raised():
    def never():
        raise AssertionError

    with exits.sentences("kwta x", never):
        pass
    assert exits.told("kwta x", KeyboardInterrupt(), never) == 130
    assert exits.told("kwta x", InvalidArgumentError(""), never) == 2


def ended(code: str, *, reader: bool = True) -> tuple[int, str]:
    """The exit code and standard error of a process; without a reader its standard output is closed before."""
    here, there = os.pipe()
    if not reader:
        os.close(here)
    command = [sys.executable, "-c", f"import os, sys, typer\nfrom kwta_theory import exits\n{code}"]
    try:
        done = subprocess.run(command, stdout=there, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(there)
        if reader:
            os.close(here)
    return done.returncode, done.stderr


WRITES = {
    "buffered": "exits.leave(lambda: print('x'))",
    "flushed": "exits.leave(lambda: print('x', flush=True))",
    "in the sentences": """
def body():
    with exits.sentences("x"):
        print("x", flush=True)
exits.leave(body)
""",
    "of a script": """
def body():
    try:
        print("x", flush=True)
    except Exception as error:
        return exits.told("x", error)
    return 0
sys.exit(body())
""",
}


@pytest.mark.parametrize("how", WRITES)
def test_a_reader_who_left_is_no_error(how):
    assert ended(WRITES[how], reader=False) == (141, "")
    assert ended(WRITES[how]) == (0, "")


AT_EXIT = "import atexit; atexit.register(print, 'out', file=sys.stderr)\n"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("exits.leave(lambda: None)", (0, "")),
        ("exits.leave(lambda: sys.exit(1))", (1, "")),
        ("exits.leave(lambda: sys.exit('a word'))", (1, "a word\n")),
        # What Python does on its way out does not happen after Ctrl-C, and does otherwise.
        (f"{AT_EXIT}exits.leave(lambda: sys.exit(2))", (2, "out\n")),
        (f"{AT_EXIT}exits.leave(lambda: sys.exit(130))", (130, "")),
    ],
)
def test_a_process_ends_with_the_code_of_its_command(code, expected):
    assert ended(code) == expected


def test_a_sentence_that_nobody_hears_still_gives_its_code():
    code = "r, w = os.pipe(); os.dup2(w, 2); os.close(w); os.close(r)\n"
    code += "sys.exit(exits.told('x', KeyboardInterrupt()))"
    assert ended(code)[0] == 130


def test_nothing_heavy_is_imported_before_something_fails():
    code = "print(sorted({'numpy', 'torch', 'kwta_theory.checks'} & set(sys.modules)), file=sys.stderr)"
    assert ended(code) == (0, "[]\n")


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", r"\xfc \u03b3"), ("latin-1", r"ü \u03b3"), ("utf-8", "ü γ")])
def test_what_a_terminal_cannot_show_does_not_cost_the_result(encoding, shown):
    code = "from kwta_theory import exits; exits.leave(lambda: print('ü γ'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=os.environ | {"PYTHONIOENCODING": encoding}
    )
    assert done.stdout.decode(encoding) == f"{shown}\n"
