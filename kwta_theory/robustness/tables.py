"""The paper's tables, run again: networks trained, attacked as the paper did and harder, and set beside its numbers.

A table is a list of lines. A line is a network, the attacks on it, and the paper's number for each column. Everything
is kept as it is finished, each network (:mod:`kwta_theory.robustness.zoo`) and each attack on it, so that a killed
table goes on where it was. What the paper's attacks leave is never shown without the column ``adaptive``: what all
attacks together leave, those made for discontinuous networks included.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from scipy import stats
from torch import nn

from kwta_theory import __version__, seeding
from kwta_theory.attacks import suites
from kwta_theory.attacks.foolbox_attacks import CARLINI_WAGNER, DEEPFOOL, MIM, PGD_20, PGD_40, Foolbox
from kwta_theory.attacks.transfer import Transfer, weights_digest
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import clopper_pearson
from kwta_theory.networks import Dataset, load
from kwta_theory.networks.training import Options
from kwta_theory.report import files
from kwta_theory.robustness import paper, report
from kwta_theory.robustness.evaluation import ERROR, Attack, evaluate
from kwta_theory.robustness.zoo import Training, obtain, training

SCALES = ("paper", "small")
CLEAN, ROBUST, ADAPTIVE = "clean", "robust", "adaptive"
# The ball for which the step sizes of Appendix D.1 were chosen.
COLOUR_EPSILON = 0.031
TITLES = {
    CLEAN: "A_std", "pgd": "PGD", "cw": "C&W", "deepfool": "Deepfool", "mim": "MIM", "transfer": "BB", ROBUST: "A_rob",
    ADAPTIVE: "adaptive",
}  # fmt: skip
Row = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Line:
    """A network, the attacks on it, and what the paper has.

    Attributes:
        training: of the network that is attacked.
        attacks: the paper's, by column.
        published: the paper's numbers by column in percent; ``robust`` is its ``A_rob``.
        epsilon: radius of the ball.
        sources: by column, networks whose points are handed over: by the paper's PGD, and in ``adaptive`` by an attack
            made for it.
        twin: lines with an equal twin are compared with the one of them that has ReLU.
        remark: for a reader.

    Raises:
        InvalidArgumentError: neither attack nor source, or a column of both.
    """

    training: Training
    attacks: Mapping[str, Foolbox]
    published: Mapping[str, float]
    epsilon: float
    sources: Mapping[str, Training] = field(default_factory=dict)
    twin: tuple[str, ...] = ()
    remark: str = ""

    def __post_init__(self) -> None:
        if not self.attacks and not self.sources:
            raise InvalidArgumentError(
                f"attacks is empty for {self.training.title}: a line needs an attack or a source."
            )
        if both := sorted(set(self.attacks) & set(self.sources)):
            raise InvalidArgumentError(f"column {both[0]!r} is an attack and a source of {self.training.title}.")


@dataclass(frozen=True)
class Table:
    """A script's table.

    Attributes:
        name: of its files.
        summary: the script's docstring.
        plan: its lines, from scale and seed.
        extras: further tables of the script by the name of the option that asks for them.
        n: test images at each scale; None for all.
    """

    name: str
    summary: str
    plan: Callable[[str, int], tuple[Line, ...]]
    extras: Mapping[str, Table] = field(default_factory=dict)
    n: Mapping[str, int | None] = field(default_factory=lambda: {"small": 200, "paper": None})


def colour_attacks(epsilon: float) -> dict[str, Foolbox]:
    """The attacks of Appendix D.1. For another ball than CIFAR-10's and SVHN's the steps are in proportion to it.

    >>> dict(colour_attacks(0.2)["pgd"].settings)["abs_stepsize"]
    0.01935
    """
    if epsilon in (COLOUR_EPSILON, 0.047):
        return {"pgd": PGD_40, "cw": CARLINI_WAGNER, "deepfool": DEEPFOOL, "mim": MIM}
    size = round(0.003 * epsilon / COLOUR_EPSILON, 5)
    scaled = {
        name: dataclasses.replace(attack, settings={**attack.settings, "abs_stepsize": size})
        for name, attack in (("pgd", PGD_40), ("mim", MIM))
    }
    return {"pgd": scaled["pgd"], "cw": CARLINI_WAGNER, "deepfool": DEEPFOOL, "mim": scaled["mim"]}


# Tables 1 to 3 at small scale: the 8 x 8 digits stand in for CIFAR-10. As many epochs for every activation.
SMALL_DATA = "digits"
SMALL_WIDTHS = {"resnet18": 0.25, "densenet121": 0.25, "wrn-22-10": 0.1, "vgg19": 0.25}
SMALL_EPOCHS = {"natural": 12, "at": 12, "trades": 12, "free": 6}


def colour_network(model: str, data: str, method: str, activation: str, scale: str, seed: int) -> Training:
    """A network of Tables 1 to 3; at small scale one of fewer channels, on the digits, whatever the data.

    k-WTA-0.1 is trained incrementally where the paper does so: without an adversary. VGG-19, which has no shortcuts,
    does not learn at the rate of the others at small scale (27 % of the test images right after 12 epochs); at a fifth
    of it it does.

    >>> colour_network("resnet18", "cifar10", "natural", "kwta-0.1", "small", 0).title
    'digits resnet18 x0.25 kwta-0.1 natural, seed 0'
    """
    if scale == "paper":
        return training(model, data, method, activation=activation, scale="paper", seed=seed)
    slowly = method == "natural" and activation == "kwta-0.1"
    rates = {"learning_rates": ((0, 0.01), (9, 0.001))} if model == "vgg19" else {}
    return training(
        model, SMALL_DATA, method, activation=activation, scale="small", seed=seed, width_factor=SMALL_WIDTHS[model],
        epochs=SMALL_EPOCHS[method] + 4 * slowly, incremental_ratios=slowly, **rates,
    )  # fmt: skip


def mnist_attacks() -> dict[str, Foolbox]:
    """The attack of Appendix D.4."""
    return {"pgd": PGD_20}


def adaptive_attacks() -> tuple[Attack, ...]:
    """What is run beside the paper's attacks on every network."""
    return suites.suite("adaptive")


def numbers(found: paper.Published | None) -> dict[str, float]:
    """A row of the paper by column."""
    if found is None:
        return {}
    clean = {} if found.clean is None else {CLEAN: found.clean}
    return {**clean, **found.attacks, ROBUST: found.robust}


# Measuring.


@dataclass
class Bench:
    """Where a table is computed, and what it has in memory.

    Attributes:
        results: folder of networks, evaluations and tables.
        data_dir: of published data sets.
        n: test images; None for all.
        seed: of the attacks.
        options: of training; its device is that of the attacks.
        say: called with lines for a person.
        batch_size: images that an attack sees at once.
    """

    results: Path
    data_dir: Path | None = None
    n: int | None = 200
    seed: int = 0
    options: Options = field(default_factory=Options)
    say: Say = lambda _line: None
    batch_size: int = 100
    _images: dict[str, Dataset] = field(default_factory=dict)

    def images(self, name: str) -> Dataset:
        """A data set, read once."""
        if name not in self._images:
            directory = None if name == "digits" else self.data_dir
            self._images[name] = load(name, directory)
        return self._images[name]

    def network(self, wanted: Training) -> nn.Module:
        """Trained, on the device."""
        device = seeding.resolve_device(self.options.device, torch.float32)
        model, _ = obtain(
            wanted, self.results / "networks", images=self.images(wanted.data), options=self.options, report=self.say
        )
        return model.to(device)


def measured(line: Line, bench: Bench) -> list[Row]:
    """The rows of a line: one for each column, ``robust`` and ``adaptive`` last."""
    model = bench.network(line.training)
    found: dict[str, Row] = {}
    for column, attack in line.attacks.items():
        found[column] = _attacked(line, model, attack, bench)
    hard = [_attacked(line, model, attack, bench) for attack in adaptive_attacks()]
    for column, wanted in line.sources.items():
        source = bench.network(wanted)
        pgd = line.attacks.get("pgd") or colour_attacks(line.epsilon)["pgd"]
        found[column] = _attacked(line, model, Transfer(f"{pgd.name} from {wanted.title}", source, pgd), bench)
        strong = suites.persistent()
        hard.append(_attacked(line, model, Transfer(f"{strong.name} from {wanted.title}", source, strong), bench))
    worst = min(found.values(), key=lambda told: told["correct"])
    everything = [*found.values(), *hard]
    survivors = [int(all(bits)) for bits in zip(*(told["images"] for told in everything), strict=True)]
    clean = everything[0]["clean"]
    columns = {
        CLEAN: {**clean, "attack": "none", "cpu_seconds": 0.0, "forward_passes": 1.0},
        **found,
        ROBUST: {**worst, "attack": f"the lowest column: {worst['attack']}"},
        ADAPTIVE: {
            "attack": "all, each image's worst: " + ", ".join(told["attack"] for told in everything),
            "images": survivors,
            "correct": sum(survivors),
            "cpu_seconds": sum(told["cpu_seconds"] for told in everything),
            "forward_passes": sum(told["forward_passes"] for told in everything),
        },
    }
    return [_row(line, column, told, bench) for column, told in columns.items()]


def _row(line: Line, column: str, told: Row, bench: Bench) -> Row:
    a = line.training.architecture
    count, n = told["correct"], len(told["images"])
    interval = clopper_pearson(count, n, ERROR)
    share, low, high = (round(100 * value, 2) for value in (count / n, interval.lower, interval.upper))
    said = line.published.get(column)
    return {
        "data": line.training.data,
        "model": line.training.title.split(" ", 1)[1].split(f" {a.activation}")[0],
        "activation": a.activation,
        "training": line.training.recipe.method,
        "network": line.training.title,
        "column": column,
        "paper": said,
        "measured": share,
        "lower": low,
        "upper": high,
        "difference": None if said is None else round(share - said, 2),
        "explained": None if said is None else low <= said <= high,
        "correct": count,
        "n": n,
        "epsilon": line.epsilon,
        "epochs": line.training.recipe.epochs,
        "training_seed": line.training.seed,
        "attack_seed": bench.seed,
        "attack": told["attack"],
        "cpu_seconds_per_image": round(told["cpu_seconds"], 4),
        "forward_passes_per_image": round(told["forward_passes"], 1),
        "twin": "/".join(line.twin),
        "remark": line.remark,
        "images": "".join(map(str, told["images"])),
    }


def _attacked(line: Line, model: nn.Module, attack: Attack, bench: Bench) -> Row:
    """One attack on one network, from its file where it was run before."""
    test = bench.images(line.training.data).test
    test = test.first(len(test) if bench.n is None else min(bench.n, len(test)))
    decides = [
        __version__, weights_digest(model), repr(attack), line.epsilon, bench.seed, len(test), bench.batch_size,
        bench.images(line.training.data).description,
    ]  # fmt: skip
    key = hashlib.blake2b(json.dumps(decides).encode(), digest_size=8).hexdigest()
    name = "".join(c if c.isalnum() or c in "-.+" else "-" for c in attack.name)[:60]
    path = bench.results / "evaluations" / f"{name}-{key}.json"
    if not path.exists():
        device = seeding.resolve_device(bench.options.device, torch.float32)
        result = evaluate(
            model, test.images(device=device), test.labels.to(device), [attack], line.epsilon,
            seed=bench.seed, batch_size=bench.batch_size,
        )  # fmt: skip
        bench.say(f"{line.training.title}: {report.sentence(result, result.rows[0])}")
        path.parent.mkdir(parents=True, exist_ok=True)
        told = {"network": line.training.title, **report.as_json(result)}
        files.write_text(path, json.dumps(told, allow_nan=False) + "\n")
    told = json.loads(path.read_text(encoding="utf-8"))
    (row,) = told["attacks"]
    return {**row, "attack": attack.name, "clean": told["clean"]}


# Comparing.


def orderings(rows: Sequence[Row], against: str = "relu") -> list[Row]:
    """Every network beside the one with ReLU that is its twin, on the same images.

    The values of another data set and size cannot be the paper's, but the order could. For each column that both have:
    the paper's difference, the measured one, how many images only one of the two gets right, and the two-sided exact
    p-value of that split under "equally likely" (the sign test of McNemar). ``said`` is ``as in the paper`` or ``the
    other way round`` where the p-value is at most 0.05 and the paper gives an order, else ``undecided``; without the
    paper's number the order alone is said.
    """
    found = []
    base = {(r["twin"], r["column"]): r for r in rows if r["activation"] == against and r["twin"]}
    for row in rows:
        other = base.get((row["twin"], row["column"]))
        if other is None or row["activation"] == against:
            continue
        published = None if row["column"] == ADAPTIVE else _difference(row["paper"], other["paper"])
        if row["column"] == ADAPTIVE:  # what the paper claims of the worst case
            claims = [
                next((r["paper"] for r in rows if r["network"] == n and r["column"] == ROBUST and r["twin"] == t), None)
                for n, t in ((row["network"], row["twin"]), (other["network"], other["twin"]))
            ]
            published = _difference(*claims)
        pairs = list(zip(row["images"], other["images"], strict=True))
        only, only_other = pairs.count(("1", "0")), pairs.count(("0", "1"))
        p = float(stats.binomtest(only, only + only_other).pvalue) if only + only_other else 1.0
        found.append(
            {
                "twin": row["twin"],
                "column": row["column"],
                "first": row["activation"],
                "second": against,
                "paper": published,
                "measured": round(row["measured"] - other["measured"], 2),
                "only_first": only,
                "only_second": only_other,
                "n": len(pairs),
                "p_value": float(f"{p:.2g}"),
                "said": _said(published, only - only_other, p),
            }
        )
    return found


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else round(first - second, 2)


def _said(published: float | None, measured: int, p: float) -> str:
    if p > ERROR:
        return "undecided"
    if not published:
        return "higher" if measured > 0 else "lower"
    return "as in the paper" if (published > 0) == (measured > 0) else "the other way round"
