"""The parameters of a run of ``verify`` and how much simulation it may spend."""

from __future__ import annotations

from dataclasses import dataclass, field

from kwta_theory import checks


@dataclass(frozen=True)
class Budget:
    """How much simulation one claim may spend. Counts, not seconds, so that the same seed gives the same numbers.

    Attributes:
        name: for the report.
        normals: random normals that one claim may draw; its trials are this over the cost of a trial.
        max_trials: at most so many trials of one claim, however cheap.
        error: probability that any interval of the whole run misses, shared by all claims.
    """

    name: str
    normals: float
    max_trials: int
    error: float = 1e-3

    @property
    def interval_error(self) -> float:
        """The part of ``error`` that the intervals of all verdicts share; the rest is left to searches."""
        return 0.9 * self.error

    @property
    def search_error(self) -> float:
        """For one decision of a search that simulates: a thousandth of the rest, room for a thousand decisions."""
        return 1e-4 * self.error

    def trials(self, normals_per_trial: float) -> int:
        """Trials that the budget buys at the given cost; may be zero."""
        return min(self.max_trials, int(self.normals // max(normals_per_trial, 1.0)))


BUDGETS = {
    "quick": Budget("quick", normals=1.2e7, max_trials=20_000),
    "standard": Budget("standard", normals=2e8, max_trials=200_000),
    "thorough": Budget("thorough", normals=2.4e9, max_trials=2_000_000),
}


def budget(value: str | Budget) -> Budget:
    """Look a budget up by name; raise :class:`InvalidArgumentError` with the names that there are."""
    if isinstance(value, Budget):
        return value
    if value not in BUDGETS:
        raise checks.InvalidArgumentError(f"budget={value!r} is not allowed: it must be one of {', '.join(BUDGETS)}.")
    return BUDGETS[value]


@dataclass(frozen=True)
class Settings:
    """Where the statements are checked.

    Attributes:
        width: width ``l`` of the layer at which everything is also measured.
        sparsity_ratio: ``gamma``; ``k = floor(gamma l)`` in the statements about a ratio.
        k: winners in the statements that fix ``k`` (Theorems 2, 10, 11).
        beta: squared perpendicular distance over ``|x|^2`` (Theorems 1 and 9).
        cosine: ``alpha`` of Lemma 5 and Theorem 8.
        failure: ``delta`` of Theorems 8 to 11.
        input_dim: ``m`` of the statements about a layer or a sphere without given points (Lemmas 4 to 10, Remark 1).
        example_probability, example_points, example_input_dim: ``p``, ``N`` and ``m`` of Example 1.
        seed: every random number of the run follows from it.
        device: where simulation runs.
        memory_budget: bytes that simulation may use.
        workers: threads of a simulation on the CPU; never changes a number.
        budget: see :class:`Budget`.
    """

    width: int = 4096
    sparsity_ratio: float = 0.1
    k: int = 1
    beta: float = 0.1
    cosine: float = 0.9
    failure: float = 0.05
    input_dim: int = 784
    example_probability: float = 0.45
    example_points: int = 20
    example_input_dim: int = 784
    seed: int = 0
    device: str = "auto"
    memory_budget: int = 2**30
    workers: int = 2
    budget: Budget = field(default_factory=lambda: BUDGETS["standard"])

    def __post_init__(self) -> None:
        checks.check_width_and_winners(self.width, self.k)
        checks.winners(self.width, self.sparsity_ratio)
        checks.check_number("beta", self.beta, 0.0, open_minimum=True)
        checks.check_cosine(self.cosine)
        checks.check_number("failure", self.failure, 0.0, 1.0, open_minimum=True, open_maximum=True)
        checks.check_integer("input_dim", self.input_dim, minimum=2)
        checks.check_number("example_probability", self.example_probability, 0.0, 1.0)
        checks.check_integer("example_points", self.example_points, minimum=2)
        checks.check_integer("example_input_dim", self.example_input_dim, minimum=1)
        checks.check_integer("seed", self.seed)
        checks.check_integer("workers", self.workers, minimum=1)

    @property
    def ratio_winners(self) -> int:
        """``k = floor(sparsity_ratio * width)``."""
        return checks.winners(self.width, self.sparsity_ratio)
