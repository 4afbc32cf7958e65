"""The paper's numbers as data: complete, as printed, and where they contradict each other."""

from __future__ import annotations

import collections
import json
import pathlib

import pytest

import kwta_theory.robustness
from kwta_theory.attacks.foolbox_attacks import CARLINI_WAGNER, DEEPFOOL, MIM, PGD_20, PGD_40
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks import activation_factory
from kwta_theory.networks.architectures import ARCHITECTURES
from kwta_theory.networks.training import EPSILON, METHODS, recipe
from kwta_theory.robustness import paper


def test_every_row_is_there_once():
    assert [len(paper.rows(table)) for table in paper.TABLES] == [24, 30, 16, 8]
    for table in paper.TABLES:
        keys = [(r.data, r.model, r.activation, r.training, r.source) for r in paper.rows(table)]
        assert len(set(keys)) == len(keys)
        for row in paper.rows(table):
            activation_factory(row.activation)
            assert row.model in ARCHITECTURES
            assert row.training in METHODS
            assert (row.source is None) == (table != "3") == (row.clean is not None)
            assert set(row.attacks) == ({"pgd", "cw", "deepfool", "mim", "transfer"} if table == "1" else set())
            assert all(0 <= value <= 100 for value in (row.robust, *row.attacks.values()))
    table_1 = collections.Counter((r.data, r.training, r.activation) for r in paper.rows("1"))
    assert len(table_1) == 2 * 4 * 3


def test_sums_of_the_columns_as_added_up_by_hand():
    """Sums over the printed columns, by a route that does not read the file: a slip in any digit changes one."""
    cifar = [r for r in paper.rows("1") if r.data == "cifar10"]
    clean = 92.9 + 89.3 + 91.7 + 83.5 + 78.9 + 81.4 + 79.7 + 76.6 + 80.4 + 82.6 + 78.4 + 82.8
    pgd = 0 + 13.3 + 4.2 + 46.3 + 51.4 + 48.4 + 49.8 + 55.0 + 51.5 + 42.7 + 51.7 + 48.4
    mim = 0 + 13.1 + 3.9 + 45.9 + 50.7 + 47.4 + 49.9 + 57.5 + 53.4 + 41.6 + 49.1 + 46.7
    black = 18.9 + 62.6 + 66.8 + 71.0 + 73.4 + 73.5 + 70.6 + 72.3 + 74.7 + 73.4 + 72.3 + 76.8
    assert sum(r.clean or 0 for r in cifar) == pytest.approx(clean)
    for name, total in (("pgd", pgd), ("mim", mim), ("transfer", black)):
        assert sum(r.attacks[name] for r in cifar) == pytest.approx(total)
    assert sum(r.robust for r in paper.rows("3")) == pytest.approx(
        4.8 + 75.5 + 59.4 + 84.7 + 61.2 + 71.2 + 67.8 + 86.4 + 62.7 + 80.9 + 61.6 + 78.6 + 79.2 + 78.6 + 69.2 + 67.2
    )
    assert [r.robust for r in paper.rows("4")] == [0.0, 95.0, 96.0, 94.7, 62.2, 96.4, 96.9, 96.0]
    assert [r.clean for r in paper.rows("4")] == [99.4, 99.2, 99.2, 98.2, 99.3, 99.2, 99.0, 98.1]


def test_a_few_numbers_of_each_table():
    row = paper.find("1", "svhn", "resnet18", "kwta-0.1", "at")
    assert row is not None
    assert (row.clean, row.robust) == (79.9, 56.9)
    assert row.attacks == {"pgd": 62.2, "cw": 65.7, "deepfool": 71.5, "mim": 56.9, "transfer": 76.1}
    wide = paper.find("2", "cifar10", "wrn-22-10", "lwta-5", "natural")
    assert wide is not None
    assert (wide.clean, wide.robust) == (86.1, 2.8)
    assert wide.title == "Table 2, cifar10 wrn-22-10 lwta-5 natural"
    assert paper.find("4", "mnist", "mlp", "relu", "at") is None
    crossed = {(r.activation, r.training, r.source): r.robust for r in paper.rows("3")}
    assert crossed["kwta-0.1", "at", ("relu", "natural")] == 79.2
    assert crossed["relu", "natural", ("kwta-0.1", "at")] == 84.7


def test_settings_are_those_that_the_attacks_and_recipes_have():
    settings = paper.record()["settings"]
    for data, epsilon in settings["epsilon"].items():
        assert EPSILON[data] == epsilon
    for name, attack in (("pgd", PGD_40), ("pgd_mnist", PGD_20), ("mim", MIM)):
        said = settings["attacks"][name]
        assert (said["steps"], said["step_size"]) == (attack.settings["steps"], attack.settings["abs_stepsize"])
    said = settings["attacks"]["cw"]
    used = CARLINI_WAGNER.settings
    assert (said["binary_search_steps"], said["steps"], said["step_size"], said["initial_const"]) == (
        used["binary_search_steps"],
        used["steps"],
        used["stepsize"],
        used["initial_const"],
    )
    said = settings["attacks"]["deepfool"]
    assert (said["steps"], said["candidates"]) == (DEEPFOOL.settings["steps"], DEEPFOOL.settings["candidates"])
    colour = settings["training"]["colour"]
    found = recipe("at", "cifar10", scale="paper")
    assert [list(pair) for pair in found.learning_rates] == colour["learning_rates"]
    assert (found.epochs, found.batch_size, found.momentum) == (80, 256, colour["momentum"])
    assert (found.attack_steps, found.trades_beta, found.replays) == (8, 6, 8)
    mnist = recipe("natural", "mnist", scale="paper")
    assert (mnist.epochs, mnist.learning_rates) == (settings["training"]["mnist"]["epochs"], ((0, 0.01),))


def test_the_contradictions_are_found_and_no_others():
    found = paper.inconsistencies()
    least = [sentence for sentence in found if "A_rob is" in sentence]
    assert least == [
        "Table 1, cifar10 resnet18 kwta-0.2 natural: A_rob is 4.2 %, and the column mim 3.9 %.",
        "Table 1, svhn resnet18 relu free: A_rob is 40.8 %, and the column mim 39.9 %.",
    ]
    black = [sentence for sentence in found if "transfer leaves" in sentence]
    assert len(black) == 8
    assert all("deepfool" in sentence for sentence in black)
    assert len([sentence for sentence in black if "kwta" in sentence]) == 7
    crossed = [sentence for sentence in found if sentence.startswith("Table 3")]
    assert len(crossed) == 2
    assert len(found) == len(least) + len(black) + len(crossed)


def test_a_planted_slip_is_found(monkeypatch):
    """Negative control: the checks see a wrong digit in each kind of place."""
    good = paper.record()

    def slip(table: str, index: int, **changes: object) -> set[str]:
        wrong = json.loads(json.dumps(good))
        wrong["tables"][table]["rows"][index].update(changes)
        monkeypatch.setattr(paper, "_read", lambda: wrong)
        return set(paper.inconsistencies()) - set(before)

    before = paper.inconsistencies()
    assert any("A_rob is 1 %" in sentence for sentence in slip("1", 0, robust=1.0))
    assert any("exceed" in sentence for sentence in slip("4", 0, robust=99.5))
    assert any("Table 1 has 92.9" in sentence for sentence in slip("2", 0, clean=93.0))
    assert any("not better in both" in sentence for sentence in slip("2", 1, robust=99.0))
    assert any("no k-WTA beside it" in sentence for sentence in slip("2", 1, activation="lwta-7"))
    assert any("the ReLU target" in sentence for sentence in slip("3", 4 + 2, robust=1.0))
    assert any("from ReLU" in sentence for sentence in slip("3", 8 + 1, robust=1.0))


def test_the_figures_claims_name_their_sections():
    record = paper.record()
    sections = {name: figure["section"] for name, figure in record["figures"].items()}
    assert sections == {"1": "1", "3": "3", "4": "4.2", "5": "4.3", "6": "D.2", "7": "D.5"}
    assert record["figures"]["4"]["epsilon_meant"] == record["settings"]["epsilon"]["cifar10"]
    for found in (*record["figures"].values(), *record["tables"].values(), *record["claims"].values()):
        assert found["section"]
    record["tables"].clear()
    assert paper.record()["tables"]  # a copy was handed out


def test_the_file_is_shipped_beside_the_module():
    assert (pathlib.Path(kwta_theory.robustness.__file__).parent / "paper.json").is_file()


def test_other_tables_are_refused():
    with pytest.raises(InvalidArgumentError, match="table='5' is not known"):
        paper.rows("5")
