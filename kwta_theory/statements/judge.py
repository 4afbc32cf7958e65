"""The judging, written once: every statement is data, and this is the only place where an outcome is chosen."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence

from kwta_theory import seeding
from kwta_theory.confidence import Proportion, trials_to_decide
from kwta_theory.statements import words
from kwta_theory.statements.case import Case, Claim, Statement
from kwta_theory.statements.finding import Finding, RouteContext, Says
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.verdict import LogBracket, Measurement, Outcome, Verdict

# Fewer trials than this say next to nothing about any claim.
FEWEST_TRIALS = 20


def judge(
    statement: Statement, inputs_name: str, case: Case | Claim, settings: Settings, error: float, seed: int
) -> Verdict:
    """Gather the evidence for one case and choose its outcome.

    Args:
        statement: where the case comes from.
        inputs_name: what the verdict calls the points.
        case: the claim and its routes.
        settings: budget of simulation.
        error: the share of the run's error that each interval of this case may spend.
        seed: of this case's simulation.
    """
    if isinstance(case, Claim):
        return judge_claim(statement, inputs_name, case, settings, error, seed)
    started = time.perf_counter()
    exact = case.exact() if case.exact else None
    also = tuple(bound() for bound in case.also)
    measured, remark = measure(case, settings, error, seed)
    first_true = case.first_true() if case.first_true else None
    outcome, reason = decide_outcome(case, exact, measured, also)
    witness = None
    if outcome is Outcome.REFUTED:
        by_law = not case.counts_decide and any(
            law is not None and law.lower > case.claimed_log_failure for law in (exact, *also)
        )
        call = case.exact_call if by_law else case.simulate_call
        trials = measured.failures.trials if measured else 0
        witness = call.replace("{trials}", str(trials)).replace("{seed}", str(seed))
    return Verdict(
        statement=statement.name,
        title=statement.title,
        scope=statement.scope if case.scope is None else case.scope,
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
        routes_agree=contradiction(exact, measured, also) is None,
        also=also,
        log_width=case.log_width,
        seconds=time.perf_counter() - started,
    )


def judge_claim(
    statement: Statement, inputs_name: str, claim: Claim, settings: Settings, error: float, seed: int
) -> Verdict:
    """The same for a claim that is true or false outright; every route gets a seed of its own."""
    started = time.perf_counter()
    findings = tuple(
        route(
            RouteContext(
                seeding.derive(seed, "route", number),
                error,
                settings.budget,
                settings.device,
                settings.memory_budget,
                settings.workers,
            )
        )
        for number, route in enumerate(claim.routes)
    )
    outcome, reason = decide_claim(claim, findings)
    against = [finding for finding in findings if finding.says is Says.REFUTES]
    width = {} if claim.log_width is None else {"width": words.width(claim.log_width)}
    return Verdict(
        statement=statement.name,
        title=statement.title,
        scope=statement.scope if claim.scope is None else claim.scope,
        inputs=inputs_name,
        parameters={**width, **claim.parameters},
        claimed=claim.claimed,
        claimed_log_failure=None,
        granted_log_width=None,
        outcome=outcome,
        reason=reason,
        note=claim.note,
        exact=None,
        measured=None,
        first_true=None,
        first_true_log_width=None,
        witness=against[0].witness if outcome is Outcome.REFUTED else None,
        routes_agree=not (against and any(finding.says is Says.SETTLES for finding in findings)),
        findings=findings,
        log_width=claim.log_width,
        seconds=time.perf_counter() - started,
    )


def decide_claim(claim: Claim, findings: tuple[Finding, ...]) -> tuple[Outcome, str]:
    """Choose the outcome of an outright claim: one instance against it refutes, no number of instances settles it."""
    texts = "; ".join(f"{finding.route}: {finding.text}" for finding in findings)
    says = {finding.says for finding in findings}
    if {Says.SETTLES, Says.REFUTES} <= says:
        return Outcome.UNDECIDED, f"the routes disagree, so one of them is wrong: {texts}"
    if Says.REFUTES in says:
        return Outcome.REFUTED, texts
    if Says.SETTLES in says:
        return Outcome.HOLDS, texts
    would = f"; {claim.would_decide} would decide" if claim.would_decide else ""
    return Outcome.UNDECIDED, f"nothing was found against it, which decides nothing: {texts}{would}"


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
    failures = Proportion(sample.successes.failures - sample.open, sample.successes.trials)
    return Measurement(failures, error, "simulation", seed, sample.remark, sample.open), sample.remark


def decide_outcome(
    case: Case, exact: LogBracket | None, measured: Measurement | None, also: Sequence[LogBracket] = ()
) -> tuple[Outcome, str]:
    """Choose the outcome from the claim and the evidence alone.

    In this order: routes that contradict each other decide nothing; an empty bound or a width below the one that the
    proof grants makes the claim vacuous; then the laws decide, where the case lets them; then counting.
    """
    conflict = contradiction(exact, measured, also)
    if conflict is not None:
        return Outcome.UNDECIDED, conflict
    laws = [law for law in (exact, *also) if law is not None]
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
    if case.counts_decide:
        return by_counting(case, measured, claimed)
    enough = [law for law in laws if law.upper <= case.claimed_log_failure]
    if enough:
        reason = f"the probability of failure is {at_most(enough)}, and {claimed} is allowed"
        if case.withheld:
            return Outcome.UNDECIDED, f"{reason}; still, {case.withheld}"
        return Outcome.HOLDS, reason
    for law in laws:
        if law.lower > case.claimed_log_failure:
            return Outcome.REFUTED, (
                f"the probability of failure is at least {words.probability(law.lower)} by {law.route}, and only "
                f"{claimed} is allowed"
            )
    if case.withheld:
        return Outcome.UNDECIDED, f"{truth_there(case, exact, measured)}; {case.withheld}"
    return by_counting(case, measured, claimed)


def by_counting(case: Case, measured: Measurement | None, claimed: str) -> tuple[Outcome, str]:
    """Decide from the counts alone, or say how many trials would."""
    if measured is None:
        return Outcome.UNDECIDED, "neither an exact law nor a simulation within the budget reaches these parameters"
    allowed = math.exp(case.claimed_log_failure)
    interval, counts = measured.interval, measured.failures
    still = f" and {measured.open:,} open" if measured.open else ""
    counted = f"{counts.successes:,} failures{still} in {counts.trials:,} trials"
    if interval.upper <= allowed:
        return Outcome.HOLDS, f"{counted} put its probability below {interval.upper:.3g}; {claimed} is allowed"
    if interval.lower > allowed:
        return Outcome.REFUTED, f"{counted} put its probability above {interval.lower:.3g}; only {claimed} is allowed"
    around = f"{counted} leave [{interval.lower:.3g}, {interval.upper:.3g}] around the allowed {claimed}"
    if counts.value <= allowed <= (counts.successes + measured.open) / counts.trials and measured.open:
        return Outcome.UNDECIDED, f"{around}; to close the open ones would decide, more trials would not"
    needed = trials_to_decide(counts.successes / counts.trials, allowed, measured.error)
    # Beyond that, the observed rate is the level itself up to rounding.
    hopeless = needed is None or needed > 10**15
    would = "no number of trials would decide" if hopeless else f"about {needed:,} trials would decide"
    return Outcome.UNDECIDED, (f"{around}; {would} if the observed rate persisted")


def at_most(laws: Sequence[LogBracket]) -> str:
    """``"at most 0.01 by one law and at most 0.02 by another"``."""
    return " and ".join(f"at most {words.probability(law.upper)} by {law.route}" for law in laws)


def agree(exact: LogBracket, measured: Measurement) -> bool:
    """Whether the interval of the simulation meets the bracket of the law."""
    interval = measured.interval
    return interval.upper >= math.exp(exact.lower) and interval.lower <= math.exp(min(exact.upper, 0.0))


def contradiction(
    exact: LogBracket | None, measured: Measurement | None, also: Sequence[LogBracket] = ()
) -> str | None:
    """A sentence naming two routes that cannot both be right, or ``None``."""
    laws = [law for law in (exact, *also) if law is not None]
    for first, second in itertools.combinations(laws, 2):
        if first.lower > second.upper or second.lower > first.upper:
            return (
                f"the routes disagree: {first.route} gives {in_words(first)}, {second.route} gives {in_words(second)}; "
                "one of them is wrong"
            )
    for law in laws:
        if measured is not None and not agree(law, measured):
            low, high = measured.interval.lower, measured.interval.upper
            return (
                f"the routes disagree: {law.route} gives {in_words(law)}, simulation an interval of [{low:.3g}, "
                f"{high:.3g}]; one of them is wrong"
            )
    return None


def in_words(law: LogBracket) -> str:
    """A probability of failure as a number, a bound or a bracket."""
    low, high = words.probability(law.lower), words.probability(law.upper)
    if low == high:
        return f"a failure probability of {high}"
    return f"a failure probability in [{low}, {high}]"


def truth_there(case: Case, exact: LogBracket | None, measured: Measurement | None) -> str:
    """What is known of the conclusion at a width where nothing is claimed.

    Where the bound is empty there is no level to compare with, so only the probability is told.
    """
    parts = []
    if exact is not None:
        low, high = words.success(exact.upper), words.success(exact.lower)
        parts.append(f"P = {low} exactly" if low == high else f"P is in [{low}, {high}] exactly")
    if measured is not None:
        still = f" and open in {measured.open:,}" if measured.open else ""
        parts.append(f"true in {measured.held:,}{still} of {measured.failures.trials:,} trials")
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
