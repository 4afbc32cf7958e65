"""The scripts of Tables 1 to 4: their plans against the paper's rows, and a run on a made-up CIFAR-10 and SVHN."""

from __future__ import annotations

import collections
import dataclasses
import doctest
import functools
import runpy
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from kwta_theory.attacks import Ascent
from kwta_theory.attacks.transfer import Persistent
from kwta_theory.networks.training import EPSILON
from kwta_theory.robustness import paper, table_files, table_script, tables

FOLDER = Path(__file__).parents[2] / "experiments"
DOCS = Path(__file__).parents[2] / "docs"
NAMES = ("table_1", "table_2", "table_3", "table_4")


@functools.cache
def script(name: str) -> dict:
    return runpy.run_path(str(FOLDER / f"{name}.py"))


def lines(name: str, scale: str, seed: int = 0):
    return script(name)["TABLE"].plan(scale, seed)


@pytest.mark.parametrize("name", NAMES)
def test_the_plan_at_the_papers_scale_has_the_papers_rows(name):
    planned = lines(name, "paper")
    rows = paper.rows(name[-1])
    got = collections.Counter()
    for line in planned:
        t = line.training
        key = (t.data, t.architecture.name, t.architecture.activation, t.recipe.method)
        assert t.architecture.width_factor == 1
        assert line.epsilon == EPSILON[t.data]
        assert line.twin
        if name == "table_3":
            for column in line.sources:
                got[key, tuple(column.split()[1:])] = line.published[column]
        else:
            got[key, None] = line.published["robust"]
    wanted = {((r.data, r.model, r.activation, r.training), r.source): r.robust for r in rows}
    assert got == wanted
    small = lines(name, "small")
    data = {line.training.data for line in small}
    assert data == ({"mnist"} if name == "table_4" else {"digits"})
    assert len(small) == {"table_1": 12, "table_2": 30, "table_3": 4, "table_4": 8}[name]


def test_attacks_and_sources_are_the_papers():
    for line in lines("table_1", "paper"):
        assert list(line.attacks) == ["pgd", "cw", "deepfool", "mim"]
        assert line.attacks["pgd"].settings["abs_stepsize"] == 0.003
        (source,) = line.sources.values()
        assert (source.architecture.name, source.recipe.method) == ("vgg19", "natural")
        assert source.data == line.training.data
        assert set(line.published) == {"clean", "pgd", "cw", "deepfool", "mim", "transfer", "robust"}
    for line in lines("table_2", "paper"):
        assert line.sources == {}
        assert set(line.published) == {"clean", "robust"}
    for line in lines("table_4", "paper"):
        assert list(line.attacks) == ["pgd"]
        assert line.attacks["pgd"].settings["abs_stepsize"] == 0.03
        assert line.training.recipe.epochs == (3 if line.training.recipe.method == "free" else 20)


def test_the_diagonal_of_table_3_is_a_second_copy():
    for line in lines("table_3", "small", seed=4):
        t = line.training
        for column, source in line.sources.items():
            same = column == f"from {t.architecture.activation} {t.recipe.method}"
            assert source.seed == (5 if same else 4)
            assert dataclasses.replace(source, seed=4).recipe.method == column.split()[2]
            # On the diagonal everything else is equal.
            assert (dataclasses.replace(source, seed=4) == t) == same
        assert line.published["robust"] == min(v for k, v in line.published.items() if k != "robust")


def test_tables_1_to_3_share_their_networks_at_small_scale():
    first, second, third = ({line.training for line in lines(name, "small")} for name in NAMES[:3])
    assert third <= first
    assert len(first & second) == 6


def test_every_script_compares_activations_at_one_training():
    for name in NAMES:
        recipes = collections.defaultdict(set)
        for line in lines(name, "small"):
            recipe = line.training.recipe
            if not recipe.sparsity_ratios:  # incremental training is longer, as the paper's is
                recipes[line.twin].add(recipe)
        assert all(len(found) == 1 for found in recipes.values())


def test_the_study_changes_one_thing_at_a_time():
    study = script("table_4")["STUDY"].plan("small", 0)
    base = study[0].training
    assert base in [line.training for line in lines("table_4", "small")]
    assert len({line.training for line in study}) == len(study)
    assert len({line.remark for line in study}) == len(study)
    for line in study:
        assert line.training.recipe.method == "natural"
        assert list(line.attacks) == ["pgd", "released"]
        assert ("pgd" in line.published) == (line.training.architecture.activation == "kwta-0.1")
    assert max(line.training.architecture.hidden or 0 for line in study) == 20_000
    released = study[-2].training
    assert (released.recipe.batch_size, released.recipe.weight_decay) == (200, 0)
    assert released.recipe.learning_rates == ((0, 0.01),)
    longer = script("table_4")["STUDY"].plan("paper", 0)[-2].training
    assert longer.recipe.epochs == 20


@pytest.mark.parametrize("name", NAMES)
def test_plan_and_help_need_no_data(name, capsys, tmp_path):
    table = script(name)["TABLE"]
    assert table_script.main(table, ["--scale", "paper", "--plan", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "on all test images" in out
    assert out.count("adaptive: wide+noise, corners, square") == len(lines(name, "paper"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SystemExit) as left:
        table_script.main(table, ["--help"])
    assert left.value.code == 0
    assert "--data-dir" in capsys.readouterr().out
    assert doctest.testmod(tables).failed == 0


def published_files(folder: Path, images: int = 20) -> None:
    """CIFAR-10 as its binary batches and SVHN as its two MATLAB files, with random pixels."""
    generator = np.random.default_rng(0)
    batches = folder / "cifar-10-batches-bin"
    batches.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        rows = generator.integers(0, 256, (images, 3073), dtype=np.uint8)
        rows[:, 0] = np.arange(images) % 10
        (batches / f"{name}.bin").write_bytes(rows.tobytes())
    for name in ("train_32x32.mat", "test_32x32.mat"):
        pixels = generator.integers(0, 256, (32, 32, 3, images), dtype=np.uint8)
        scipy.io.savemat(folder / name, {"X": pixels, "y": 1 + np.arange(images)[:, None] % 10})


@pytest.mark.parametrize("name", ["table_1", "table_3"])
def test_the_scale_of_the_paper_runs_from_end_to_end(name, tmp_path, monkeypatch, capsys):
    """One epoch, narrow networks, few steps, two lines of each data set: the path of a user with a GPU."""
    published_files(tmp_path)
    table = script(name)["TABLE"]
    short = {"steps": 2}

    def tiny(training):
        narrow = dataclasses.replace(training.architecture, width_factor=0.02, activation="relu")
        if training.architecture.activation != "relu":
            narrow = dataclasses.replace(narrow, activation="kwta-0.2")
        recipe = dataclasses.replace(
            training.recipe, epochs=1, learning_rates=((0, 0.01),), sparsity_ratios=(), attack_steps=1, replays=2
        )
        return dataclasses.replace(training, architecture=narrow, recipe=recipe)

    def plan(scale, seed):
        few = [
            line
            for line in table.plan(scale, seed)
            if (line.training.recipe.method, line.training.architecture.activation)
            in {("natural", "relu"), ("at", "kwta-0.1")}
        ]
        return tuple(
            dataclasses.replace(
                line,
                training=tiny(line.training),
                attacks={
                    column: dataclasses.replace(attack, settings={**attack.settings, **short})
                    for column, attack in line.attacks.items()
                },
                sources={column: tiny(source) for column, source in line.sources.items()},
            )
            for line in few
        )

    monkeypatch.setattr(tables, "adaptive_attacks", lambda: (Ascent("short", steps=2),))
    monkeypatch.setattr(tables.suites, "persistent", functools.partial(Persistent, "short", steps=2))
    few = dataclasses.replace(table, plan=plan)
    arguments = ["--scale", "paper", "--data-dir", str(tmp_path), "--results", str(tmp_path / "r"), "--n", "4"]
    assert table_script.main(few, [*arguments, "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    rows = table_files.read_csv((tmp_path / "r" / name / f"{name}_paper.csv").read_text())
    assert {row["data"] for row in rows} == ({"cifar10", "svhn"} if name == "table_1" else {"cifar10"})
    assert len({row["network"] for row in rows}) == (4 if name == "table_1" else 2)
    assert [row["column"] for row in rows][-1] == "adaptive"
    assert "| adaptive |" in out
    if name == "table_1":
        assert any("19" in row["attack"] and row["column"] == "transfer" for row in rows)


def test_the_page_of_documentation_is_what_the_code_writes():
    page = DOCS / "robustness.md"
    text = page.read_text(encoding="utf-8")
    figures = DOCS / "figures" / "robustness"
    assert table_files.filled(text, figures) == text
    for path in figures.glob("table_*.csv"):
        if not path.stem.endswith("_orderings"):
            assert table_files.block(path.stem)[0] in text
            rows = table_files.read_csv(path.read_text(encoding="utf-8"))
            for row in rows:
                # Every count is in its own interval, and none is larger than the clean one.
                assert row["lower"] <= row["measured"] <= row["upper"]
            networks = {(row["network"], row["column"]) for row in rows}
            assert {n for n, _ in networks} == {n for n, column in networks if column == "adaptive"}


def test_measured_tables_are_brought_into_the_page(tmp_path):
    bring = runpy.run_path(str(DOCS / "robustness_tables.py"))["main"]
    begin, end = table_files.block("table_4")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "robustness.md").write_text(f"Account.\n{begin}{end}")
    row = {
        "data": "mnist", "model": "smallcnn", "activation": "relu", "training": "at", "network": "a net", "column": "",
        "paper": None, "measured": 50.0, "lower": 1.3, "upper": 98.7, "difference": None, "explained": None,
        "correct": 1, "n": 2, "epsilon": 0.3, "training_seed": 0, "twin": "at", "remark": "", "images": "01",
    }  # fmt: skip
    rows = [row | {"column": column} for column in ("clean", "robust", "adaptive")]
    table_files.write("table_4", rows, tmp_path / "results" / "table_4")
    table_files.write("table_4_paper", rows, tmp_path / "results" / "table_4")
    bring(tmp_path / "results", tmp_path / "docs")
    text = (tmp_path / "docs" / "robustness.md").read_text()
    assert "| at | relu | 50.0 [1, 99] | 50.0 [1, 99] | 50.0 [1, 99] |" in text
    assert [path.name for path in (tmp_path / "docs" / "figures" / "robustness").iterdir()] == ["table_4.csv"]
