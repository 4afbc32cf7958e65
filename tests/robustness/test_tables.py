"""Tables: columns, intervals, comparisons by routes of their own; kept results; files; the command line."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest
import torch
from scipy import stats

from kwta_theory.attacks import Ascent
from kwta_theory.attacks.foolbox_attacks import MIM, PGD_20, PGD_40, Foolbox
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks import Architecture, Dataset, load
from kwta_theory.networks.training import Options
from kwta_theory.robustness import table_files, table_script, tables
from kwta_theory.robustness.zoo import training

DIGITS = load("digits")
FEW = Dataset("digits", DIGITS.train.first(300), DIGITS.test.first(24), "300 digits")
N = 12


def network(activation: str = "relu", seed: int = 0):
    return training(
        Architecture("mlp", activation, image_size=8, hidden=16),
        "digits",
        "natural",
        seed=seed,
        epochs=2,
        batch_size=20,
    )


def line(activation: str = "relu", **changes) -> tables.Line:
    parts = {
        "training": network(activation),
        "attacks": {"pgd": dataclasses.replace(PGD_20, settings={"steps": 3, "abs_stepsize": 0.02})},
        "published": {"clean": 90.0, "pgd": 1.0, "robust": 1.0},
        "epsilon": 0.05,
        "twin": ("natural",),
    }
    return tables.Line(**(parts | changes))


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    for module in (tables, table_script):
        monkeypatch.setattr(module, "adaptive_attacks", lambda: (Ascent("short", steps=4),))


@pytest.fixture
def bench(tmp_path) -> tables.Bench:
    said: list[str] = []
    made = tables.Bench(tmp_path, n=N, options=Options(device="cpu"), say=said.append)
    made.said = said
    made._images["digits"] = FEW
    return made


def of(rows: list[tables.Row], column: str) -> tables.Row:
    (row,) = [row for row in rows if row["column"] == column]
    return row


def test_the_columns_of_a_line(bench):
    rows = tables.measured(line(), bench)
    assert [row["column"] for row in rows] == ["clean", "pgd", "robust", "adaptive"]
    clean, pgd, robust, adaptive = rows
    # By a second route: the network's own predictions, and a binomial interval by scipy.
    model = bench.network(network())
    right = (model(FEW.test.first(N).images()).argmax(1) == FEW.test.first(N).labels).int().tolist()
    assert clean["images"] == "".join(map(str, right))
    assert 1 <= sum(right) == clean["correct"]
    exact = stats.binomtest(sum(right), N).proportion_ci(0.95, "exact")
    assert (clean["lower"], clean["upper"]) == pytest.approx((100 * exact.low, 100 * exact.high), abs=0.006)
    assert clean["measured"] == pytest.approx(100 * sum(right) / N, abs=0.006)
    assert clean["difference"] == pytest.approx(clean["measured"] - 90, abs=0.006)
    assert clean["explained"] == (100 * exact.low <= 90 <= 100 * exact.high)
    assert robust["images"] == pgd["images"]
    assert adaptive["paper"] is None
    assert adaptive["explained"] is None
    for row in rows:  # nothing is right under attack that is wrong without
        assert all(a <= b for a, b in zip(row["images"], clean["images"], strict=True))
    assert all(a <= b for a, b in zip(adaptive["images"], robust["images"], strict=True))
    assert adaptive["correct"] <= robust["correct"]
    assert "pgd-20" in adaptive["attack"]
    assert "short" in adaptive["attack"]


def test_robust_is_the_lowest_column_and_adaptive_the_worst_of_each_image(bench, monkeypatch):
    """The attacks are replaced by what they would have left."""
    left = {"pgd-40": "110000", "mim": "001100", "short": "111001"}

    def attacked(line, model, attack, bench):
        bits = [int(bit) for bit in left[attack.name]]
        parts = {"attack": attack.name, "cpu_seconds": 1.0, "forward_passes": 2.0}
        return {**parts, "images": bits, "correct": sum(bits), "clean": {"images": [1] * 6, "correct": 6}}

    monkeypatch.setattr(tables, "_attacked", attacked)
    for mim, lowest in (("001100", "pgd-40"), ("100000", "mim")):
        left["mim"] = mim
        rows = tables.measured(line(attacks={"pgd": PGD_40, "mim": MIM}), bench)
        assert of(rows, "robust")["attack"] == f"the lowest column: {lowest}"
        assert of(rows, "robust")["images"] == left[lowest]
        worst = "".join(str(int(a == b == c == "1")) for a, b, c in zip(*left.values(), strict=True))
        assert of(rows, "adaptive")["images"] == worst
        assert of(rows, "adaptive")["cpu_seconds_per_image"] == 3.0
        assert of(rows, "adaptive")["forward_passes_per_image"] == 6.0


def test_what_was_measured_is_read_again_and_nothing_else_is(bench, monkeypatch):
    first = tables.measured(line(), bench)
    said = len(bench.said)
    assert tables.measured(line(), bench) == first
    assert len(bench.said) == said

    def forbidden(*args, **kwargs):
        raise AssertionError("attacked again")

    monkeypatch.setattr(tables, "evaluate", forbidden)
    assert tables.measured(line(), bench) == first
    changes = [
        (line(epsilon=0.06), {}),
        (line(), {"seed": 1}),
        (line(), {"n": N - 1}),
        (line(), {"batch_size": 5}),
        (line(attacks={"pgd": PGD_20}), {}),
        (line(training=network(seed=1)), {}),
    ]
    for changed, parts in changes:
        other = dataclasses.replace(bench, **parts)
        with pytest.raises(AssertionError, match="attacked again"):
            tables.measured(changed, other)


def test_more_images_than_there_are_is_all_of_them(bench):
    bench.n = None
    assert of(tables.measured(line(), bench), "clean")["n"] == len(FEW.test)
    bench.n = 10_000
    assert of(tables.measured(line(), bench), "clean")["n"] == len(FEW.test)


def test_sources_are_columns_and_count_in_the_worst_case(bench):
    given = line(attacks={}, sources={"transfer": network(seed=5)}, published={"transfer": 3.0, "robust": 3.0})
    rows = tables.measured(given, bench)
    assert [row["column"] for row in rows] == ["clean", "transfer", "robust", "adaptive"]
    assert of(rows, "transfer")["paper"] == 3.0
    assert of(rows, "adaptive")["attack"].count("seed 5") == 2  # the paper's PGD and the attack made for it
    assert len(list((bench.results / "networks").iterdir())) == 2


def test_attacks_of_appendix_d1_in_proportion_to_the_ball():
    assert tables.colour_attacks(0.031)["pgd"] is PGD_40
    assert tables.colour_attacks(0.047)["mim"] is MIM
    for epsilon in (0.062, 0.2):
        for name in ("pgd", "mim"):
            scaled, printed = tables.colour_attacks(epsilon)[name], tables.colour_attacks(0.031)[name]
            assert scaled.settings["abs_stepsize"] / epsilon == pytest.approx(0.003 / 0.031, rel=1e-3)
            assert scaled.settings["steps"] == printed.settings["steps"]
            assert scaled.name == printed.name
    assert list(tables.mnist_attacks()) == ["pgd"]


def test_networks_of_tables_1_to_3():
    paper = tables.colour_network("wrn-22-10", "cifar10", "natural", "kwta-0.1", "paper", 0)
    assert (paper.recipe.epochs, paper.architecture.width_factor) == (90, 1.0)  # 50 epochs, 20 steps of 2 epochs
    small = tables.colour_network("wrn-22-10", "cifar10", "natural", "kwta-0.1", "small", 3)
    assert (small.data, small.seed, small.architecture.width_factor) == ("digits", 3, 0.1)
    assert small.recipe.sparsity_ratios[0] == (0, 0.2)
    assert small.recipe.sparsity_ratios[-1][1] == 0.1
    for method, activation in (("at", "kwta-0.1"), ("natural", "kwta-0.2"), ("natural", "relu")):
        found = tables.colour_network("resnet18", "svhn", method, activation, "small", 0)
        assert found.recipe.sparsity_ratios == ()
        assert found.recipe.epochs == tables.SMALL_EPOCHS[method]


def row(activation: str, column: str, images: str, published: float | None, twin: str = "at") -> tables.Row:
    return {
        "activation": activation, "column": column, "images": images, "paper": published, "twin": twin,
        "network": f"{activation} net", "measured": 100 * images.count("1") / len(images),
    }  # fmt: skip


def test_orderings_are_sign_tests_on_the_same_images():
    ours, theirs = "1" * 12 + "0" * 2 + "1" * 6, "0" * 12 + "1" * 2 + "1" * 6
    rows = [
        row("relu", "robust", theirs, 10.0), row("kwta-0.1", "robust", ours, 30.0),
        row("relu", "adaptive", ours, None), row("kwta-0.1", "adaptive", theirs, None),
        row("relu", "clean", theirs, None), row("kwta-0.1", "clean", ours, None),
        row("relu", "pgd", theirs, 10.0), row("kwta-0.1", "pgd", theirs, 30.0),
        row("kwta-0.2", "pgd", theirs, 30.0, twin="alone"),
    ]  # fmt: skip
    robust, adaptive, clean, pgd = tables.orderings(rows)
    # 2 * sum_{k <= 2} C(14, k) / 2^14 by hand
    assert robust["p_value"] == pytest.approx(2 * (1 + 14 + 91) / 2**14, rel=0.05)
    assert (robust["only_first"], robust["only_second"], robust["paper"]) == (12, 2, 20.0)
    assert robust["said"] == "as in the paper"
    # the adaptive column is held against the paper's claim about the worst case
    assert (adaptive["paper"], adaptive["said"], adaptive["measured"]) == (20.0, "the other way round", -50.0)
    assert (clean["paper"], clean["said"]) == (None, "higher")
    assert (pgd["p_value"], pgd["said"]) == (1.0, "undecided")


def test_a_small_split_decides_nothing():
    """Negative control for the p-value: 5 of 5 are not enough for 0.05 on two sides, 6 of 6 are."""
    for size, said in ((5, "undecided"), (6, "as in the paper")):
        rows = [row("relu", "robust", "0" * size, 1.0), row("kwta-0.1", "robust", "1" * size, 2.0)]
        assert tables.orderings(rows)[0]["said"] == said


def test_csv_and_markdown_of_a_table(bench):
    rows = tables.measured(line(), bench) + tables.measured(line("kwta-0.25"), bench)
    paths = table_files.write("table_9", rows, bench.results / "out")
    assert [path.name for path in paths] == ["table_9.csv", "table_9_orderings.csv", "table_9.md"]
    again = table_files.read_csv(paths[0].read_text())
    assert len(again) == len(rows) == 8
    # The page is made of the file: what is read back gives the same page and the same comparisons.
    assert table_files.page(again, tables.orderings(again)) == paths[2].read_text()
    assert len(list(csv.DictReader(io.StringIO(paths[1].read_text())))) == 4
    text = paths[2].read_text()
    head = text.splitlines()[0]
    assert head == "| training | activation | A_std | PGD | A_rob | adaptive |"
    clean = rows[0]
    assert f"{clean['measured']:.1f} [{clean['lower']:.0f}, {clean['upper']:.0f}] (90" in text
    assert f"n = {N} test images" in text
    assert "epsilon 0.05" in text


def test_the_adaptive_column_stands_last_whatever_else_is_shown(bench):
    rows = tables.measured(line(sources={"transfer": network(seed=5)}, remark="odd"), bench)
    head = table_files.markdown(rows).splitlines()[0]
    assert head == "| training | activation | remark | A_std | PGD | BB | A_rob | adaptive |"
    assert head.endswith("| adaptive |")
    assert table_files.markdown([]) == "Nothing is measured yet.\n"
    assert table_files.as_csv([]) == ""


def test_a_star_says_that_the_interval_explains_the_difference(bench):
    rows = tables.measured(line(), bench)
    clean = of(rows, "clean")
    assert clean["explained"] == ("(90*)" in table_files.markdown(rows))
    for said, inside in ((clean["measured"], True), (clean["lower"] - 1, False)):
        rows = tables.measured(line(published={"clean": said}), bench)
        assert of(rows, "clean")["explained"] is inside
        words = table_files.in_words(of(rows, "clean"))
        assert ("within the interval" in words) == inside
        assert ("not explained" in words) != inside
    assert "paper" not in table_files.in_words(of(rows, "adaptive"))


def test_blocks_of_a_page_are_written_from_csv_files(bench, tmp_path):
    rows = tables.measured(line(), bench)
    folder = tmp_path / "docs"
    table_files.write("table_9", rows, folder)
    begin, end = table_files.block("table_9")
    page = f"before\n{begin}old\n{end}after\n"
    new = table_files.filled(page, folder)
    assert new.startswith("before\n" + begin)
    assert new.endswith(end + "after\n")
    assert "old" not in new
    assert table_files.markdown(table_files.read_csv((folder / "table_9.csv").read_text())) in new
    assert table_files.filled(new, folder) == new
    assert table_files.filled("no block\n", folder) == "no block\n"
    with pytest.raises(InvalidArgumentError, match="'table_9' of the page has no end"):
        table_files.filled(begin, folder)


def test_the_plan_names_every_training_once(bench):
    lines = (line(), line("kwta-0.25", sources={"transfer": network()}))
    text = table_script.planned("table_9", lines, 50)
    assert "table_9: 2 trainings" in text
    assert text.count("  train ") == 2
    assert "2 epochs, batch 20" in text
    assert text.count("  evaluate ") == 2
    assert "on 50 test images" in text
    assert "transfer from digits mlp hidden 16 relu natural, seed 0" in text
    assert text.count("adaptive: short") == 2
    assert "all test images" in table_script.planned("table_9", lines, None)
    with pytest.raises(InvalidArgumentError, match="n=0"):
        table_script.planned("table_9", lines, 0)


@pytest.fixture
def few_images(monkeypatch):
    def read(name, data_dir):
        assert (name, data_dir) == ("digits", None)
        return FEW

    monkeypatch.setattr(tables, "load", read)


def table(extras=None) -> tables.Table:
    def plan(scale, seed):
        pair = (line(), line("kwta-0.25"))
        return tuple(dataclasses.replace(one, training=dataclasses.replace(one.training, seed=seed)) for one in pair)

    return tables.Table("table_9", "A table.", plan, extras or {})


def test_the_command_line_trains_prints_and_writes(tmp_path, capsys, few_images):
    arguments = ["--results", str(tmp_path), "--n", "6", "--device", "cpu"]
    assert table_script.main(table(), arguments) == 0
    out, err = capsys.readouterr()
    assert "compare the order of networks, not the values" in out
    assert "difference" in out
    assert "epoch 2 of 2" in err
    assert "% left" in err
    assert str(tmp_path / "table_9" / "table_9.csv") in out
    assert table_script.main(table(), [*arguments, "--quiet"]) == 0
    again, err = capsys.readouterr()
    assert (again, err) == (out, "")
    rows = table_files.read_csv((tmp_path / "table_9" / "table_9.csv").read_text())
    assert {r["n"] for r in rows} == {6}
    # Each option changes something.
    assert table_script.main(table(), [*arguments, "--quiet", "--seed", "2", "--only", "kwta-0.25"]) == 0
    rows = table_files.read_csv((tmp_path / "table_9" / "table_9.csv").read_text())
    assert {(r["training_seed"], r["attack_seed"], r["activation"]) for r in rows} == {("2", "2", "kwta-0.25")}
    assert table_script.main(table(), [*arguments, "--quiet", "--scale", "paper", "--bfloat16"]) == 0
    assert (tmp_path / "table_9" / "table_9_paper.csv").exists()
    assert [d.name for d in (tmp_path / "networks").iterdir() if d.name.endswith("-bfloat16")]
    assert "compare the order" not in capsys.readouterr().out.rsplit("table_9_paper", 1)[1]


def test_only_what_is_trained_already(tmp_path, capsys, few_images):
    arguments = ["--results", str(tmp_path), "--n", "6", "--device", "cpu", "--quiet"]
    assert table_script.main(table(), [*arguments, "--finished"]) == 2
    assert "--finished leaves no line" in capsys.readouterr().err
    assert table_script.main(table(), [*arguments, "--only", "relu"]) == 0
    assert table_script.main(table(), [*arguments, "--finished"]) == 0
    rows = table_files.read_csv((tmp_path / "table_9" / "table_9.csv").read_text())
    assert {r["activation"] for r in rows} == {"relu"}
    assert len(list((tmp_path / "networks").iterdir())) == 1


def test_plan_and_extras(tmp_path, capsys):
    other = dataclasses.replace(table(), name="table_8", summary="Another.")
    both = table({"study": other})
    assert table_script.main(both, ["--plan", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("table_9: 2 trainings")
    assert table_script.main(both, ["--plan", "--study", "--n", "5", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("table_8")
    assert "on 5 test images" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--n", "0"], 2, "n=0 is not allowed"),
        (["--seed", "-1"], 2, "seed=-1 is not allowed"),
        (["--only", "tanh"], 2, "--only tanh leaves no line of: digits mlp"),
        (["--device", "abacus"], 2, "abacus"),
    ],
)
def test_bad_use_is_a_sentence(tmp_path, capsys, few_images, arguments, code, sentence):
    assert table_script.main(table(), ["--results", str(tmp_path), *arguments]) == code
    err = capsys.readouterr().err
    assert sentence in err
    assert err.startswith("table_9: ")


def test_missing_data_and_interruption_are_sentences(tmp_path, capsys, monkeypatch):
    def plan(scale, seed):
        return (line(training=training("mlp", "cifar10")),)

    wanting = tables.Table("table_9", "", plan)
    assert table_script.main(wanting, ["--results", str(tmp_path), "--data-dir", str(tmp_path)]) == 1
    assert "no CIFAR-10 in" in capsys.readouterr().err

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(table_script, "measured", interrupted)
    assert table_script.main(wanting, ["--results", str(tmp_path)]) == 130
    assert "interrupted; what was finished is in" in capsys.readouterr().err
    (tmp_path / "file").write_text("")

    def full(*_):
        raise OSError(28, "No space left on device", "there")

    monkeypatch.setattr(table_script, "measured", full)
    assert table_script.main(wanting, ["--results", str(tmp_path)]) == 1
    assert "'there': No space left on device." in capsys.readouterr().err


def test_what_is_kept_says_how_it_came_about(bench):
    tables.measured(line(), bench)
    kept = [json.loads(path.read_text()) for path in Path(bench.results / "evaluations").iterdir()]
    assert len(kept) == 2
    assert {told["network"] for told in kept} == {network().title}
    assert all(told["interval_error"] == 0.05 and told["images_digest"] for told in kept)


def test_foolbox_runs_with_other_steps():
    """The attack of the study is foolbox's own, with nothing but steps of another size."""
    released = Foolbox("x", PGD_20.attack, {**PGD_20.settings, "abs_stepsize": 0.01, "random_start": False})
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    x, y = FEW.test.first(4).images(), FEW.test.first(4).labels
    found = released.run(model, x, y, 0.3, seed=0)
    # Twenty steps of 0.01 from the image itself cannot leave the ball of radius 0.2.
    assert float((found.images - x).abs().max()) <= 0.2 + 1e-6
    assert float((PGD_20.run(model, x, y, 0.3, seed=0).images - x).abs().max()) > 0.25


def test_a_line_needs_columns_and_each_once():
    with pytest.raises(InvalidArgumentError, match="attacks is empty for digits mlp"):
        line(attacks={})
    with pytest.raises(InvalidArgumentError, match="column 'pgd' is an attack and a source"):
        line(sources={"pgd": network(seed=5)})
