"""The judging, written once: every statement is data, and this is the only place where an outcome is chosen."""

from __future__ import annotations

import math
import time

from kwta_theory.confidence import trials_to_decide
from kwta_theory.statements import words
from kwta_theory.statements.case import Case, Statement
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.verdict import LogBracket, Measurement, Outcome, Verdict

# Fewer trials than this say next to nothing about any claim.
FEWEST_TRIALS = 20


def judge(statement: Statement, inputs_name: str, case: Case, settings: Settings, error: float, seed: int) -> Verdict:
    """Gather the evidence for one case and choose its outcome.

    Args:
        statement: where the case comes from.
        inputs_name: what the verdict calls the points.
        case: the claim and its routes.
        settings: budget of simulation.
        error: the share of the run's error that the interval of this case may spend.
        seed: of this case's simulation.
    """
    started = time.perf_counter()
    exact = case.exact() if case.exact else None
    measured, remark = measure(case, settings, error, seed)
    first_true = case.first_true() if case.first_true else None
    outcome, reason = decide_outcome(case, exact, measured)
    witness = None
    if outcome is Outcome.REFUTED:
        call = case.exact_call if exact is not None and exact.lower > case.claimed_log_failure else case.simulate_call
        trials = measured.failures.trials if measured else 0
        witness = call.replace("{trials}", str(trials)).replace("{seed}", str(seed))
    return Verdict(
        statement=statement.name,
        title=statement.title,
        scope=statement.scope,
        inputs=inputs_name,
        parameters={"width": words.width(case.log_width), **case.parameters},
        claimed=case.claimed,
        claimed_log_failure=case.claimed_log_failure,
        granted_log_width=case.granted_log_width,
        outcome=outcome,
        reason="; ".join(filter(None, [reason, remark])),
        note=case.note,
        exact=exact,
        measured=measured,
        first_true=first_true.text if first_true else None,
        first_true_log_width=first_true.log_width if first_true else None,
        witness=witness,
        routes_agree=exact is None or measured is None or agree(exact, measured),
        seconds=time.perf_counter() - started,
    )


def measure(case: Case, settings: Settings, error: float, seed: int) -> tuple[Measurement | None, str]:
    """Spend the budget of one case on its simulation; nothing where one trial already costs too much."""
    if case.simulate is None:
        return None, ""
    trials = settings.budget.trials(case.normals_per_trial)
    if trials < FEWEST_TRIALS:
        return (
            None,
            f"not simulated, since {FEWEST_TRIALS} trials of {case.normals_per_trial:.2g} normals exceed the budget",
        )
    sample = case.simulate(trials, seed)
    return Measurement(sample.successes.complement(), error, "simulation", seed, sample.remark), sample.remark


def decide_outcome(case: Case, exact: LogBracket | None, measured: Measurement | None) -> tuple[Outcome, str]:
    """Choose the outcome from the claim and the evidence alone.

    In this order: routes that contradict each other decide nothing; an empty bound or a width below the one that the
    proof grants makes the claim vacuous; then the exact law decides; then counting.
    """
    if exact is not None and measured is not None and not agree(exact, measured):
        low, high = measured.interval.lower, measured.interval.upper
        return Outcome.UNDECIDED, (
            f"the routes disagree: the exact law gives a failure probability of {words.probability(exact.upper)}, "
            f"simulation an interval of [{low:.3g}, {high:.3g}]; one of them is wrong"
        )
    if case.claimed_log_failure >= 0:
        return Outcome.VACUOUS, (
            f"the bound on the probability of failure is {words.probability(case.claimed_log_failure)}, not below 1, "
            f"so nothing is claimed; {truth_there(case, exact, measured)}"
        )
    if case.granted_log_width is not None and case.log_width < case.granted_log_width:
        return Outcome.VACUOUS, (
            f"the proof grants {case.claimed} only from width {words.width(case.granted_log_width)} on; "
            f"{truth_there(case, exact, measured)}"
        )
    claimed = words.probability(case.claimed_log_failure)
    if exact is not None and exact.upper <= case.claimed_log_failure:
        return Outcome.HOLDS, (
            f"the probability of failure is at most {words.probability(exact.upper)} by {exact.route}, and {claimed} "
            "is allowed"
        )
    if exact is not None and exact.lower > case.claimed_log_failure:
        return Outcome.REFUTED, (
            f"the probability of failure is at least {words.probability(exact.lower)} by {exact.route}, and only "
            f"{claimed} is allowed"
        )
    return by_counting(case, measured, claimed)


def by_counting(case: Case, measured: Measurement | None, claimed: str) -> tuple[Outcome, str]:
    """Decide from the counts alone, or say how many trials would."""
    if measured is None:
        return Outcome.UNDECIDED, "neither an exact law nor a simulation within the budget reaches these parameters"
    allowed = math.exp(case.claimed_log_failure)
    interval, counts = measured.interval, measured.failures
    counted = f"{counts.successes:,} failures in {counts.trials:,} trials"
    if interval.upper <= allowed:
        return Outcome.HOLDS, f"{counted} put its probability below {interval.upper:.3g}; {claimed} is allowed"
    if interval.lower > allowed:
        return Outcome.REFUTED, f"{counted} put its probability above {interval.lower:.3g}; only {claimed} is allowed"
    needed = trials_to_decide(counts.successes / counts.trials, allowed, measured.error)
    # Beyond that, the observed rate is the level itself up to rounding.
    hopeless = needed is None or needed > 10**15
    would = "no number of trials would decide" if hopeless else f"about {needed:,} trials would decide"
    return Outcome.UNDECIDED, (
        f"{counted} leave [{interval.lower:.3g}, {interval.upper:.3g}] around the allowed {claimed}; {would} if the "
        "observed rate persisted"
    )


def agree(exact: LogBracket, measured: Measurement) -> bool:
    """Whether the interval of the simulation meets the bracket of the law."""
    interval = measured.interval
    return interval.upper >= math.exp(exact.lower) and interval.lower <= math.exp(min(exact.upper, 0.0))


def truth_there(case: Case, exact: LogBracket | None, measured: Measurement | None) -> str:
    """What is known of the conclusion at a width where nothing is claimed.

    Where the bound is empty there is no level to compare with, so only the probability is told.
    """
    parts = []
    if exact is not None:
        low, high = words.success(exact.upper), words.success(exact.lower)
        parts.append(f"P = {low} exactly" if low == high else f"P is in [{low}, {high}] exactly")
    if measured is not None:
        parts.append(f"true in {measured.failures.failures:,} of {measured.failures.trials:,} trials")
    if not parts:
        return "nothing was measured there"
    level = case.claimed_log_failure
    return "there " + ", ".join(parts) + (compared(level, exact, measured) if level < 0 else "")


def compared(level: float, exact: LogBracket | None, measured: Measurement | None) -> str:
    """Whether the conclusion reaches the claimed level, where the claim itself says nothing."""
    ends = [(exact.lower, exact.upper)] if exact else []
    if measured is not None:
        interval = measured.interval
        ends.append((math.log(interval.lower) if interval.lower > 0 else -math.inf, math.log(interval.upper)))
    for lower, upper in ends:  # the exact law first
        if upper <= level:
            return ", which reaches the claimed level all the same"
        if lower > level:
            return ", which misses the claimed level"
    return ", which leaves open whether the claimed level is reached"
