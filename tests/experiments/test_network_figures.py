"""The scripts of the figures about networks, at settings so small that nothing is learned: what they write and say."""

from __future__ import annotations

import csv
import dataclasses
import runpy
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
import torch
from one_thread import one_thread  # noqa: F401  (a fixture)

from kwta_theory.attacks import Ascent
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.report import plots
from kwta_theory.robustness import study, surfaces

FOLDER = Path(__file__).parents[2] / "experiments"
SCRIPTS = ("figure_1", "figure_3", "figure_4", "figure_5", "figure_6", "figure_7")
ROBUST = SCRIPTS[1:]
RATIOS = (0.2, 0.15, 0.1, 0.05)


def tiny(settings: study.Settings) -> study.Settings:
    return dataclasses.replace(
        settings, networks=(("mlp", 0.25), ("mlp", 0.2)), images=30, ratios=RATIOS, larger=(0.4,), first_epochs=4,
        stage_epochs=1, direct_epochs=2, adversarial_epochs=2, adaptive=(Ascent("short", steps=2),), lines=2, cells=16,
    )  # fmt: skip


def script(name: str) -> study.Study:
    found = runpy.run_path(str(FOLDER / f"{name}.py"))
    changes = {"figure_1": {"NETWORKS": {"small": 6, "paper": 6}, "STEPS": {"small": 5, "paper": 5}, "CELLS": 256},
               "figure_3": {"ITERATIONS": 4, "CELLS": 4, "SIZES": (1, 4, 24), "EPOCHS": (1, 2)}}  # fmt: skip
    for key, value in changes.get(name, {}).items():
        assert key in found
        found["measure"].__globals__[key] = value
    scales = {key: tiny(settings) for key, settings in study.SCALES.items()}
    return dataclasses.replace(found["STUDY"], settings=scales)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module", params=SCRIPTS)
def finished(request, networks, tmp_path_factory):
    folder, drawn = tmp_path_factory.mktemp(request.param), []
    small = script(request.param)

    def kept(draw):
        return lambda run, rows: drawn.append(draw(run, rows)) or drawn[-1]

    small = dataclasses.replace(small, figures={stem: kept(draw) for stem, draw in small.figures.items()})
    code = study.main(small, ["--results", str(folder), "--networks", str(networks), "--quiet", "--device", "cpu"])
    return request.param, folder, code, drawn


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_script_writes_table_and_figures(finished):
    name, folder, code, drawn = finished
    assert code == 0
    assert len(rows_of(folder, name)) >= 3
    assert (folder / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert (folder / f"{name}.svg").read_text().startswith("<svg")
    assert not list(folder.glob(".*"))
    (figure,) = drawn
    assert isinstance(figure, matplotlib.figure.Figure)
    text = " ".join(caption.get_text() for caption in plots.captions(figure)).replace("\n", " ")
    assert "seed 0" in text
    assert "n = " in text or "median of" in text


def test_robustness_never_stands_without_the_adaptive_column(finished):
    name, folder, _, drawn = finished
    rows = [row for row in rows_of(folder, name) if row.get("pgd")]
    assert bool(rows) == (name in ROBUST)
    for row in rows:
        assert float(row["adaptive"]) <= float(row["pgd"]) <= float(row["standard"])
        for column in ("standard", "pgd", "adaptive"):
            assert float(row[f"{column}_lower"]) <= float(row[column]) <= float(row[f"{column}_upper"])
        assert row["n"] == "30"
    if name in ROBUST:
        words = " ".join(text.get_text() for text in drawn[0].findobj(matplotlib.text.Text))
        assert "PGD" in words
        assert "adaptive" in words
        assert "Adaptive:" in words


@pytest.mark.parametrize("finished", ["figure_1", "figure_6"], indirect=True)
def test_a_second_run_trains_nothing_and_finds_the_same(finished, networks, tmp_path):
    name, folder, _, _ = finished
    before = {path: path.stat().st_mtime_ns for path in networks.rglob("*.pt")}
    small = script(name)
    assert study.main(small, ["--results", str(tmp_path), "--networks", str(networks), "--quiet"]) == 0
    assert (tmp_path / f"{name}.csv").read_text() == (folder / f"{name}.csv").read_text()
    assert (tmp_path / f"{name}.png").read_bytes() == (folder / f"{name}.png").read_bytes()
    assert {path: path.stat().st_mtime_ns for path in networks.rglob("*.pt")} == before


def test_the_paper_s_settings_are_the_paper_s():
    assert study.PAPER.data == "cifar10"
    assert study.PAPER.epsilon == 0.031  # 0.31 in Section 4.2 is a misprint
    assert study.PAPER.ratios[:2] == (0.2, 0.195)
    assert (study.PAPER.first_epochs, study.PAPER.stage_epochs) == (50, 2)
    assert [name for name, _ in study.PAPER.networks] == ["resnet18", "densenet121", "wrn-22-10"]
    assert study.PAPER.pgd.steps == 20


def run_at(networks: Path, **changes) -> study.Run:
    return study.Run(dataclasses.replace(tiny(study.SMALL), **changes), 0, networks, torch.device("cpu"))


def test_incremental_training_gives_each_ratio_and_goes_on_where_it_was(tmp_path):
    run = run_at(tmp_path / "a")
    lowered = run.lowered(("mlp", 0.2))
    whole = [(ratio, wanted.until, run.network(wanted)[2].sparsity_ratio) for ratio, wanted in lowered.items()]
    assert whole == [(0.2, 4, 0.2), (0.15, 5, 0.15), (0.1, 6, 0.1), (0.05, 7, 0.05)]
    # Only as far as the second ratio, begun anew: the same weights.
    other = run_at(tmp_path / "b")
    other.network(lowered[0.15])
    assert [path.name for path in sorted((tmp_path / "b").rglob("epoch-*.pt"))] == ["epoch-4.pt", "epoch-5.pt"]
    ends = [again.network(lowered[0.05]) for again in (run, run_at(tmp_path / "b"))]
    assert all(torch.equal(a, b) for a, b in zip(*(model.state_dict().values() for model in ends), strict=True))


def test_another_course_does_not_find_the_weights_of_this_one(tmp_path):
    run_at(tmp_path).network(run_at(tmp_path).lowered(("mlp", 0.2))[0.05])
    folders = set(tmp_path.iterdir())
    longer = run_at(tmp_path, stage_epochs=2)
    longer.network(longer.lowered(("mlp", 0.2))[0.05])
    assert len(set(tmp_path.iterdir()) - folders) == 1


def test_attacks_count_images_and_options_count(tmp_path):
    run = run_at(tmp_path)
    model = run.network(run.direct(("mlp", 0.2), "kwta-0.2"))
    row, right = study.robustness(run, model)
    assert row["n"] == 30
    assert int(right["adaptive"].sum()) / 30 == row["adaptive"]
    assert bool((right["adaptive"] <= right["pgd"]).all())
    weak = dataclasses.replace(run, settings=dataclasses.replace(run.settings, epsilon=0.0))
    assert study.robustness(weak, model)[0]["adaptive"] == row["standard"]
    strong = dataclasses.replace(
        run, settings=dataclasses.replace(run.settings, epsilon=0.9, adaptive=(Ascent("short", steps=10),))
    )
    assert study.robustness(strong, model)[0]["adaptive"] < row["standard"]


def test_what_cannot_be_done_is_said(tmp_path, capsys):
    small = script("figure_7")
    few = dataclasses.replace(small.settings["small"], ratios=(0.2, 0.1))
    small = dataclasses.replace(small, settings={"small": few})
    common = ["--networks", str(tmp_path), "--results", str(tmp_path / "r"), "--quiet"]
    assert study.main(small, common) == 2
    assert "ratio=0.05 is not one of the scale's ratios" in capsys.readouterr().err
    assert study.main(small, [*common, "--n", "0"]) == 2
    assert "n=0" in capsys.readouterr().err
    assert study.main(dataclasses.replace(small, settings={"small": study.PAPER}), common) == 1
    assert "cifar-10" in capsys.readouterr().err.lower()
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert study.main(small, ["--networks", str(tmp_path), "--results", str(blocked), "--quiet"]) == 1
    assert str(blocked) in capsys.readouterr().err
    run = run_at(tmp_path)
    wrong = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    torch.nn.init.zeros_(wrong[1].weight)
    with torch.no_grad():
        wrong[1].bias[:] = torch.tensor([0.0] * 9 + [1.0])
    nines = dataclasses.replace(run.data, test=run.data.test.first(1))
    object.__setattr__(run, "data", nines)
    if int(nines.test.labels[0]) != 9:
        with pytest.raises(InvalidArgumentError, match="no image is classified correctly"):
            surfaces.common(run, [("wrong", wrong)])


def test_ctrl_c_is_said_and_keeps_what_is_there(tmp_path, capsys):
    def interrupted(run):
        raise KeyboardInterrupt

    small = dataclasses.replace(script("figure_4"), measure=interrupted)
    assert study.main(small, ["--networks", str(tmp_path), "--results", str(tmp_path / "r")]) == 130
    assert "are kept" in capsys.readouterr().err


def test_a_loss_that_falls_all_the_way_does_not_wander():
    found = runpy.run_path(str(FOLDER / "figure_3.py"))
    assert found["wander"](np.array([3.0, 2.0, 0.0])) == 1
    assert found["wander"](np.array([3.0, 0.0, 3.0])) == 2
    assert found["wander"](np.ones(3)) == 1


def test_the_ratios_that_are_worse_are_told_like_those_that_are_better():
    below = runpy.run_path(str(FOLDER / "figure_6.py"))["ratios_below"]
    rows = [{"ratio": 0.1, "p": 0.001, "q": 0.999}, {"ratio": 0.05, "p": 0.5, "q": 0.6}]
    assert (below(rows, "p", 0.01), below(rows, "q", 0.01)) == ("0.1", "none")


# Figure 3: what goes the wrong way.


def test_backtracking_of_a_falling_margin_is_zero_and_of_a_zigzag_is_its_share():
    found = runpy.run_path(str(FOLDER / "figure_3.py"))
    path = torch.zeros(4, 2, 3)
    path[:, 0, 1] = torch.tensor([3.0, 2.0, 1.0, 0.0])
    path[:, 1, 1] = torch.tensor([3.0, 1.0, 2.0, 0.0])
    assert found["backtracking"](path, torch.tensor([1, 1])).tolist() == pytest.approx([0, 0.2])
    assert found["backtracking"](path.flip(0), torch.tensor([1, 1])).tolist() == pytest.approx([1, 0.8])


def test_the_attack_s_path_stays_in_the_ball_and_climbs_a_linear_model():
    found = runpy.run_path(str(FOLDER / "figure_3.py"))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    with torch.no_grad():
        model[1].weight[:] = torch.tensor([[1.0, -1, 1, 1], [-1, 1, -1, 0.5]])
        model[1].bias.zero_()
    image, label = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
    logits = found["attack_path"](model, image, label, 0.1)
    steps = (logits[:, 0, 0] - logits[:, 0, 1]).diff()
    # The margin falls by epsilon/100 times the sum of the absolute differences of the weights, 2 + 2 + 2 + 0.5.
    assert steps.tolist() == pytest.approx([-6.5e-3] * 100, rel=1e-3)
    assert all(parameter.grad is None for parameter in model.parameters())
