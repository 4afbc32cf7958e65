"""An experiment from its command line to its files; what its numbers may depend on; when it says no."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import runpy
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from kwta_theory import campaign, theory
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.report import experiment as framework
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, main, measure, select, verdict, write

SCRIPT = Path(__file__).parents[2] / "experiments" / "theorem_1.py"


def tasks(budget: str) -> list[campaign.Task]:
    widths = [20, 50] if budget == "quick" else [20, 50, 100]
    return campaign.grid("same-pattern", width=widths, sparsity_ratio=0.1, beta=[0.1, 1.0], chunk_trials=250)


def law(row):
    return theory.same_pattern(row["width"], row["k"], row["cosine"])


def draw(found: Found):
    figure, (axis,) = plots.panels()
    rows = found.select("width", beta=0.1)
    plots.law(axis, [row["width"] for row in rows], [row["exact"] or 0.5 for row in rows], label="exact")
    plots.estimates(axis, "width", rows)
    plots.legend(figure)
    return figure


DEMO = Experiment(
    name="demo",
    summary="What the demonstration shows.",
    tasks=tasks,
    until=lambda budget: campaign.Until(trials=500 if budget == "quick" else 1000),
    exact=law,
    figures={"demo": draw, "demo_again": draw},
)
BARE = dataclasses.replace(DEMO, figures={})


def run(folder: Path, *options: str, what: Experiment = DEMO) -> int:
    return main(what, ["--results", str(folder), "--workers", "1", "--quiet", *options])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if "ledger" not in path.name}


def table(folder: Path, name: str = "demo") -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_a_run_writes_its_table_and_figures_and_says_how_many_intervals_hold(tmp_path, capsys):
    assert run(tmp_path / "new" / "folder") == 0
    found = contents(tmp_path / "new" / "folder")
    assert list(found) == ["demo.csv", "demo.png", "demo.svg", "demo_again.png", "demo_again.svg"]
    rows = table(tmp_path / "new" / "folder")
    assert [(row["width"], row["label_beta"], row["trials"]) for row in rows] == [
        *(("20", "1.0", "500"), ("50", "1.0", "500"), ("20", "0.1", "500"), ("50", "0.1", "500"))
    ]
    for row in rows:
        assert float(row["exact"]) == theory.same_pattern(int(row["width"]), int(row["k"]), float(row["cosine"]))
        assert float(row["lower"]) <= float(row["exact"]) <= float(row["upper"])
        assert (row["inside"], float(row["error"])) == ("True", 1e-3 / 4)
    assert "seconds" not in rows[0]
    out = capsys.readouterr()
    assert "4 of 4 intervals contain the exact value; all intervals hold together with probability at least 0.999." in (
        out.out
    )
    assert out.err == ""


def test_the_default_folder_is_results_name_and_progress_goes_to_standard_error(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(DEMO, ["--workers", "1"]) == 0
    assert (tmp_path / "results" / "demo" / "demo.csv").is_file()
    assert "same-pattern" in capsys.readouterr().err


def test_the_same_run_gives_the_same_bytes_also_in_the_folder_of_a_larger_one(tmp_path):
    assert run(tmp_path / "b", "--budget", "standard", what=BARE) == 0
    for name in "abb":
        assert run(tmp_path / name) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    with campaign.Ledger(tmp_path / "b" / "ledger.db", write=False) as ledger:
        assert len(ledger.tasks()) == 6  # the larger budget's trials are there, and do not show


def test_the_users_settings_of_matplotlib_do_not_show(tmp_path):
    run(tmp_path / "a")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        run(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_seed_and_budget_change_the_numbers(tmp_path):
    assert run(tmp_path / "a", what=BARE) == 0
    for name, options in (("seed", ["--seed", "1"]), ("budget", ["--budget", "standard"])):
        assert run(tmp_path / name, *options, what=BARE) == 0
        assert contents(tmp_path / name)["demo.csv"] != contents(tmp_path / "a")["demo.csv"]
    assert {row["seeds"] for row in table(tmp_path / "seed")} == {"1"}
    assert {row["trials"] for row in table(tmp_path / "budget")} == {"1000"}


def test_seeds_in_one_folder_are_kept_apart(tmp_path):
    run(tmp_path, "--seed", "1", what=BARE)
    first = contents(tmp_path)
    run(tmp_path, "--seed", "2", what=BARE)
    assert {row["trials"] for row in table(tmp_path)} == {"500"}
    run(tmp_path, "--seed", "1", what=BARE)
    assert contents(tmp_path) == first


def test_an_interval_that_misses_is_exit_code_1_and_comes_first(tmp_path, capsys):
    def wrong(row):
        return law(row) * (2.0 if row["width"] == 50 and row["label_beta"] == 0.1 else 1)

    assert run(tmp_path, what=dataclasses.replace(BARE, exact=wrong)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "False" in lines[1]
    assert "False" not in "".join(lines[2:])
    assert "3 of 4 intervals contain the exact value" in lines[-2]


def test_a_bracket_counts_when_the_interval_meets_it(tmp_path):
    def bracket(row):
        value = law(row)
        return {20: (value / 2, 2 * value), 50: (2 * value, 2.0)}[row["width"]] if row["label_beta"] == 0.1 else None

    assert run(tmp_path, what=dataclasses.replace(BARE, exact=bracket)) == 1
    rows = {(row["width"], row["label_beta"]): row for row in table(tmp_path)}
    assert [rows[place]["inside"] for place in (("20", "0.1"), ("50", "0.1"), ("20", "1.0"))] == ["True", "False", ""]
    assert rows["50", "0.1"]["exact_upper"] == "2.0"
    assert rows["50", "0.1"]["exact"] == ""


def test_a_logarithm_stands_for_values_below_the_smallest_float(tmp_path):
    def tiny(row):
        return -3000.0 if row["label_beta"] == 1 else math.log(law(row))

    run(tmp_path, what=dataclasses.replace(BARE, exact=None, log_exact=tiny))
    rows = {row["label_beta"]: row for row in table(tmp_path)}
    assert (rows["1.0"]["exact"], rows["1.0"]["log_exact"]) == ("0.0", "-3000.0")
    assert float(rows["0.1"]["exact"]) == pytest.approx(math.exp(float(rows["0.1"]["log_exact"])))
    assert rows["0.1"]["inside"] == "True"


@pytest.mark.parametrize(
    ("value", "inside"), [(1.0, True), (1 + 1e-12, True), (1 + 1e-6, False), (math.nan, False), (0.5, False)]
)
def test_rounding_of_the_exact_value_is_no_finding_and_nan_is(tmp_path, value, inside):
    sure = campaign.Task.of("same-pattern", width=20, k=2, cosine=1.0, chunk_trials=100)
    demo = dataclasses.replace(
        DEMO, tasks=lambda _: [sure], until=lambda _: campaign.Until(trials=100), exact=lambda _: value, figures={}
    )
    found = measure(demo, tmp_path, "quick")
    assert found.rows[0]["inside"] is inside
    assert "A triangle: seen in no trial (in all)" in found.caption


def test_without_exact_values_nothing_is_judged(tmp_path, capsys):
    assert run(tmp_path, what=dataclasses.replace(DEMO, exact=None, figures={})) == 0
    assert "There is no exact value to compare with." in capsys.readouterr().out
    assert "inside" not in table(tmp_path)[0]


def test_the_error_is_shared_by_tasks_and_outcomes_and_the_limit_of_means_is_named(tmp_path):
    demo = dataclasses.replace(
        DEMO,
        tasks=lambda _: [
            campaign.Task.of("pattern-overlap", width=20, k=2, cosine=0.5, chunk_trials=100),
            campaign.Task.of("boundary-crossings", width=10, k=2, angle=0.5, chunk_trials=10),
        ],
        until=lambda _: campaign.Until(trials=100, error=0.5),
        exact=None,
    )
    found = measure(demo, tmp_path, "quick")
    assert {row["error"] for row in found.rows} == {1e-3 / 7}
    assert "in the limit of many trials" in found.caption
    assert "n = 100 trials each, seed 0" in found.caption


def test_a_relative_error_is_reached_with_the_shared_error(tmp_path):
    demo = dataclasses.replace(DEMO, until=lambda _: campaign.Until(relative_error=0.2, trials=20_000), exact=None)
    found = measure(demo, tmp_path, "quick")
    short = [row for row in found.rows if row["trials"] < 20_000]
    assert short
    assert all((row["upper"] - row["lower"]) / 2 <= 0.2 * row["estimate"] for row in short)


def test_a_table_alone_is_the_table(tmp_path, capsys):
    def rows(budget: str, seed: int):
        return [{"width": w, "value": w * seed, "inside": w < 3, "budget": budget} for w in (1, 2, 3)]

    def picture(found):
        figure, (axis,) = plots.panels()
        axis.plot([row["width"] for row in found.table])
        return figure

    demo = Experiment("plain", "Summary.", {"plain": picture}, table=rows, note="Nothing is sampled.", seed=5)
    assert run(tmp_path, "--seed", "7", what=demo) == 1
    assert [row["value"] for row in table(tmp_path, "plain")] == ["7", "14", "21"]
    assert "2 of 3 comparisons of the table hold." in capsys.readouterr().out
    assert not (tmp_path / "ledger.db").exists()
    assert not (tmp_path / "plain_table.csv").exists()
    assert measure(demo, tmp_path, "quick").caption == "Nothing is sampled."


def test_a_table_beside_tasks_has_its_own_file_and_is_judged_too(tmp_path):
    demo = dataclasses.replace(DEMO, table=lambda *_: [{"x": 1, "inside": False}], note="A note.")
    found = measure(demo, tmp_path, "quick")
    write(demo, found, tmp_path)
    assert table(tmp_path, "demo_table") == [{"x": "1", "inside": "False"}]
    sentence, right = verdict(found)
    assert not right
    assert sentence.startswith("4 of 4 intervals contain the exact value; all intervals hold together")
    assert sentence.endswith("0.999. 0 of 1 comparisons of the table hold.")
    assert found.caption.startswith("A note. Points with bars: simulation, n = 500 trials each, seed 0; all intervals")


def test_a_figure_has_the_caption_unless_it_brings_its_own(tmp_path):
    kept = {}

    def own(found: Found):
        figure = draw(found)
        plots.caption(figure, "Mine.")
        kept["own"] = figure
        return figure

    def plain(found: Found):
        kept["plain"] = draw(found)
        return kept["plain"]

    demo = dataclasses.replace(DEMO, figures={"demo_own": own, "demo_plain": plain})
    found = measure(demo, tmp_path, "quick")
    write(demo, found, tmp_path)
    assert [text.get_text() for text in plots.captions(kept["own"])] == ["Mine."]
    (text,) = plots.captions(kept["plain"])
    assert " ".join(text.get_text().split()) == found.caption


# Rows.


ROWS = [
    {"width": 10, "label_beta": 0.5, "kind": "b"},
    {"width": 2, "label_beta": 0.5, "kind": None},
    {"width": 3, "label_beta": 1.0, "kind": "a"},
]


def test_rows_are_selected_by_columns_and_labels_and_sorted():
    assert [row["width"] for row in select(ROWS, "width", beta=0.5)] == [2, 10]
    assert [row["width"] for row in select(ROWS, "kind")] == [3, 10, 2]
    assert [row["width"] for row in select(ROWS, label_beta=1.0)] == [3]
    assert select(ROWS, width=99) == []
    assert select([], "width", beta=1) == []
    with pytest.raises(InvalidArgumentError, match="no row has a column 'betta': there are width, label_beta, kind"):
        select(ROWS, betta=0.5)


def test_a_task_listed_twice_is_one_with_the_labels_of_both(tmp_path):
    pair = [
        campaign.Task.of("same-pattern", width=20, cosine=0.5, chunk_trials=100, **size)
        for size in ({"k": 2, "labels": {"group": "a", "one": 1}}, {"sparsity_ratio": 0.1, "labels": {"group": "b"}})
    ]
    demo = dataclasses.replace(DEMO, tasks=lambda _: pair, figures={})
    (row,) = measure(demo, tmp_path, "quick").rows
    assert (row["label_group"], row["label_one"], row["label_sparsity_ratio"]) == ("a", 1, 0.1)
    assert row["error"] == 1e-3


# Sentences.


def test_help_shows_the_summary(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(DEMO, ["--help"])
    assert "What the demonstration shows." in capsys.readouterr().out


@pytest.mark.parametrize("options", [["--unknown"], ["--bud", "quick"], ["--budget", "huge"], ["--seed", "x"]])
def test_unknown_options_are_refused(options, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(DEMO, options)
    assert "demo: error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"), [(["--seed", "-1"], "seed=-1"), (["--workers", "0"], "workers=0 is not allowed")]
)
def test_numbers_that_are_not_allowed_are_refused(tmp_path, options, message, capsys):
    assert main(DEMO, ["--results", str(tmp_path), "--quiet", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_or_written_is_a_sentence(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "file" / "sub") == 2
    assert "cannot be made: Not a directory." in capsys.readouterr().err
    assert run(tmp_path / "file") == 2
    assert "cannot be made: File exists." in capsys.readouterr().err
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere, so permission is made up
    assert run(tmp_path / "there") == 2
    assert "permission is denied" in capsys.readouterr().err


def test_a_full_disk_is_a_sentence(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(framework.files, "write_text", full)
    assert run(tmp_path) == 2
    assert "cannot be written: No space left on device." in capsys.readouterr().err


def test_a_damaged_ledger_is_a_sentence_and_left_alone(tmp_path, capsys):
    (tmp_path / "ledger.db").write_bytes(b"not a ledger")
    assert run(tmp_path) == 1
    assert "demo: ledger" in capsys.readouterr().err
    assert (tmp_path / "ledger.db").read_bytes() == b"not a ledger"


def test_an_interruption_keeps_what_was_finished(tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(campaign, "run", interrupted)
        assert run(tmp_path) == 130
    assert "interrupted; what was finished is kept." in capsys.readouterr().err
    assert run(tmp_path) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "no name"}, "name='no name' is not allowed"),
        ({"until": None}, "demo must have tasks with until, or a table"),
        ({"tasks": None, "until": None}, "demo must have tasks with until, or a table"),
        ({"figures": {"other": draw}}, "figure 'other' must begin with 'demo_'"),
    ],
)
def test_an_experiment_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(InvalidArgumentError, match=message):
        dataclasses.replace(DEMO, **changes)


def test_an_experiment_has_no_clock_and_three_budgets(tmp_path):
    with pytest.raises(InvalidArgumentError, match="until has seconds"):
        measure(dataclasses.replace(DEMO, until=lambda _: campaign.Until(seconds=1)), tmp_path, "quick")
    with pytest.raises(InvalidArgumentError, match="budget='huge' is not known"):
        measure(DEMO, tmp_path, "huge")


# The template.


@pytest.fixture(scope="module")
def theorem_1():
    return runpy.run_path(str(SCRIPT))


def tiny(theorem_1) -> Experiment:
    """Every sixth task with 300 trials: enough for a law that is off by half to be noticed."""
    script = theorem_1["EXPERIMENT"]
    some = [task for task in script.tasks("quick") if int(task.parameters["width"]) <= 1000][::6]
    small = [campaign.Task.of("same-pattern", chunk_trials=300, **task.parameters, labels=task.labels) for task in some]
    return dataclasses.replace(script, tasks=lambda _: small, until=lambda _: campaign.Until(trials=300))


def test_theorem_1_agrees_with_its_law(theorem_1, tmp_path):
    assert run(tmp_path, what=tiny(theorem_1)) == 0
    assert {"theorem_1.csv", "theorem_1_width.png", "theorem_1_sparsity.svg", "theorem_1_beta.png"} <= set(
        contents(tmp_path)
    )


def test_theorem_1_notices_a_wrong_law(theorem_1, tmp_path):
    def wrong(row):  # four times the squared distance
        beta = 4 * (1 / row["cosine"] ** 2 - 1)
        return theory.same_pattern(row["width"], row["k"], theory.cosine_from_beta(beta), log=True)

    found = measure(dataclasses.replace(tiny(theorem_1), log_exact=wrong), tmp_path, "quick")
    assert verdict(found)[1] is False


def test_the_numbers_in_the_docstring_of_theorem_1(theorem_1):
    law, level = theorem_1["log_law"], -32 * math.log(2)
    text = " ".join(theorem_1["__doc__"].split())
    first = {1.0: 190, 1e-2: 1670, 1e-4: 16_800, 1e-6: 168_170}
    assert "l = 190, 1,670, 16,800 and 168,170 for beta = 1, 1e-2, 1e-4 and 1e-6" in text
    for beta, width in first.items():
        assert law(width, 0.1, beta) <= level < law(width - 10, 0.1, beta)
    assert "P is 0.86, 0.54, 0.33, 0.16 and 0.07 for gamma = 0.01, 0.05, 0.1, 0.2 and 0.48" in text
    assert [round(math.exp(law(1000, g, 1e-4)), 2) for g in (0.01, 0.05, 0.1, 0.2, 0.48)] == [
        *(0.86, 0.54, 0.33, 0.16, 0.07)
    ]
    for beta in (1e-2, 1e-4, 1e-6):
        width = 10 * round(100 / math.sqrt(beta))
        assert law(width, 0.1, beta) / math.log(10) / width / math.sqrt(beta) == pytest.approx(-0.06, abs=0.005)


def test_a_script_runs_by_itself(tmp_path):
    done = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "Theorems 1 and 9 for one fixed x'" in done.stdout
    assert list(tmp_path.iterdir()) == []
