"""The command ``kwta bounds``: what it prints and draws, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from kwta_theory.cli import app

QUICK = ["--budget", "quick"]


def call(*arguments: str):
    return CliRunner().invoke(app, ["bounds", *arguments])


def test_theorem_1_prints_three_widths_and_draws(tmp_path):
    picture = tmp_path / "bounds.png"
    sizes = ["--input-dim", "12", "--sparsity-ratio", "0.1", "--beta", "0.2"]
    result = call("theorem-1", *sizes, *QUICK, "--plot", str(picture))
    assert result.exit_code == 0, result.output
    for words in ("m = 12, gamma = 0.1, beta = 0.2", "the paper's proof", "the same argument, exact laws", "Measured"):
        assert words in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [picture]


def test_theorem_10_takes_a_cosine_or_points_of_a_file(tmp_path):
    result = call("theorem-10", "--points", "3", "--cosine", "0.6", "--input-dim", "5", "--failure", "0.2", *QUICK)
    assert result.exit_code == 0, result.output
    assert "N = 3, m = 5, k = 1, largest cosine = 0.6" in result.output
    assert "measured on drawn layers" in result.output
    path = tmp_path / "points.npy"
    np.save(path, np.eye(4)[:3] + 1.0)
    of_file = call("theorem-10", "--inputs", str(path), "--winners", "2", *QUICK)
    assert of_file.exit_code == 0, of_file.output
    assert "N = 3, m = 4, k = 2" in of_file.output
    gaussian = call("theorem-10", "--inputs", "gaussian", "--points", "3", "--input-dim", "9", *QUICK)
    assert "N = 3, m = 9" in gaussian.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["theorem-1", "--beta", "2"], "beta=2.0 is not allowed"),
        (["theorem-1", "--sparsity-ratio", "0.5"], "outside the hypothesis of Theorem 1"),
        (["theorem-1", "--budget", "huge"], "budget='huge' is not allowed"),
        (
            ["theorem-1", "--plot", "bounds.txt"],
            "'bounds.txt' is no name for a picture: it must end in .png, .pdf, .svg",
        ),
        (["theorem-1", "--plot", "/nowhere/a.png"], "its directory does not exist"),
        (["theorem-10", "--inputs", "mnist", "--cosine", "0.5"], "--cosine 0.5 has no effect with --inputs mnist"),
        (["theorem-10", "--inputs", "mnist", "--input-dim", "5"], "--input-dim 5 has no effect with --inputs mnist"),
        (
            ["theorem-10", "--inputs", "missing.npy", "--points", "5"],
            "--points 5 has no effect with --inputs missing.npy",
        ),
        (["theorem-10", "--points", "0"], "points=0 is not allowed"),
        (["theorem-10", "--input-dim", "0"], "input_dim=0 is not allowed"),
        (["theorem-10", "--inputs", "gaussian", "--input-dim", "0"], "input_dim=0 is not allowed"),
        (["theorem-10", "--cosine", "1.5"], "cosine=1.5 is not allowed"),
        (["theorem-10", "--points", "1"], "hold 1 point"),
        (["theorem-10", "--winners", "0"], "k=0 is not allowed"),
        (["theorem-10", "--inputs", "missing.npy"], "missing.npy"),
    ],
)
def test_bad_use_is_a_sentence_and_exit_code_2(arguments, message):
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_the_same_seed_prints_the_same_and_another_seed_does_not():
    arguments = ["theorem-10", "--points", "3", "--cosine", "0.6", "--failure", "0.2", *QUICK]
    first = call(*arguments, "--seed", "1").output
    assert call(*arguments, "--seed", "1").output == first
    assert call(*arguments, "--seed", "2").output != first


def test_help_names_the_theorems():
    result = call("--help")
    assert "theorem-1" in result.output
    assert "theorem-10" in result.output


def test_help_tells_the_defaults_that_depend_on_the_inputs():
    wide = {"COLUMNS": "200", "TERMINAL_WIDTH": "200", "NO_COLOR": "1"}
    text = CliRunner(env=wide).invoke(app, ["bounds", "theorem-10", "--help"]).output
    for default in ("[default: 10]", "[default: 784 and 32]", "[default: 0.9]"):
        assert default in text
