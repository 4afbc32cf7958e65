"""``kwta train``: what goes where, the exit codes, the sentences, Ctrl-C."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from kwta_theory import cli_train
from kwta_theory.confidence import clopper_pearson
from kwta_theory.networks import load
from kwta_theory.networks.training import accuracy, load_network, recipe, train

app = typer.Typer()
cli_train.register(app)
QUICK = ["--arch", "mlp", "--activation", "kwta-0.25", "--data", "digits", "--hidden", "32", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are synchronised against a loss of power; here hundreds of them would only take time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def kwta_train(*arguments: object, code: int = 0) -> tuple[str, str]:
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


def test_progress_goes_to_standard_error_and_the_result_to_standard_output(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    out, err = kwta_train(*QUICK, "--epochs", 2, "--output", folder)
    lines = err.splitlines()
    assert lines[0].startswith("1,437 training and 360 test images of the 1,797 handwritten digits")
    assert [line.split(",")[0] for line in lines[1:]] == ["epoch 1/2", "epoch 2/2"]
    assert re.fullmatch(
        r"epoch 2/2, loss [\d.]+, training accuracy 0\.\d{4}, test accuracy 0\.\d{4}, rate [\d.]+, [\d.]+ s", lines[2]
    )
    network, record = load_network(folder / "checkpoint.pt")
    test = load("digits").test
    share = accuracy(network, test)
    right = round(360 * share)
    interval = clopper_pearson(right, 360, 0.05)
    assert out.splitlines() == [
        f"checkpoint: {folder / 'checkpoint.pt'}",
        f"test accuracy without an attack: {share:.4f}, {right} of 360 images "
        f"(95 % interval {interval.lower:.4f} to {interval.upper:.4f})",
    ]
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["test_accuracy"] for row in rows] == [str(row["test_accuracy"]) for row in record["metrics"]]
    again, err = kwta_train(*QUICK, "--epochs", 2, "--output", folder)
    assert again == out
    assert f"going on from {folder / 'checkpoint.pt'}" in err
    assert kwta_train(*QUICK, "--epochs", 2, "--output", tmp_path / "q", "--quiet")[1] == ""


def test_the_directory_is_named_after_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out, _ = kwta_train(*QUICK, "--epochs", 1, "--seed", 4, "--method", "free", "--quiet")
    folder = Path("runs", "train", "mlp-kwta-0.25-free-digits-4")
    assert out.startswith(f"checkpoint: {folder / 'checkpoint.pt'}\n")
    assert (folder / "metrics.csv").exists()


@pytest.mark.parametrize("method", ["natural", "at", "trades", "free"])
def test_every_method_is_the_librarys(method: str, tmp_path: Path) -> None:
    _, err = kwta_train(*QUICK, "--epochs", 2, "--method", method, "--output", tmp_path / "a", "--seed", 3)
    last = err.splitlines()[-1]
    assert ("(attacked)" in last) == (method in ("at", "free"))
    assert ("epsilon 0.2" in last) == (method != "natural")
    network, record = load_network(tmp_path / "a" / "checkpoint.pt")
    plan = recipe(method, "digits", activation="kwta-0.25", epochs=2)
    from kwta_theory.networks import Architecture
    from kwta_theory.networks.training import Options

    own = train(Architecture(**record["architecture"]), load("digits"), plan, tmp_path / "b", seed=3,
                options=Options(device="cpu"))  # fmt: skip
    for one, other in zip(network.parameters(), own.parameters(), strict=True):
        assert torch.equal(one, other)


def test_every_option_reaches_the_run(tmp_path: Path) -> None:
    small = ["--arch", "smallcnn", "--data", "digits", "--device", "cpu", "--epochs", 1, "--quiet"]
    _, record = run(tmp_path / "a", *small, "--activation", "kwta-0.1", "--width-factor", 0.25, "--hidden", 64,
                    "--initialisation", "pytorch", "--batch-size", 100, "--epsilon", 0.15, "--method", "at",
                    "--bfloat16", "--channels-last", "--seed", 9)  # fmt: skip
    expected = {"name": "smallcnn", "activation": "kwta-0.1", "width_factor": 0.25, "hidden": 64, "image_size": 8}
    assert record["architecture"] == record["architecture"] | expected | {"initialisation": "pytorch", "channels": 1}
    assert (record["recipe"]["batch_size"], record["recipe"]["epsilon"], record["seed"]) == (100, 0.15, 9)
    assert record["options"] == {"bfloat16": True}
    quick = ["--arch", "mlp", "--data", "digits", "--device", "cpu", "--quiet"]
    _, record = run(tmp_path / "b", *quick, "--scale", "paper", "--epochs", 1)
    assert (record["recipe"]["batch_size"], record["recipe"]["learning_rates"]) == (256, ((0, 0.01),))
    assert record["architecture"]["activation"] == "kwta-0.1"
    network, record = run(tmp_path / "c", *quick, "--incremental", "--epochs", 3, "--batch-size", 500)
    assert record["recipe"]["sparsity_ratios"][0][1] == 0.2
    assert {module.sparsity_ratio for module in network.modules() if hasattr(module, "sparsity_ratio")} == {0.1}
    _, record = run(tmp_path / "d", *quick, "--no-incremental", "--epochs", 1, "--batch-size", 500)
    assert record["recipe"]["sparsity_ratios"] == ()


def run(folder: Path, *arguments: object) -> tuple[torch.nn.Module, dict]:
    kwta_train(*arguments, "--output", folder)
    return load_network(folder / "checkpoint.pt")


def test_the_images_of_a_directory_are_used(tmp_path: Path) -> None:
    def idx(name: str, axes: tuple[int, ...], data: bytes) -> None:
        head = bytes([0, 0, 8, len(axes)]) + b"".join(length.to_bytes(4) for length in axes)
        (tmp_path / name).write_bytes(head + data)

    for stem, count in (("train", 30), ("t10k", 10)):
        idx(
            f"{stem}-images-idx3-ubyte",
            (count, 28, 28),
            bytes(range(256)) * (count * 784 // 256) + bytes(count * 784 % 256),
        )
        idx(f"{stem}-labels-idx1-ubyte", (count,), bytes(i % 10 for i in range(count)))
    out, err = kwta_train("--arch", "mlp", "--data", "mnist", "--data-dir", tmp_path, "--epochs", 1, "--hidden", 16,
                          "--device", "cpu", "--output", tmp_path / "r")  # fmt: skip
    assert "30 training and 10 test images of MNIST" in err
    assert "of 10 images" in out


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--arch", "oracle"], 2, "arch='oracle' is not known"),
        (["--activation", "gelu"], 2, "activation='gelu' is not known"),
        (["--method", "pgd"], 2, "method='pgd' is not known"),
        (["--data", "imagenet"], 2, "data='imagenet' is not known"),
        (["--scale", "huge"], 2, "scale='huge' is not known"),
        (["--epochs", "0"], 2, "epochs=0 is not allowed"),
        (["--seed", "-1"], 2, "seed=-1 is not allowed"),
        (["--batch-size", "0"], 2, "batch_size=0 is not allowed"),
        (["--epsilon", "0.3"], 2, "method='natural' has no adversary"),
        (["--method", "at", "--epsilon", "0"], 2, "epsilon=0 with method='at' is not allowed"),
        (["--width-factor", "0"], 2, "width_factor=0.0 is not allowed"),
        (["--initialisation", "zero"], 2, "initialisation='zero' is not known"),
        (["--arch", "resnet18"], 2, "hidden=32 has no effect with arch='resnet18'"),
        (["--channels-last"], 2, "channels_last has no effect with arch='mlp'"),
        (["--activation", "kwta-0.01"], 2, "0 winners"),
        (["--activation", "relu", "--incremental"], 2, "incremental_ratios with activation='relu' is not allowed"),
        (["--device", "abacus"], 2, "device='abacus' is not there"),
        (["--checkpoint-seconds", "-1"], 2, "checkpoint_seconds=-1.0 is not allowed"),
        (["--data-dir", "x"], 2, "has no effect with data='digits'"),
        (["--download"], 2, "has no effect with data='digits'"),
        (["--data", "svhn"], 1, "no SVHN in --data-dir, which was not given"),
    ],
)
def test_bad_use_is_one_sentence_and_leaves_nothing(
    arguments: list[str], code: int, sentence: str, tmp_path: Path
) -> None:
    out, err = kwta_train(*QUICK, *arguments, "--output", tmp_path / "r", "--quiet", code=code)
    assert out == ""
    assert err.startswith("kwta train: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_what_fails_on_the_way_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    kwta_train(*QUICK, "--epochs", 1, "--output", folder, "--quiet")
    _, err = kwta_train(*QUICK, "--epochs", 1, "--output", folder, "--quiet", "--seed", 1, code=1)
    assert "belongs to another run: its seed is 0, and 1 was asked for. Choose another output directory." in err
    (folder / "checkpoint.pt").write_bytes(b"damaged")
    _, err = kwta_train(*QUICK, "--epochs", 1, "--output", folder, "--quiet", code=1)
    assert err.startswith("kwta train: checkpoint ")
    (tmp_path / "file").write_text("")
    _, err = kwta_train(*QUICK, "--epochs", 1, "--output", tmp_path / "file", "--quiet", code=1)
    assert "cannot be written: File exists" in err


def test_a_missing_option_is_told_by_the_command_line() -> None:
    _, err = kwta_train("--data", "digits", code=2)
    assert "--arch" in err


def test_an_unwritable_place_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("kwta_theory.networks.load", refuse)
    _, err = kwta_train(*QUICK, code=1)
    assert err == f"kwta train: {str(tmp_path)!r}: Permission denied.\n"


def test_ctrl_c_keeps_the_last_checkpoint_and_the_same_command_goes_on(tmp_path: Path) -> None:
    quiet, folder = tmp_path / "quiet", tmp_path / "run"
    common = [*QUICK, "--epochs", "30", "--checkpoint-seconds", "0", "--hidden", "16", "--quiet", "--batch-size", "200"]
    kwta_train(*common, "--output", quiet)
    script = (
        "import os, time, typer; from kwta_theory import cli_train; os.fsync = lambda _: time.sleep(0.1); "
        "app = typer.Typer(); "
        f"cli_train.register(app); app({[*common, '--output', str(folder)]!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    while not (folder / "checkpoint.pt").exists() and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert out == ""
    assert err == (
        f"kwta train: interrupted; the same command goes on from the last checkpoint in {str(folder)!r}, if there is "
        "one.\n"
    )
    assert load_network(folder / "checkpoint.pt")[1]["epoch"] < 30
    kwta_train(*common, "--output", folder)
    whole, gone_on = (load_network(place / "checkpoint.pt")[0] for place in (quiet, folder))
    for one, other in zip(whole.parameters(), gone_on.parameters(), strict=True):
        assert torch.equal(one, other)


def test_it_is_a_command_of_kwta() -> None:
    from kwta_theory import cli

    done = CliRunner().invoke(
        cli.app, ["train", "--help"], env={"TERMINAL_WIDTH": "240", "COLUMNS": "240", "NO_COLOR": "1"}
    )
    assert done.exit_code == 0
    for word in ("--arch", "--activation", "--method", "--no-incremental", "[default: 256]", "in [0, 1]"):
        assert word in done.output, word
