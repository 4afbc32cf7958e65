"""kwta regions as a person meets it: streams, files, exit codes, refusals; and its numbers by another route."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import commands
import pytest
import torch

from kwta_theory import cli_regions
from kwta_theory.confidence import Proportion
from kwta_theory.networks import Architecture, load
from kwta_theory.networks.training import load_network, recipe, train
from kwta_theory.networks.training.trainer import CHECKPOINT
from kwta_theory.regions import data_lines, gradient_lines, line_regions, random_lines

kwta, refused = commands.of("regions")
FAST = ["--lines", "9", "--epsilon", "0.3", "--device", "cpu"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A small network of each of two activations."""
    folder = tmp_path_factory.mktemp("runs")
    for activation in ("kwta-0.2", "relu"):
        small = Architecture("mlp", activation, channels=1, image_size=8, hidden=60)
        train(small, load("digits"), recipe("natural", "digits", epochs=2), folder / activation)
    return folder


def told(run: Path, file: Path, *options: str | Path) -> dict:
    result = kwta(run, *FAST, "--json", file, "--quiet", *options)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def base(runs, tmp_path_factory):
    return told(runs / "kwta-0.2", tmp_path_factory.mktemp("base") / "o.json")


def test_the_numbers_are_those_of_the_lines(runs, base):
    """By line_regions itself, one line at a time, from images and labels that are read here."""
    model, _ = load_network(runs / "kwta-0.2" / CHECKPOINT)
    test = load("digits").test
    images, labels = test.images(slice(0, 9)), test.labels[:9]
    lines = {
        "random": random_lines(images, 0.3, seed=0, bounds=(0, 1)),
        "gradient": gradient_lines(model, images, 0.3, labels=labels, bounds=(0, 1)),
        "data": data_lines(images, test.images(slice(9, 18)), 0.3, bounds=(0, 1)),
    }
    assert list(base["directions"]) == list(lines)
    outputs = torch.cat([line.values[0, 0][None] for line in line_regions(model, images, images)])
    assert base["output_scale"] == pytest.approx(9**-0.5 * float((outputs - outputs.mean(0)).norm()))
    assert sum(sum(part["lines"]["boundaries"]["values"]) for part in base["directions"].values()) > 100
    for name, part in base["directions"].items():
        values = {key: column["values"] for key, column in part["lines"].items()}
        for i in range(9):
            (line,) = line_regions(model, lines[name].start[i : i + 1], lines[name].end[i : i + 1])
            assert values["boundaries"][i] == line.count - 1
            assert sum(v[i] for key, v in values.items() if key.startswith("boundaries of layer")) == line.count - 1
            if line.count > 1:
                jumps = line.jumps.norm(dim=1)
                assert values["jump"][i] == pytest.approx(float(jumps.mean()))
                assert values["largest_jump"][i] == pytest.approx(float(jumps.max()))
                assert values["nearest"][i] == pytest.approx(float(line.breakpoints[0]) * float(lines[name].lengths[i]))
            else:
                assert values["jump"][i] is None
                assert values["nearest"][i] == "infinity"
        ordered = sorted(values["boundaries"])
        assert part["medians"]["boundaries"]["median"] == ordered[4]
        crossed = sum(value > 0 for value in values["boundaries"])
        claims = 3 * (len(values) + 1)
        interval = Proportion(crossed, 9).interval(0.05 / claims)
        assert part["crossing"] == pytest.approx([interval.lower, interval.upper], abs=1e-12)


def test_the_table_says_what_the_file_says(runs, tmp_path):
    file = tmp_path / "o.json"
    result = kwta(runs / "kwta-0.2", *FAST, "--json", file, "--lines", "40", "--direction", "random")
    assert result.exit_code == 0, result.output
    part = json.loads(file.read_text())["directions"]["random"]
    one = part["medians"]["boundaries"]
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("boundaries on a line")]
    low, high = one["interval"]
    assert row.split()[4:] == [f"{one['median']:.3g}", f"{low:.3g}", "to", f"{high:.3g}", "40"]
    assert f"are expected to have {part['expected_of_random_first_layer']:.4g}." in result.stdout
    assert "All intervals hold together with probability at least 0.95" in result.stdout
    assert "No interval" not in result.stdout
    table = [line for line in result.stdout.splitlines()[4:] if not line.startswith(("Note.", "First"))]
    assert max(map(len, table)) <= 80


def test_options_change_something(runs, base, tmp_path):
    run, file = runs / "kwta-0.2", tmp_path / "o.json"

    def counts(found: dict, direction: str = "random") -> list[float]:
        return found["directions"][direction]["lines"]["boundaries"]["values"]

    assert counts(told(run, file, "--seed", "1")) != counts(base)
    assert len(counts(told(run, file, "--lines", "3"))) == 3
    assert sum(counts(told(run, file, "--epsilon", "0.9"))) > sum(counts(base))
    assert list(told(run, file, "--direction", "data")["directions"]) == ["data"]
    euclidean = told(run, file, "--norm", "euclidean")
    assert euclidean["norm"] == "euclidean"
    assert sum(counts(euclidean)) < sum(counts(base))  # a corner of the cube is 8 times as far
    other = told(runs / "relu", file)
    assert max(filter(None, other["directions"]["random"]["lines"]["largest_jump"]["values"])) < 1e-9
    assert max(filter(None, base["directions"]["random"]["lines"]["largest_jump"]["values"])) > 1e-2
    assert "Jumps below 1e-09 are rounding" in kwta(runs / "relu", *FAST, "--direction", "data").stdout
    fresh = told(run, file, "--untrained")
    assert fresh["training"] == "none"
    assert fresh["weights"] != base["weights"]
    assert counts(fresh) != counts(base)
    short = kwta(run, "--lines", "2", "--direction", "data", "--quiet").stdout
    assert "length 0.2 (maximum norm)" in short  # that of the attacks on the digits
    assert "No interval (-): there are too few lines" in short


def test_figures_are_drawn(runs, tmp_path):
    for activation in ("kwta-0.2", "relu"):
        folder = tmp_path / "new" / activation
        assert kwta(runs / activation, *FAST, "--figures", folder, "--quiet").exit_code == 0
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["boundaries.png", "jumps.png", "plane.png"]
        assert all(path.read_bytes()[:4] == b"\x89PNG" for path in folder.iterdir())


def same(one, other) -> None:
    """Equal but for rounding: lines are measured in other company."""
    if isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            same(*pair)
    else:
        assert one == (pytest.approx(other, rel=1e-9, abs=1e-12) if isinstance(other, float) else other)


def stopped(monkeypatch, parts: int):
    """Ctrl-C after so many parts."""
    real, done = cli_regions.Job.advance, []

    def advance(self, direction, count):
        if len(done) == parts:
            raise KeyboardInterrupt
        done.append(direction)
        real(self, direction, count)

    monkeypatch.setattr(cli_regions.Job, "advance", advance)
    return done


def test_what_is_finished_is_kept_and_gone_on_with(runs, base, tmp_path, monkeypatch):
    run, file = runs / "kwta-0.2", tmp_path / "o.json"
    with monkeypatch.context() as patch:
        stopped(patch, 4)
        result = kwta(run, *FAST, "--json", file, "--quiet")
    assert result.exit_code == 130
    assert result.stderr == f"kwta regions: interrupted; the same command goes on from {str(file)!r}.\n"
    assert "random: 9 lines" in result.stdout
    assert "gradient: 1 lines" in result.stdout
    assert "Not finished" in result.stdout
    kept = json.loads(file.read_text())
    assert kept["complete"] is False
    with monkeypatch.context() as patch:
        parts = stopped(patch, 100)
        same(told(run, file), base)
        assert parts == ["gradient", "data"] * 2  # one line for the estimate, then the others
        same(told(run, file), base)  # nothing is left to measure
        assert len(parts) == 4
        changed = told(run, file, "--seed", "1")
        assert len(parts) > 4
    # With other settings it begins anew; and what is no such file is written over.
    assert changed["seed"] == 1
    file.write_text('{"version": 3}')
    same(told(run, file), base)


def test_an_interrupted_run_without_a_file_leaves_its_table(runs, monkeypatch):
    stopped(monkeypatch, 1)
    result = kwta(runs / "kwta-0.2", *FAST)
    assert result.exit_code == 130
    assert "random: 1 lines" in result.stdout
    assert result.stderr.endswith("interrupted; what was finished is above, if any.\n")


def test_an_interrupted_run_without_a_line_says_so(runs, monkeypatch):
    stopped(monkeypatch, 0)
    result = kwta(runs / "kwta-0.2", *FAST)
    assert (result.exit_code, result.stdout) == (130, "")


def test_bad_use_is_a_sentence(runs, tmp_path):
    run = runs / "kwta-0.2"
    refused(2, "direction='up' is not known", run, "--direction", "up")
    refused(2, "direction='data' is given twice", run, "--direction", "data", "--direction", "data")
    refused(2, r"lines=181 is not allowed.*\[1, 180\]", run, "--lines", "181")
    refused(2, r"lines=361 is not allowed.*\[1, 360\]", run, "--lines", "361", "--direction", "random")
    refused(2, r"epsilon=0\.0 is not allowed", run, "--epsilon", "0")
    refused(2, "norm='cubic' is not allowed", run, "--norm", "cubic", "--epsilon", "1")
    refused(2, "epsilon is missing: the paper's radii are of the maximum norm", run, "--norm", "euclidean")
    refused(2, "seed=-1 is not allowed", run, "--seed", "-1")
    refused(2, "device='abacus' is not there", run, "--device", "abacus")
    refused(2, "is a directory: a file name is needed", run, "--json", tmp_path)
    refused(2, "data_dir=.* has no effect with data='digits'", run, "--data-dir", tmp_path)
    refused(1, "does not exist", tmp_path / "nothing.pt")
    blocked = tmp_path / "file"
    blocked.write_text("")
    refused(1, "file.*exists", run, "--figures", blocked)


def test_other_images_are_refused(runs, tmp_path):
    record = torch.load(runs / "relu" / CHECKPOINT, weights_only=True)
    record["data"]["description"] = "all the digits"
    path = tmp_path / "altered.pt"
    torch.save(record, path)
    refused(2, "was trained on all the digits", path)


def test_progress_tells_how_long_it_will_take(runs, monkeypatch, capsys):
    monkeypatch.setattr(cli_regions, "QUIET_SECONDS", -1.0)
    with cli_regions.progress(False, 30) as (tick, say):
        say("one line: 2 s")
        tick("data", 10)
        tick("data", 20)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == "one line: 2 s"
    assert [line.split(" s  ")[1] for line in lines[1:]] == ["10 of 30 lines, now data", "30 of 30 lines, now data"]
    assert [cli_regions.duration(seconds) for seconds in (5, 600, 9000)] == ["5 s", "10 minutes", "2.5 hours"]


def test_the_rest_is_estimated_from_the_first_lines(runs, monkeypatch):
    clock = iter(range(0, 100_000, 60))
    monkeypatch.setattr(cli_regions.time, "perf_counter", lambda: float(next(clock)))
    result = kwta(runs / "kwta-0.2", *FAST, "--direction", "random", "--direction", "data")
    line = next(line for line in result.stderr.splitlines() if line.startswith("one line"))
    rest = re.fullmatch(r"one line: random (\S+) s, data (\S+) s; the others: about (\d+) minutes, or less", line)
    assert rest
    assert math.isclose(8 * (float(rest[1]) + float(rest[2])) / 60, float(rest[3]), rel_tol=0.1)
