"""Tables, sentences, figures and files, on verdicts made for the purpose."""

from __future__ import annotations

import dataclasses
import json
import math
import os

import pytest
from rich.console import Console

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import Proportion
from kwta_theory.report import figures, files, table
from kwta_theory.statements import STATEMENTS, LogBracket, Measurement, Outcome, Settings, Verdict
from kwta_theory.statements.case import Curve

HOLDS = Verdict(
    statement="theorem-10",
    title="Theorem 10",
    scope="",
    inputs="points",
    parameters={"width": "4,096", "k": 1, "delta": 0.05},
    claimed="P >= 0.95",
    claimed_log_failure=math.log(0.05),
    granted_log_width=8.0,
    outcome=Outcome.HOLDS,
    reason="because",
    note="Mind this.",
    exact=LogBracket(math.log(0.01), math.log(0.02), "a law"),
    measured=Measurement(Proportion(30, 2000), 1e-3, "simulation", 5),
    first_true="from width 99 on",
    first_true_log_width=math.log(99),
    witness=None,
    routes_agree=True,
    seconds=1.25,
    log_width=math.log(4096),
)
REFUTED = dataclasses.replace(HOLDS, outcome=Outcome.REFUTED, witness="replay()", measured=None, exact=None)
CURVES = [
    Curve("bracket", "bracket", (2.0, 8.0), (-0.1, -3.0), (-0.2, -4.0)),
    Curve("claimed", "claimed", (8.0, 9.0), (math.log(0.05),) * 2),
]


def printed(verdicts: list[Verdict]) -> str:
    console = Console(width=200, no_color=True)
    with console.capture() as capture:
        console.print(table.table(verdicts, 1e-3))
    return capture.get()


def test_a_row_shows_frequency_interval_n_bracket_and_seconds():
    text = printed([HOLDS])
    assert "0.985 [" in text
    assert "n=2,000" in text
    assert "0.98 .. 0.99" in text
    assert "1.2" in text
    assert "0.999" in text
    assert "k=1, delta=0.05" in text


def test_missing_evidence_is_a_dash_not_a_number():
    assert table.row(REFUTED)[5:7] == ("-", "-")


def test_an_exact_law_is_one_number():
    assert table.exact_words(LogBracket(math.log(0.25), math.log(0.25), "a law")) == "0.75"


def test_every_verdict_that_is_not_holds_gets_a_sentence():
    (sentence,) = table.sentences([HOLDS, REFUTED])
    assert (
        "REFUTED: because; the conclusion is first true from width 99 on; replay the witness with `replay()`."
        in sentence
    )


def test_a_note_is_told_once():
    assert table.notes([HOLDS, REFUTED]) == ["theorem-10: Mind this."]


def test_no_verdict_is_shown_without_its_scope():
    narrow = dataclasses.replace(REFUTED, scope="pointwise")
    assert "theorem-10 (pointwise)" in table.row(narrow)[0]
    assert table.sentences([narrow])[0].startswith("theorem-10 (pointwise) on points")
    assert table.notes([narrow]) == ["theorem-10 (pointwise): Mind this."]


def test_the_summary_counts_outcomes():
    assert table.summary([HOLDS, HOLDS, REFUTED]) == "2 HOLDS, 1 REFUTED"


def test_json_knows_no_infinity():
    record = dataclasses.replace(HOLDS, exact=LogBracket(-math.inf, 0.0, "a law")).as_json()
    assert record["exact"]["lower"] == "-inf"
    assert record["outcome"] == "HOLDS"
    assert record["measured"]["failure_interval"][0] < 0.015 < record["measured"]["failure_interval"][1]
    json.dumps(record, allow_nan=False)


@pytest.mark.parametrize("granted", [8.0, 5e6, None])
def test_a_figure_names_a_far_width_instead_of_stretching_the_axis(granted):
    verdict = dataclasses.replace(HOLDS, granted_log_width=granted)
    figure = figures.statement_figure({"points": (CURVES, [verdict])})
    axis = figure.axes[0]
    assert ("the proof grants it from width" in axis.get_title(loc="right")) == (granted == 5e6)
    assert axis.get_xlim()[1] < 10
    assert axis.get_title(loc="left") == "points"


def test_a_measurement_without_failures_is_an_upper_limit():
    silent = dataclasses.replace(HOLDS, measured=Measurement(Proportion(0, 100), 1e-3, "simulation", 5))
    figure = figures.statement_figure({"-": (CURVES, [silent])})
    markers = [line.get_marker() for line in figure.axes[0].lines]
    assert "v" in markers
    assert "o" not in markers
    assert figure.axes[0].get_title(loc="left") == ""


def test_the_same_figure_gives_the_same_svg():
    first, second = (figures.as_svg(figures.statement_figure({"p": (CURVES, [HOLDS])})) for _ in range(2))
    assert first == second
    assert first.startswith("<svg")


def test_a_page_escapes_what_it_is_given(tmp_path):
    from kwta_theory.report import html

    verdict = dataclasses.replace(HOLDS, inputs="<b>&", reason="<script>")
    page = html.render({"theorem-10": {"<b>&": (CURVES, [verdict])}}, STATEMENTS, {"seed": 0}, 1e-3)
    assert "<script>" not in page
    assert "&lt;b&gt;&amp;" in page


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "v.json"
    files.write_json(path, [HOLDS], Settings(), complete=True)
    before = path.read_text()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_json(path, [REFUTED], Settings(), complete=True)
    assert path.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.json"]


def test_a_place_that_cannot_be_written_is_refused_beforehand(tmp_path, monkeypatch):
    files.check_writable(tmp_path / "new.json")
    with pytest.raises(InvalidArgumentError, match="is a directory"):
        files.check_writable(tmp_path)
    with pytest.raises(InvalidArgumentError, match="its directory does not exist"):
        files.check_writable(tmp_path / "no" / "v.json")
    with pytest.raises(InvalidArgumentError, match="is not a directory"):
        files.check_folder(tmp_path / "no")
    files.check_folder(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere, so permission is made up
    with pytest.raises(InvalidArgumentError, match="permission is denied"):
        files.check_writable(tmp_path / "new.json")
    with pytest.raises(InvalidArgumentError, match="permission is denied"):
        files.check_folder(tmp_path)


def test_the_number_of_workers_is_not_part_of_what_fixes_a_run():
    assert files.described(Settings(workers=1)) == files.described(Settings(workers=7))
