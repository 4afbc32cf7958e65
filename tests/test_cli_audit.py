"""kwta audit as a person meets it: streams, files, exit codes, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import commands
import numpy as np
import pytest
import torch
from torch import nn

from kwta_theory import KWTA, cli_audit
from kwta_theory.audit import audit, figures, text
from kwta_theory.networks import Architecture, load
from kwta_theory.networks.training import recipe, train
from kwta_theory.networks.training.trainer import CHECKPOINT

kwta, refused = commands.of("audit")
ROUTER = """
import torch
from torch import nn
from kwta_theory import KWTA

class Holder:
    value = 3

def build():
    layer = nn.Linear(6, 8, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.arange(48.0).sin().view(8, 6))
    return nn.Sequential(layer, KWTA(2 / 8), nn.Softmax(1))

def broken():
    raise LookupError("no weights\\nat all")

ready = build()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network of kwta train, samples for it, a network in code, samples for that."""
    place = tmp_path_factory.mktemp("audit")
    small = Architecture("mlp", "kwta-0.2", channels=1, image_size=8, hidden=20)
    train(small, load("digits"), recipe("natural", "digits", epochs=1), place / "run", seed=0)
    np.save(place / "X.npy", load("digits").test.first(40).images().numpy())
    np.save(place / "tokens.npy", np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32))
    (place / "router.py").write_text(ROUTER)
    return place


def test_a_run_prints_tables_and_writes_everything(folder, tmp_path):
    file = tmp_path / "o.json"
    result = kwta(folder / "run", "--inputs", folder / "X.npy", "--json", file, "--figures", tmp_path, "--lines", "10")
    assert result.exit_code == 0, result.output
    told = json.loads(file.read_text())
    assert told["checkpoint"] == str(folder / "run")
    assert (told["samples"], told["lines"], told["norm"], told["seed"], told["error"]) == (40, 10, "euclidean", 0, 1e-3)
    from kwta_theory.networks.training import load_network

    model, _ = load_network(folder / "run" / CHECKPOINT)
    found = audit(model, np.load(folder / "X.npy"), lines=10)
    expected = text.as_json(found)
    assert {name: told[name] for name in expected} == json.loads(json.dumps(expected))
    assert told["notes"] == text.notes(found)
    layer = told["layers"][0]
    assert len(layer["units"]["wins"]) == layer["width"]
    assert sum(layer["units"]["wins"]) == 40 * layer["winners"]
    assert layer["flips"]["upper_is_exact"] is True
    # What is printed are these numbers.
    assert f"{100 * layer['overlap']['difference']['value']:+.1f}" in result.stdout
    assert f"{layer['flips']['median_upper']['value']:.3g}" in result.stdout
    for name in ("float64", "float32", "float16", "bfloat16"):
        assert name in result.stdout
    assert max(map(len, result.stdout[: result.stdout.index("Note.")].splitlines()[1:])) <= 100
    assert {path.name for path in tmp_path.glob("*.png")} == {"overlap.png", "flips.png", "units.png", "ties.png"}
    assert result.stderr.splitlines()[0].startswith("0 s  patterns: 0 of 40 samples")


def test_options_change_something(folder, tmp_path):
    def told(*options):
        file = tmp_path / "o.json"
        result = kwta(
            f"{folder / 'router.py'}:build", "--inputs", folder / "tokens.npy", "--json", file, "--quiet", *options
        )
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        return json.loads(file.read_text())

    base = told()
    assert base["lines"] == 50  # no more than there are samples
    assert base["layers"][0]["overlap"]["law"] == "exact"
    assert told("--radius", "2")["radius"] == 2
    assert told("--norm", "maximum")["norm"] == "maximum"
    assert told("--lines", "3")["lines"] == 3
    assert told("--lines", "0")["layers"][0]["flips"] is None
    assert told("--seed", "1")["layers"][0]["overlap"]["cosine"] != base["layers"][0]["overlap"]["cosine"]
    assert told("--error", "0.5")["layers"][0]["units"]["dead_bound"] < base["layers"][0]["units"]["dead_bound"]
    assert told("--batch-size", "7")["layers"] == told("--device", "cpu")["layers"] == base["layers"]


def test_without_lines_there_is_no_figure_of_them(folder, tmp_path):
    result = kwta(folder / "run", "--inputs", folder / "X.npy", "--figures", tmp_path, "--lines", "0", "--quiet")
    assert result.exit_code == 0
    assert not (tmp_path / "flips.png").exists()
    assert "Distances were not measured: no lines were asked for (lines=0)." in result.stdout


def test_networks_in_code(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for given in (f"{folder / 'router.py'}:ready", "router.py:build", "router:build"):
        result = kwta(given, "--inputs", "tokens.npy", "--quiet")
        assert result.exit_code == 0, result.output
        assert "KWTA" in result.stdout
    refused(2, "'router:gone': 'router' has no 'gone'", "router:gone", "--inputs", "tokens.npy")
    refused(2, "raised LookupError: no weights", "router.py:broken", "--inputs", "tokens.npy")
    refused(2, "gave a int: it must give a torch.nn.Module", "router.py:Holder.value", "--inputs", "tokens.npy")
    refused(2, "'gone.py' does not exist", "gone.py:build", "--inputs", "tokens.npy")
    refused(2, "cannot be imported: ModuleNotFoundError", "no_such_module_here:build", "--inputs", "tokens.npy")
    Path("wrong.py").write_text("1 / 0")
    refused(2, "'wrong.py' cannot be imported: ZeroDivisionError", "wrong.py:build", "--inputs", "tokens.npy")


def test_checkpoints_that_are_none(folder, tmp_path):
    refused(1, "does not exist", tmp_path / "nothing.pt", "--inputs", folder / "X.npy")
    other = tmp_path / "other.pt"
    torch.save({"model": {}}, other)
    refused(1, "was not written by kwta_theory", other, "--inputs", folder / "X.npy")


def test_inputs_that_are_none(folder, tmp_path):
    def wrong(message, array=None, content=None):
        file = tmp_path / "W.npy"
        if content is None:
            np.save(file, array, allow_pickle=True)
        else:
            file.write_bytes(content)
        refused(2, message, folder / "run", "--inputs", file)

    x = np.load(folder / "X.npy")
    whole = (folder / "X.npy").read_bytes()
    refused(2, "does not exist or is not an ordinary file", folder / "run", "--inputs", tmp_path / "no.npy")
    refused(2, "is a directory", folder / "run", "--inputs", tmp_path)
    wrong("is not a .npy file: write the samples", content=b"hello")
    wrong("is damaged", content=whole[:-8])
    wrong("is damaged", content=whole[:20])
    wrong("holds pickled Python objects, which are never loaded", np.array([{}]))
    wrong("holds complex64", x.astype(np.complex64))
    wrong("holds bool", x > 0)
    wrong("holds <U1", np.array([["a"]]))
    wrong("NaN or infinity in sample 2", np.where(np.arange(40)[:, None, None, None] == 2, np.nan, x))
    wrong("n must be at least 2", x[:1])
    wrong(r"shape \(40, 64\), and the network takes \(n, 1, 8, 8\)", x.reshape(40, 64))
    assert kwta(folder / "run").exit_code == 2


def test_bad_use_is_a_sentence(folder, tmp_path):
    run = (folder / "run", "--inputs", folder / "X.npy")
    refused(2, r"radius=-1\.0 is not allowed", *run, "--radius", "-1")
    refused(2, "norm='l2' is not allowed", *run, "--norm", "l2")
    refused(2, "lines=-1 is not allowed", *run, "--lines", "-1")
    refused(2, "error=2.0 is not allowed", *run, "--error", "2")
    refused(2, "seed=-1 is not allowed", *run, "--seed", "-1")
    refused(2, "batch_size=1 is not allowed", *run, "--batch-size", "1")
    refused(2, "device='abacus' is not there", *run, "--device", "abacus")
    refused(2, "is a directory: a file name is needed", *run, "--json", tmp_path)
    refused(2, "is not a directory", *run, "--figures", tmp_path / "none")


def test_a_network_without_top_k_is_told_what_it_has(tmp_path, folder):
    train(
        Architecture("mlp", "relu", channels=1, image_size=8, hidden=8, classes=10),
        load("digits"), recipe("natural", "digits", epochs=1), tmp_path / "r",
    )  # fmt: skip
    refused(2, r"without a kwta_theory.KWTA or LWTA: it has ReLU \(\d+\)", tmp_path / "r", "--inputs", folder / "X.npy")


def test_other_pixels_are_noted(folder, tmp_path):
    np.save(tmp_path / "bytes.npy", (255 * np.load(folder / "X.npy")).astype(np.uint8))
    result = kwta(folder / "run", "--inputs", tmp_path / "bytes.npy", "--lines", "0", "--quiet")
    assert result.exit_code == 0
    assert "trained on pixels in [0, 1]; these inputs go from 0 to 255." in result.stdout


def test_an_interrupt_is_a_sentence(folder, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("kwta_theory.audit.audit", interrupted)
    result = kwta(folder / "run", "--inputs", folder / "X.npy")
    assert (result.exit_code, result.stderr) == (130, "kwta audit: interrupted.\n")


def test_progress_waits_between_lines(capsys, monkeypatch):
    say = cli_audit.progress(quiet=False)
    say("first")
    say("second")
    monkeypatch.setattr(cli_audit, "QUIET_SECONDS", -1.0)
    say("third")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split("s  ")[1] for line in captured.err.splitlines()] == ["first", "third"]
    assert cli_audit.progress(quiet=True) is None


def test_notes_say_what_is_left_out():
    class OnlyDouble(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.act = torch.ones(12, 6, dtype=torch.float64).cumsum(0).sin(), KWTA(0.25)

        def forward(self, x):
            return self.act(nn.functional.layer_norm(x, (6,)) @ self.weight.T)

    x = np.random.default_rng(0).standard_normal((10, 6))
    said = " ".join(text.notes(audit(OnlyDouble(), x)))
    assert "Distances were not measured: " in said
    assert "The network does not run in float16: " in said
    x[0] = 0.0
    model = nn.Sequential(nn.Linear(6, 4, bias=False), KWTA(0.5), nn.Linear(4, 200), KWTA(0.4)).double()
    said = " ".join(text.notes(audit(model, x)))
    assert "Pairs left out because an input of the layer is zero: 1: 1" in said
    assert "Distance 0: the sample is tied" in said
    assert "only an upper bound" in said
    assert "Law of a large width" in said
    x[1] = 1e6
    found = audit(KWTA(0.5), x)
    said = " ".join(text.notes(found))
    assert "cosines are those of the values it compares" in said
    assert "* Some samples give infinity or NaN" in said
    assert "upper bound of the distance" not in said


def test_at_most_six_layers_are_drawn():
    layers = [part for _ in range(7) for part in (nn.Linear(6, 6), KWTA(0.5))]
    found = audit(nn.Sequential(*layers), np.random.default_rng(0).standard_normal((10, 6)), lines=2)
    figure = figures.overlap(found)
    assert sum(axis.get_visible() for axis in figure.axes) == 6
    assert "The first 6 of 7 layers" in figure.texts[0].get_text()
