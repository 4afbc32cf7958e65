"""kwta attack as a person meets it: streams, files, exit codes, refusals."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import commands
import pytest
import torch

from kwta_theory import cli_attack
from kwta_theory.attacks import ascent, suites
from kwta_theory.attacks.ascent import Ascent
from kwta_theory.confidence import clopper_pearson
from kwta_theory.networks import Architecture, load
from kwta_theory.networks.training import recipe, train
from kwta_theory.networks.training.trainer import CHECKPOINT

kwta, refused = commands.of("attack")
FAST = ["--n", "20", "--epsilon", "0.05", "--device", "cpu"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two k-WTA networks of different seeds, and one for other images."""
    folder = tmp_path_factory.mktemp("runs")
    small = Architecture("mlp", "kwta-0.2", channels=1, image_size=8, hidden=20)
    for seed in (0, 1):
        train(small, load("digits"), recipe("natural", "digits", epochs=2), folder / str(seed), seed=seed)
    return folder


@pytest.fixture
def quick(monkeypatch):
    """A suite of two attacks that take a moment."""
    pair = (Ascent("one", steps=3), Ascent("two", steps=5, restarts=2))
    real = suites.suite

    def fake(name, data="mnist", sources=None):
        extra = [attack for attack in real(name, data, sources) if " from " in attack.name]
        return (*pair, *extra)

    monkeypatch.setattr(suites, "suite", fake)


@pytest.mark.parametrize("suite", ["paper", "adaptive"])
def test_a_run_prints_a_table_and_writes_json(suite, runs, tmp_path):
    file = tmp_path / "o.json"
    result = kwta(runs / "0" / CHECKPOINT, "--suite", suite, *FAST, "--json", file)
    assert result.exit_code == 0, result.output
    told = json.loads(file.read_text())
    assert told["complete"] is True
    assert (told["suite"], told["n"], told["epsilon"], told["seed"]) == (suite, 20, 0.05, 0)
    assert told["judge_dtype"] == "float64"
    names = [row["name"] for row in told["attacks"]]
    assert names == [attack.name for attack in suites.suite(suite, "digits")]
    worst = torch.tensor(told["clean"]["images"])
    for row in told["attacks"]:
        images = torch.tensor(row["images"])
        assert bool((images <= torch.tensor(told["clean"]["images"])).all())
        worst = worst & images
        assert row["correct"] == int(images.sum())
        assert row["accuracy"] == row["correct"] / 20
        interval = clopper_pearson(row["correct"], 20, 0.05)
        assert row["interval"] == [interval.lower, interval.upper]
        assert row["seconds"] > 0
        assert row["forward_passes"] > 0
    assert told["worst_case"]["images"] == worst.tolist()
    # The table says the same.
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    for row in told["attacks"]:
        assert f"{100 * row['accuracy']:.1f}" in lines[row["name"]]
    assert f"{100 * told['worst_case']['accuracy']:.1f}" in next(
        line for line in result.stdout.splitlines() if line.startswith("worst case")
    )
    assert max(map(len, result.stdout[: result.stdout.index("Note.")].splitlines()[4:])) <= 80
    assert ("run --suite adaptive" in result.stdout) == (suite == "paper")
    assert ("no evidence of robustness" in result.stdout) == (suite == "paper")
    # Progress is on the other stream, a line for each attack.
    assert [line.split("]")[0] for line in result.stderr.splitlines()] == [
        f"[{i + 1}/{len(names)}" for i in range(len(names))
    ]


def test_options_change_something(runs, tmp_path, quick):
    def told(*options):
        file = tmp_path / "o.json"
        result = kwta(runs / "0", *FAST, "--json", file, "--quiet", *options)
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        return json.loads(file.read_text())

    base = told()
    assert told("--seed", "1")["seed"] == 1
    assert told("--n", "7")["n"] == 7
    assert told("--epsilon", "0.6")["worst_case"]["correct"] < base["worst_case"]["correct"]
    assert told("--judge-dtype", "float32")["judge_dtype"] == "float32"
    same = told("--batch-size", "3")
    assert [row["images"] for row in same["attacks"]] == [row["images"] for row in base["attacks"]]
    more = told("--transfer-from", runs / "1", "--suite", "paper")
    assert [row["name"] for row in more["attacks"]] == ["one", "two", f"pgd-20 from {runs / '1'}"]
    assert more["attacks"][2]["forward_passes"] == 1
    assert more["attacks"][2]["note"]
    default = kwta(runs / "0", "--n", "5", "--quiet").stdout
    assert "epsilon 0.2 (maximum norm)" in default  # that of the digits


def test_what_is_finished_is_kept_when_it_is_interrupted(runs, tmp_path, quick, monkeypatch):
    real = Ascent.run

    def interrupted(self, *arguments):
        if self.name == "two":
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(ascent.Ascent, "run", interrupted)
    file = tmp_path / "o.json"
    result = kwta(runs / "0", *FAST, "--json", file)
    assert result.exit_code == 130
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1] == f"kwta attack: interrupted; what was finished is in {str(file)!r}."
    told = json.loads(file.read_text())
    assert told["complete"] is False
    assert [row["name"] for row in told["attacks"]] == ["one"]
    assert told["worst_case"]["images"] == told["attacks"][0]["images"]


def test_bad_use_is_a_sentence(runs, tmp_path):
    run = runs / "0"
    refused(2, "suite='strong' is not known", run, "--suite", "strong")
    refused(2, r"epsilon=-1\.0 is not allowed", run, "--epsilon", "-1")
    refused(2, r"n=361 is not allowed.*\[1, 360\]", run, "--n", "361")
    refused(2, "seed=-1 is not allowed", run, "--seed", "-1")
    refused(2, "batch_size=0 is not allowed", run, *FAST, "--batch-size", "0", "--quiet", "--json", tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()
    refused(2, "judge_dtype='float16' is not known", run, "--judge-dtype", "float16")
    refused(2, "device='abacus' is not there", run, "--device", "abacus")
    refused(2, "is a directory: a file name is needed", run, "--json", tmp_path)
    refused(2, "data_dir=.* has no effect with data='digits'", run, "--data-dir", tmp_path)
    refused(2, "is given twice", run, "--transfer-from", runs / "1", "--transfer-from", runs / "1")
    assert kwta().exit_code == 2
    assert kwta(run, "--n", "many").exit_code == 2


def test_checkpoints_that_are_none(runs, tmp_path):
    refused(1, "does not exist", tmp_path / "nothing.pt")
    refused(1, "does not exist", tmp_path)
    text = tmp_path / "text.pt"
    text.write_text("hello")
    refused(1, "checkpoint .* is refused|cannot be read", text)
    other = tmp_path / "other.pt"
    torch.save({"model": {}}, other)
    refused(1, "was not written by kwta_theory", other)
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (ran,))

    other.write_bytes(pickle.dumps(Bomb()))
    refused(1, "would run code", other)
    assert not ran.exists()
    refused(1, "was not written by kwta_theory|does not exist", runs / "0", "--transfer-from", tmp_path / "no.pt")


def altered(runs, tmp_path, change):
    """A checkpoint of which something was changed."""
    record = torch.load(runs / "0" / CHECKPOINT, weights_only=True)
    change(record)
    path = tmp_path / "altered.pt"
    torch.save(record, path)
    return path


def test_images_that_may_have_been_trained_on_are_refused(runs, tmp_path):
    def change(record):
        record["data"]["description"] = "all the digits"

    refused(2, "was trained on all the digits. There are only 1,437 training", altered(runs, tmp_path, change))


def test_sources_for_other_images_are_refused(runs, tmp_path):
    train(
        Architecture("mlp", "relu", channels=1, image_size=8, hidden=8, classes=10),
        load("digits"), recipe("natural", "digits", epochs=1), tmp_path / "r",
    )  # fmt: skip
    record = torch.load(tmp_path / "r" / CHECKPOINT, weights_only=True)
    record["architecture"]["image_size"] = 9
    record["model"]["1.weight"] = torch.zeros(8, 81)
    torch.save(record, tmp_path / "nine.pt")
    refused(2, "its image_size is 9, and the attacked network's 8", runs / "0", "--transfer-from", tmp_path / "nine.pt")


def test_progress_tells_where_a_long_attack_is(monkeypatch, capsys):
    monkeypatch.setattr(cli_attack, "QUIET_SECONDS", -1.0)
    with cli_attack.progress(False, 2, 30) as (tick, done):
        tick("slow", 10)
        tick("slow", 20)
        done("slow: finished")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split(" s  ")[1] for line in captured.err.splitlines()] == [
        "slow: 10 of 30 images",
        "slow: 30 of 30 images",
        "slow: finished",
    ]
