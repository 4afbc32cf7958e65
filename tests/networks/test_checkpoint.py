"""Checkpoints: nothing in them is run, and a killed run ends where an undisturbed one does."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from kwta_theory.networks import Architecture, Dataset, Split, build, load
from kwta_theory.networks.training import (
    CheckpointError,
    Options,
    Recipe,
    TrainingError,
    load_checkpoint,
    load_network,
    train,
)
from kwta_theory.networks.training import trainer as training_loop
from kwta_theory.networks.training.checkpoint import save_checkpoint

MLP = Architecture("mlp", "kwta-0.25", image_size=8, hidden=16)
CPU = Options(device="cpu")
METHODS = ("natural", "at", "trades", "free")


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are synchronised against a loss of power; here hundreds of them would only take time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = load("digits")
    return Dataset(data.name, data.train.first(120), data.test.first(40), "a part of the digits")


def recipe(method: str = "natural", **changes: object) -> Recipe:
    given = {"epochs": 2, "batch_size": 40, "learning_rates": ((0, 0.05),), "attack_steps": 2, "replays": 3}
    given |= {} if method == "natural" else {"epsilon": 0.2}
    return Recipe(method, **given | changes)  # type: ignore[arg-type]


@pytest.fixture
def checkpoint(digits: Dataset, tmp_path: Path) -> Path:
    train(MLP, digits, recipe("free"), tmp_path / "run", seed=3, options=CPU)
    return tmp_path / "run" / "checkpoint.pt"


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


# What is in a file.


def test_a_checkpoint_holds_the_network_and_how_it_came_about(checkpoint: Path, digits: Dataset) -> None:
    network, record = load_network(checkpoint)
    again = train(MLP, digits, recipe("free"), checkpoint.parent, seed=3, options=CPU)  # nothing is left to do
    assert same(network, again)
    assert not network.training
    assert record["architecture"] == MLP.as_json()
    assert Recipe.of(record["recipe"]) == recipe("free")
    assert record["data"]["name"] == "digits"
    assert (record["seed"], record["epoch"], record["step"]) == (3, 2, 0)
    assert [row["epoch"] for row in record["metrics"]] == [1, 2]
    assert not {"model", "optimizer", "perturbation"} & set(record)
    full = load_checkpoint(checkpoint)
    assert full["perturbation"].shape == (40, 1, 8, 8)
    assert full["optimizer"]["state"]  # the momentum


class Spy:
    """Would create a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_file_that_would_run_code_is_refused_and_does_not_run(checkpoint: Path, tmp_path: Path) -> None:
    trace, evil = tmp_path / "it-ran", tmp_path / "evil.pt"
    spy = Spy(trace)
    record = load_checkpoint(checkpoint)
    for content in (spy, record | {"seconds": spy}, record | {"model": record["model"] | {"x": spy}}):
        torch.save(content, evil)
        for read in (load_checkpoint, load_network):
            with pytest.raises(CheckpointError, match=r"evil.pt' is refused: .* would run code"):
                read(evil)
    evil.write_bytes(pickle.dumps(spy))
    with pytest.raises(CheckpointError, match="is refused"):
        load_checkpoint(evil)
    assert not trace.exists()
    torch.save(spy, evil)
    torch.load(evil, weights_only=False).close()  # the control: it is indeed a file that runs code
    assert trace.exists()


def test_a_run_does_not_go_on_from_a_file_that_would_run_code(digits: Dataset, tmp_path: Path) -> None:
    trace, folder = tmp_path / "it-ran", tmp_path / "run"
    folder.mkdir()
    torch.save(Spy(trace), folder / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="would run code"):
        train(MLP, digits, recipe(), folder, options=CPU)
    assert not trace.exists()


def test_other_files_are_sentences(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist or is no ordinary file"):
        load_checkpoint(tmp_path / "nothing.pt")
    with pytest.raises(CheckpointError, match="does not exist or is no ordinary file"):
        load_checkpoint(tmp_path)
    record = load_checkpoint(checkpoint)
    other = tmp_path / "other.pt"
    for content, sentence in (
        ({"weights": torch.zeros(2)}, "was not written by kwta_theory"),
        (torch.zeros(2), "was not written by kwta_theory"),
        (record | {"version": 2}, "has version 2: this package reads version 1"),
        ({name: value for name, value in record.items() if name != "step"}, "'step' is missing or of the wrong type"),
        (record | {"metrics": "none"}, "'metrics' is missing or of the wrong type"),
    ):
        torch.save(content, other)
        with pytest.raises(CheckpointError, match=sentence):
            load_checkpoint(other)
    for content, sentence in (
        (record | {"architecture": MLP.as_json() | {"hidden": 17}}, "does not fit its architecture"),
        (record | {"architecture": MLP.as_json() | {"name": "oracle"}}, "does not fit its architecture: arch='oracle'"),
        (record | {"architecture": {"colour": 3}}, "does not fit its architecture"),
        (record | {"model": {"0.weight": 1}}, "does not fit its architecture"),
        (record | {"sparsity_ratio": 7.0}, "does not fit its architecture: sparsity_ratio"),
    ):
        torch.save(content, other)
        with pytest.raises(CheckpointError, match=sentence):
            load_network(other)
    for data in (b"", b"text", b"\x80\x02.", zipped(b"nothing"), checkpoint.read_bytes()[:5000]):
        other.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"other.pt' (cannot be read|is refused)"):
            load_checkpoint(other)


def zipped(data: bytes) -> bytes:
    import io

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("constants.pkl", data)
    return file.getvalue()


def test_damaged_bytes_never_end_in_anything_but_a_sentence(checkpoint: Path, tmp_path: Path) -> None:
    whole, damaged = checkpoint.read_bytes(), tmp_path / "damaged.pt"
    chance = random.Random(5)
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(20):
            # The pickled part comes first in the archive; tensors, whose damage nobody can see, later.
            data[chance.randrange(3000)] = chance.randrange(256)
        damaged.write_bytes(data)
        try:
            load_network(damaged)
        except CheckpointError:
            refused += 1
    assert refused > 30


def test_a_checkpoint_that_cannot_be_written_is_a_sentence(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoint.read_bytes()
    with pytest.raises(CheckpointError, match="cannot be written: No such file"):
        save_checkpoint(tmp_path / "nowhere" / "checkpoint.pt", {})

    def full(_: object, file: object) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file: No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"cannot be written: PytorchStreamWriter failed .* on device\."):
        save_checkpoint(checkpoint, {})
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir() if path.name.endswith(".new")] == []


def test_a_folder_that_cannot_be_made_is_a_sentence(digits: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="file' cannot be written: File exists"):
        train(MLP, digits, recipe(), tmp_path / "file", options=CPU)


# Going on.


class StopError(Exception):
    pass


def interrupted(monkeypatch: pytest.MonkeyPatch, after: int, *run: object, **options: object) -> None:
    """A run that fails after so many steps, before it has recorded the last of them."""
    step, count = training_loop._Run._one_step, iter(range(10**9))

    def one_step(run: training_loop._Run, index: torch.Tensor) -> None:
        step(run, index)
        if next(count) == after:
            raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(training_loop._Run, "_one_step", one_step)
        with pytest.raises(StopError):
            train(*run, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("every", [0.0, 1e9])
def test_an_interrupted_run_ends_in_the_same_weights(
    method: str, every: float, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of the six steps, with a checkpoint after every step and with one after every epoch only."""
    plan = recipe(method, natural_epochs=0.5, ramp_epochs=1) if method != "natural" else recipe(augment=True)
    told: list[dict] = []
    undisturbed = train(MLP, digits, plan, tmp_path / "whole", options=CPU, report=told.append)
    options = Options(device="cpu", checkpoint_seconds=every)
    for after in range(6):
        folder = tmp_path / f"{after}"
        interrupted(monkeypatch, after, MLP, digits, plan, folder, options=options)
        if every == 0 and after % 3:  # the step after which it stopped is not yet recorded
            assert load_checkpoint(folder / "checkpoint.pt")["step"] == after % 3
        again: list[dict] = []
        assert same(train(MLP, digits, plan, folder, options=options, report=again.append), undisturbed), after
        rows = load_checkpoint(folder / "checkpoint.pt")["metrics"]
        timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in found] for found in (rows, told)]
        assert timeless[0] == timeless[1]
        assert len((folder / "metrics.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("method", ["natural", "at", "trades", "free"])
def test_an_image_left_over_is_learned_with_two_others_where_there_is_batch_normalisation(
    method: str, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of five images in batches of two one is left, of 1 x 1 pixels after the last stage: alone it could not be."""
    small = Dataset(digits.name, digits.train.first(5), digits.test.first(5), "five of the digits")
    network = Architecture("resnet18", "kwta-0.5", image_size=8, width_factor=0.03)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        build(network, 0).train()(small.train.images(slice(0, 1)))  # the control
    plan = recipe(method, batch_size=2, epochs=1)
    undisturbed = train(network, small, plan, tmp_path / "whole", options=CPU)
    record = load_checkpoint(tmp_path / "whole" / "checkpoint.pt")
    if method == "free":  # the image that is one too many has a perturbation of its own
        assert record["perturbation"].shape == (3, 1, 8, 8)
        assert record["perturbation"][2].any()
    options = Options(device="cpu", checkpoint_seconds=0)
    for after in range(2):
        folder = tmp_path / f"{after}"
        interrupted(monkeypatch, after, network, small, plan, folder, options=options)
        assert same(train(network, small, plan, folder, options=options), undisturbed)


def test_what_a_checkpoint_keeps_is_needed(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a run that forgets momentum, perturbation or position ends elsewhere."""
    plan, options = recipe("free"), Options(device="cpu", checkpoint_seconds=0)
    undisturbed = train(MLP, digits, plan, tmp_path / "whole", options=CPU)
    for forget in ("optimizer", "perturbation", "step", None):
        folder = tmp_path / f"{forget}"
        interrupted(monkeypatch, 4, MLP, digits, plan, folder, options=options)
        record = load_checkpoint(folder / "checkpoint.pt")
        empty = {"optimizer": {**record["optimizer"], "state": {}}, "perturbation": None, "step": 0}
        if forget is not None:
            save_checkpoint(folder / "checkpoint.pt", record | {forget: empty[forget]})
        assert same(train(MLP, digits, plan, folder, options=options), undisturbed) == (forget is None)


def test_a_checkpoint_in_the_middle_of_an_epoch_has_its_sparsity_ratio(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = recipe(sparsity_ratios=((0, 0.5), (1, 0.25)))
    interrupted(monkeypatch, 4, MLP, digits, plan, tmp_path / "r", options=Options(device="cpu", checkpoint_seconds=0))
    network, record = load_network(tmp_path / "r" / "checkpoint.pt")
    assert (record["epoch"], record["step"], record["sparsity_ratio"]) == (1, 1, 0.25)
    assert {module.sparsity_ratio for module in network.modules() if hasattr(module, "sparsity_ratio")} == {0.25}
    whole = train(MLP, digits, plan, tmp_path / "w", options=CPU)
    assert same(train(MLP, digits, plan, tmp_path / "r", options=CPU), whole)


def test_more_epochs_go_on_and_fewer_are_refused(digits: Dataset, tmp_path: Path) -> None:
    train(MLP, digits, recipe(epochs=1), tmp_path / "r", options=CPU)
    longer = train(MLP, digits, recipe(epochs=3), tmp_path / "r", options=CPU)
    assert same(longer, train(MLP, digits, recipe(epochs=3), tmp_path / "whole", options=CPU))
    with pytest.raises(CheckpointError, match="has gone into epoch 3, and epochs=2 were asked for"):
        train(MLP, digits, recipe(epochs=2), tmp_path / "r", options=CPU)


def test_another_run_is_refused_with_the_difference(digits: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    network = train(MLP, digits, recipe("at"), folder, options=CPU)
    one_pixel = digits.train.pixels.clone()
    one_pixel[5, 0, 3, 3] ^= 1
    altered = Dataset("digits", Split(one_pixel, digits.train.labels, 16), digits.test, digits.description)
    for architecture, data, plan, seed, options, difference in (
        (MLP, digits, recipe("at"), 1, CPU, "its seed is 0, and 1 was asked for"),
        (MLP, digits, recipe("at", epsilon=0.1), 0, CPU, r"its recipe.epsilon is 0\.2, and 0\.1"),
        (MLP, digits, recipe("trades"), 0, CPU, "its recipe.method is 'at', and 'trades'"),
        (Architecture("mlp", image_size=8, hidden=16), digits, recipe("at"), 0, CPU, "its architecture.activation is"),
        (MLP, altered, recipe("at"), 0, CPU, "its data.digest is"),
        (MLP, digits, recipe("at"), 0, Options(device="cpu", bfloat16=True), "its options.bfloat16 is False"),
    ):
        with pytest.raises(CheckpointError, match=f"{difference}.* Choose another output directory"):
            train(architecture, data, plan, folder, seed=seed, options=options)
    assert same(network, load_network(folder / "checkpoint.pt")[0])


def test_weights_of_another_shape_are_refused_when_a_run_goes_on(digits: Dataset, checkpoint: Path) -> None:
    record = load_checkpoint(checkpoint)
    other = build(Architecture("mlp", "kwta-0.25", image_size=8, hidden=17)).state_dict()
    for changes in ({"model": other}, {"optimizer": {"state": {}, "param_groups": []}}):
        save_checkpoint(checkpoint, record | changes)
        with pytest.raises(CheckpointError, match="does not fit its architecture"):
            train(MLP, digits, recipe("free"), checkpoint.parent, seed=3, options=CPU)


def test_a_second_run_in_the_same_folder_is_refused(digits: Dataset, tmp_path: Path) -> None:
    caught: list[str] = []

    def second(_: object) -> None:
        try:
            train(MLP, digits, recipe(), tmp_path / "r", options=CPU)
        except TrainingError as error:
            caught.append(str(error))

    train(MLP, digits, recipe(), tmp_path / "r", options=CPU, report=second)
    assert caught == [f"another process is training in {str(tmp_path / 'r')!r}."] * 2


# Killed for good. One process is started, and it forks those that are killed: so torch is imported once.

SCRIPT = """
import json, os, pathlib, random, signal, sys, time
import torch
torch.set_num_threads(1)
from kwta_theory.networks import Architecture, Dataset, load
from kwta_theory.networks.training import Options, Recipe, load_checkpoint, train

os.fsync = lambda _: None  # against a loss of power; a signal loses nothing
root, chance = pathlib.Path(sys.argv[1]), random.Random(17)
data = load("digits")
data = Dataset(data.name, data.train.first(200), data.test.first(40), "a part of the digits")
architecture = Architecture("mlp", "kwta-0.25", image_size=8, hidden=16)

def start(method, folder):
    child = os.fork()
    if not child:
        epsilon = {} if method == "natural" else {"epsilon": 0.2, "natural_epochs": 0.5}
        plan = Recipe(method, 3, 20, ((0, 0.05), (2, 0.01)), attack_steps=2, replays=3, **epsilon)
        train(architecture, data, plan, folder, seed=5, options=Options(device="cpu", checkpoint_seconds=0))
        os._exit(0)
    return child

def state(path):
    try:
        return path.stat().st_mtime_ns, path.stat().st_ino
    except FileNotFoundError:
        return None

def kill_within(child, path, writes):
    # The moment: after so many further checkpoints, somewhere in a step or in the writing of the next file.
    seen, last = 0, state(path)
    while seen < writes and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        now = state(path)
        seen, last = seen + (now != last), now
    time.sleep(0.02 * chance.random())
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])

for method in ("natural", "at", "trades", "free"):
    folder, places = root / method, []
    assert os.waitpid(start(method, root / f"{method}-quiet"), 0)[1] == 0
    while len(places) < 4 and kill_within(start(method, folder), folder / "checkpoint.pt", chance.randrange(1, 9)):
        record = load_checkpoint(folder / "checkpoint.pt")
        places.append((record["epoch"], record["step"]))
    assert os.waitpid(start(method, folder), 0)[1] == 0
    print(json.dumps([method, places]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_killed_at_random_moments_and_started_again(tmp_path: Path) -> None:
    """SIGKILL at moments that no code can prepare for: the last weights are those of a quiet run, bit for bit."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [method for method, _ in lines] == list(METHODS)
    for method, places in lines:
        found, record = load_network(tmp_path / method / "checkpoint.pt")
        assert same(found, load_network(tmp_path / f"{method}-quiet" / "checkpoint.pt")[0]), method
        assert (record["epoch"], record["step"]) == (3, 0)
        assert not list((tmp_path / method).glob(".*.new"))  # what the signal cut off is gone
        # The test means something: it was killed again and again, and not only between epochs.
        assert len(places) >= 2, (method, places)
        assert any(step for _, step in places), (method, places)
