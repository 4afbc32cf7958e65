"""Every step of the proof of Lemma 5 with its exact probability in place of the printed bound (Claims 3 to 6).

The proof turns ``x`` and ``x'`` into the first two coordinates, so that row ``i`` of the layer is a pair of independent
standard normals ``(X_i, Y_i)`` with ``W_i x = X_i`` and ``W_i x' = alpha X_i + sqrt(1 - alpha^2) Y_i``. With

    eps = sqrt(1 - alpha^2) / (96 alpha),    R1' < R1 < R2 < R2'
    P(X >= R2') = (1 - 2 eps) gamma, P(X >= R2) = (1 - eps) gamma, P(X >= R1) = (1 + eps) gamma,
    P(X >= R1') = (1 + 2 eps) gamma

the rows fall into five cells with probabilities that involve no normal distribution any more: all that the claims need
is binomial, up to one value of ``Phi``. Throughout ``gamma = k / l`` exactly, as in the paper, so that ``gamma l = k``.
Nothing here is shared with the exact law of a pair (``pair_laws``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import SupportsFloat, SupportsIndex

import numpy as np
from scipy import optimize, special

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number, check_width_and_winners, winners

# Where scipy's incomplete beta function is close to underflow, the continued fraction in logs takes over.
SMALLEST_TAIL = 1e-280
# Cells of the sum for the event E; about half a second. Beyond, the union bound is sharp.
LARGEST_SUM = 4 * 10**6
# Of the continued fraction, which needs about the standard deviation of the count over its distance in these: < 1e5.
MOST_STEPS = 10**6
# Relative accuracy that a bracket leaves room for: logarithms of factorials of a width of some millions.
ACCURACY = 1e-8


def lemma5_epsilon(cosine: SupportsFloat) -> float:
    """``eps = sqrt(1 - alpha^2) / (96 alpha)`` of the proof of Lemma 5, at most ``sqrt(3)/96 = 0.018``.

    >>> round(lemma5_epsilon(0.8), 9)
    0.0078125
    """
    alpha = check_number("cosine", cosine)
    if not 0.5 < alpha < 1.0:
        raise InvalidArgumentError(f"cosine={cosine!r} is outside the hypothesis of Lemma 5: it must be in (0.5, 1).")
    return math.sqrt((1.0 - alpha) * (1.0 + alpha)) / (96.0 * alpha)


def lemma5_levels(sparsity_ratio: SupportsFloat, cosine: SupportsFloat) -> tuple[float, float, float, float]:
    """``(R1', R1, R2, R2')``, equations (7) to (10): normal quantiles at ``(1 + 2e, 1 + e, 1 - e, 1 - 2e) gamma``.

    ``gamma`` in (0, 0.48), ``alpha`` in (0.5, 1); then all four are positive.

    >>> [round(level, 4) for level in lemma5_levels(0.1, 0.9)]
    [1.2758, 1.2787, 1.2844, 1.2873]
    """
    ratio = check_number("sparsity_ratio", sparsity_ratio)
    if not 0.0 < ratio < 0.48:
        raise InvalidArgumentError(
            f"sparsity_ratio={sparsity_ratio!r} is outside the hypothesis of Lemma 5: it must be in (0, 0.48)."
        )
    epsilon = lemma5_epsilon(cosine)
    first, second, third, fourth = (-float(special.ndtri((1.0 + s * epsilon) * ratio)) for s in (2, 1, -1, -2))
    return first, second, third, fourth


def _stirling_error(n: float) -> float:
    """``log n! - log(sqrt(2 pi n) (n/e)^n)``."""
    if n < 16:
        return math.lgamma(n + 1) - (n + 0.5) * math.log(n) + n - 0.5 * math.log(2 * math.pi)
    return (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * n * n)) / (n * n)) / (n * n)) / n


def _deviance(count: float, mean: float, difference: float) -> float:
    """``count log(count/mean) + mean - count`` from ``difference = count - mean``, without cancellation."""
    u = difference / mean
    if abs(u) > 0.1:
        return count * math.log(count / mean) - difference
    # (1 + u) log(1 + u) - u = sum_{j >= 2} (-u)^j / (j (j - 1)); 20 terms leave less than 1e-18 u^2.
    return mean * sum((-u) ** j / (j * (j - 1)) for j in range(2, 22))


def _log_mass(count: int, trials: int, probability: float) -> float:
    """``log P(Binomial = count)`` by Loader's saddle-point form, whose parts do not cancel at any size."""
    if count == 0:
        return trials * math.log1p(-probability)
    if count == trials:
        return trials * math.log(probability)
    rest = trials - count
    # The difference is exact: a float is a fraction.
    difference = float(count - trials * Fraction(probability))
    deviance = _deviance(count, trials * probability, difference) + _deviance(
        rest, trials * (1.0 - probability), -difference
    )
    corrections = _stirling_error(trials) - _stirling_error(count) - _stirling_error(rest)
    return corrections - deviance - 0.5 * math.log(2 * math.pi * count * (rest / trials))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """``I_x(a, b) a B(a, b) / (x^a (1-x)^b)`` for ``x < (a+1)/(a+b+2)``: the continued fraction, by Lentz's method."""
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0))
    value = d
    for n in range(1, MOST_STEPS):
        even = n * (b - n) * x / ((a + 2 * n - 1) * (a + 2 * n))
        odd = -(a + n) * (a + b + n) * x / ((a + 2 * n) * (a + 2 * n + 1))
        step = 1.0
        for term in (even, odd):
            d = 1.0 / (1.0 + term * d)
            c = 1.0 + term / c
            step *= c * d
        value *= step
        if abs(step - 1.0) < 4e-16:
            return value
    raise ArithmeticError(f"the continued fraction of the binomial tail did not converge at a={a:g}, b={b:g}, x={x:g}.")


def binomial_log_tail(least: SupportsIndex, trials: SupportsIndex, probability: SupportsFloat) -> float:
    """``log P(Binomial(n, p) >= t) = log I_p(t, n - t + 1)``, right also far below underflow.

    Where it underflows, ``P = P(Binomial = t) (1 - p) F`` with the continued fraction ``F`` of the incomplete beta
    function and the mass in Loader's form.

    Args:
        least: ``t``, any integer; at most 0 gives 0.0, above ``n`` gives ``-inf``.
        trials: ``n >= 1``, up to 2^53.
        probability: ``p`` in (0, 1).

    >>> round(math.exp(binomial_log_tail(2, 3, 0.5)), 12), round(binomial_log_tail(5000, 5000, 0.5) / math.log(2), 9)
    (0.5, -5000.0)
    """
    t, n, p = _binomial("least", least, trials, probability)
    if t <= 0:
        return 0.0
    if t > n:
        return -math.inf
    tail = float(special.betainc(t, n - t + 1, p))
    if tail > 0.5:
        return math.log1p(-float(special.betaincc(t, n - t + 1, p)))
    if tail > SMALLEST_TAIL:
        return math.log(tail)
    return _log_mass(t, n, p) + math.log1p(-p) + math.log(_beta_fraction(t, n - t + 1, p))


def binomial_log_lower_tail(most: SupportsIndex, trials: SupportsIndex, probability: SupportsFloat) -> float:
    """``log P(Binomial(n, p) <= s)``: :func:`binomial_log_tail` of the failures, with the digits of a small ``p`` kept.

    >>> round(math.exp(binomial_log_lower_tail(1, 3, 0.5)), 12)
    0.5
    """
    s, n, p = _binomial("most", most, trials, probability)
    if s < 0:
        return -math.inf
    if s >= n:
        return 0.0
    tail = float(special.betaincc(s + 1, n - s, p))
    if tail > 0.5:
        return math.log1p(-float(special.betainc(s + 1, n - s, p)))
    if tail > SMALLEST_TAIL:
        return math.log(tail)
    return _log_mass(s, n, p) + math.log(p) + math.log(_beta_fraction(n - s, s + 1, 1.0 - p))


def _binomial(
    name: str, count: SupportsIndex, trials: SupportsIndex, probability: SupportsFloat
) -> tuple[int, int, float]:
    """The arguments of a binomial tail, checked."""
    return (
        check_integer(name, count, minimum=-(2**62)),
        check_integer("trials", trials, minimum=1, maximum=2**53),
        check_number("probability", probability, 0.0, 1.0, open_minimum=True, open_maximum=True),
    )


@dataclass(frozen=True)
class Lemma5Counts:
    """The counts that Claims 4 to 6 are about, for a layer of ``width`` rows with ``k`` winners.

    ``U`` rows have ``X >= R2``, ``V`` rows ``X >= R1``, ``B`` rows lie in ``[R2, R2']`` and ``D`` in ``[R1', R1]``:

        U ~ Binomial(l, (1-e) gamma), V ~ Binomial(l, (1+e) gamma), B, D ~ Binomial(l, e gamma)

    Thresholds are exact: they compare an integer with a fraction.

    >>> counts = Lemma5Counts.of(4096, 409, 0.9)
    >>> counts.most_above, counts.least_reaching, counts.least_in_window
    (407, 411, 2)
    """

    width: int
    k: int
    epsilon: float

    @classmethod
    def of(cls, width: SupportsIndex, k: SupportsIndex, cosine: SupportsFloat) -> Lemma5Counts:
        """Check the hypotheses of Lemma 5: ``k/l < 0.48`` and a cosine in (0.5, 1)."""
        width, k = check_width_and_winners(width, k)
        if not k < 0.48 * width:
            raise InvalidArgumentError(f"k={k} is outside the hypothesis of Lemma 5: it must be below 0.48 * {width}.")
        return cls(width, k, lemma5_epsilon(cosine))

    @property
    def ratio(self) -> float:
        """``gamma = k / l``."""
        return self.k / self.width

    def _times_k(self, whole: int, part: Fraction) -> Fraction:
        return (whole + part * Fraction(self.epsilon)) * self.k

    @property
    def most_above(self) -> int:
        """Event E1: ``U <= (1 - eps/2) gamma l``, rounded down."""
        return math.floor(self._times_k(1, Fraction(-1, 2)))

    @property
    def least_reaching(self) -> int:
        """Event E2: ``V >= (1 + eps/2) gamma l``, rounded up."""
        return math.ceil(self._times_k(1, Fraction(1, 2)))

    @property
    def least_in_window(self) -> int:
        """Events E3 and E4: ``D, B >= eps gamma l / 2``, rounded up."""
        return math.ceil(self._times_k(0, Fraction(1, 2)))

    @property
    def above(self) -> float:
        """``P(X >= R2)``."""
        return (1.0 - self.epsilon) * self.ratio

    @property
    def reaching(self) -> float:
        """``P(X >= R1)``."""
        return (1.0 + self.epsilon) * self.ratio

    @property
    def window(self) -> float:
        """``P(R2 <= X <= R2') = P(R1' <= X <= R1)``."""
        return self.epsilon * self.ratio

    def log_claim4(self) -> tuple[float, float, float]:
        """``log`` of the left sides of (11), (12) and (13); that of (14) equals that of (13)."""
        many = binomial_log_tail(math.ceil(self._times_k(1, Fraction(-1, 2))), self.width, self.above)
        few = binomial_log_lower_tail(math.floor(self._times_k(1, Fraction(1, 2))), self.width, self.reaching)
        empty = binomial_log_lower_tail(math.floor(self._times_k(0, Fraction(1, 2))), self.width, self.window)
        return many, few, empty

    def log_not_e1_e2(self) -> tuple[float, float]:
        """``log P(not E1)`` and ``log P(not E2)``: strict inequalities, where (11) and (12) have weak ones."""
        return (
            binomial_log_tail(self.most_above + 1, self.width, self.above),
            binomial_log_lower_tail(self.least_reaching - 1, self.width, self.reaching),
        )

    def log_no_success(self, failing: float) -> float:
        """``log E[q^B] = l log(1 - (1-q) eps gamma)``: no row of a window is hit where a row misses with chance ``q``.

        Averaged over the binomial number of rows, so that no event about that number is needed.
        """
        return self.width * math.log1p(-(1.0 - failing) * self.window)


def claim5_row_failure() -> float:
    """``P(Y >= -16 eps sqrt(2 pi) alpha / sqrt(1 - alpha^2)) = Phi(sqrt(2 pi)/6)``: as ``eps`` is, free of ``alpha``.

    The proof bounds it by ``16 eps alpha/sqrt(1 - alpha^2) + 1/2 = 2/3``.

    >>> round(claim5_row_failure(), 6)
    0.661943
    """
    return float(special.ndtr(math.sqrt(2.0 * math.pi) / 6.0))


def lemma5_exact_steps(width: SupportsIndex, sparsity_ratio: float, cosine: SupportsFloat, log: bool = False) -> float:
    """An upper bound of the failure probability of Lemma 5: the proof's own steps with their exact probabilities.

        P(not E1) + P(not E2) + E[q^B] + E[(1/2)^D],  q = Phi(sqrt(2 pi)/6)

    If E1 and E2 hold, some row of ``[R2, R2']`` has ``Y < -16 eps sqrt(2 pi) alpha/sqrt(1 - alpha^2)`` and some row of
    ``[R1', R1]`` has ``Y >= 0``, then the first is a winner of ``x``, the second a loser, and (17), (19) and Claim 3
    give the margin. ``E[q^B]`` counts empty windows as failures, so E3 and E4 are not needed. ``k = floor(gamma l)``.

    Args:
        width: ``l``, up to 2^53.
        sparsity_ratio: ``gamma`` in (0, 0.48).
        cosine: ``alpha`` in (0.5, 1).
        log: return the natural logarithm.

    >>> lemma5_exact_steps(10**8, 0.1, 0.8) < 1e-12
    True
    """
    width = check_integer("width", width, minimum=1, maximum=2**53)
    counts = Lemma5Counts.of(width, winners(width, sparsity_ratio), cosine)
    logarithm = float(
        np.logaddexp.reduce(
            [*counts.log_not_e1_e2(), counts.log_no_success(claim5_row_failure()), counts.log_no_success(0.5)]
        )
    )
    return logarithm if log else math.exp(logarithm)


def lemma5_best_steps(
    width: SupportsIndex,
    sparsity_ratio: float,
    cosine: SupportsFloat,
    log: bool = False,
    margin: SupportsFloat | None = None,
) -> float:
    """The same argument with the window, the thresholds and the split of the margin chosen best.

    For any ``e < 1/2`` and ``0 <= h <= 1`` let ``c = (alpha (R2' - R1') + margin) / sqrt(1 - alpha^2)``. The rows above
    ``R2`` are winners if ``U <= k``, those below ``R1`` losers if ``V >= k``, and a row of the upper window with
    ``Y < -h c`` falls by the margin below a row of the lower window with ``Y > (1-h) c``. So the failure probability is
    at most, for every ``e`` and ``h``,

        P(U > k) + P(V < k) + E[Phi(h c)^B] + E[Phi((1-h) c)^D]

    By the symmetry of the last two terms ``h = 1/2`` is taken; ``e`` is searched. Whatever the search finds is a valid
    bound. Arguments as in :func:`lemma5_exact_steps`; ``margin`` is that of the lemma if ``None``.

    >>> lemma5_best_steps(10**4, 0.1, 0.9) < 1e-12 < 1 < lemma5_exact_steps(10**4, 0.1, 0.9)
    True
    """
    width = check_integer("width", width, minimum=1, maximum=2**53)
    k = winners(width, sparsity_ratio)
    epsilon = Lemma5Counts.of(width, k, cosine).epsilon
    alpha = float(cosine)
    sine = math.sqrt((1.0 - alpha) * (1.0 + alpha))
    gap = 4.0 * epsilon * math.sqrt(2.0 * math.pi) if margin is None else check_number("margin", margin, 0.0)

    def bound(log_window: float) -> float:
        counts = Lemma5Counts(width, k, math.exp(log_window))
        far, near = (special.ndtri((1.0 + s * counts.epsilon) * counts.ratio) for s in (2, -2))
        half = float(special.ndtr(0.5 * (alpha * (far - near) + gap) / sine))
        winners_fail = binomial_log_tail(k + 1, width, counts.above)
        losers_fail = binomial_log_lower_tail(k - 1, width, counts.reaching)
        return float(np.logaddexp.reduce([winners_fail, losers_fail, math.log(2.0) + counts.log_no_success(half)]))

    # Both windows must stay inside (0, 1): (1 + 2e) gamma < 1.
    ends = math.log(1e-7), math.log(min(0.49, 0.49 * (1.0 / (k / width) - 1.0)))
    found = optimize.minimize_scalar(bound, bounds=ends, method="bounded", options={"xatol": 1e-3})
    logarithm = min(bound(math.log(epsilon)), float(found.fun))
    return logarithm if log else math.exp(logarithm)


def log_event(counts: Lemma5Counts, upper_weight: float = 1.0, lower_weight: float = 1.0) -> tuple[float, float]:
    """Bracket of ``log E[ v^B w^D 1(E) ]``, ``E`` the four events at once, ``v`` and ``w`` the weights in (0, 1].

    ``v^B w^D`` times a multinomial law is again a multinomial law with the probabilities of the two windows scaled by
    ``v`` and ``w``, times ``s^l`` with ``s = 1 - ((1-v) + (1-w)) eps gamma``. Under that law, with ``C`` rows in
    ``[R1, R2]``,

        P(E) = sum over u <= (1-e/2)k and c >= (1+e/2)k - u of
               P(U = u) P(C = c | u) P(B >= t | U = u) P(D >= t | l - u - c),    t = eps k / 2

    which is summed where it has at most :data:`LARGEST_SUM` terms (what lies more than 14 standard deviations and 60
    rows away is left out). Beyond, ``1 - P(not E1) - ... - P(not E4) <= P(E) <= 1``.

    Returns:
        Lower and upper end; both ``-inf`` where ``E`` is impossible, as it is for ``k = 1``.

    >>> low, high = log_event(Lemma5Counts.of(100, 10, 0.6))
    >>> round(math.exp(low), 5), round(math.exp(high), 5)
    (7e-05, 7e-05)
    """
    v = check_number("upper_weight", upper_weight, 0.0, 1.0, open_minimum=True)
    w = check_number("lower_weight", lower_weight, 0.0, 1.0, open_minimum=True)
    n, window, t = counts.width, counts.window, counts.least_in_window
    scale = 1.0 - ((1.0 - v) + (1.0 - w)) * window
    log_scale = n * math.log1p(-((1.0 - v) + (1.0 - w)) * window)
    if counts.most_above < t:
        return -math.inf, -math.inf
    upper, lower = v * window / scale, w * window / scale
    above = (counts.above - window) / scale + upper
    between = 2.0 * window / scale
    spread = lambda mean: 14.0 * math.sqrt(mean) + 60.0  # noqa: E731
    first = max(0, math.floor(n * above - spread(n * above)))
    least_between = max(0, counts.least_reaching - counts.most_above)
    most_between = math.ceil(max(n * between, counts.least_reaching - n * above) + spread(n * (between + above)))
    if (counts.most_above - first + 1) * (most_between - least_between + 1) > LARGEST_SUM:
        missed = [
            binomial_log_tail(counts.most_above + 1, n, above),
            binomial_log_lower_tail(counts.least_reaching - 1, n, above + between),
            binomial_log_lower_tail(t - 1, n, upper),
            binomial_log_lower_tail(t - 1, n, lower),
        ]
        some = sum(map(math.exp, missed))
        return (log_scale + math.log1p(-some) if some < 1.0 else -math.inf), log_scale
    log_factorial = special.gammaln
    parts = []
    for u in range(max(first, t), counts.most_above + 1):
        c = np.arange(max(0, counts.least_reaching - u), min(most_between, n - u) + 1)
        if len(c) == 0:
            continue
        rest = n - u - c
        log_terms = log_factorial(n + 1.0) - log_factorial(u + 1.0) - log_factorial(c + 1.0) - log_factorial(rest + 1.0)
        log_terms += u * math.log(above) + c * math.log(between) + rest * math.log1p(-above - between)
        enough = special.betainc(t, np.maximum(rest - t + 1, 1), lower / (1.0 - above - between)) * (rest >= t)
        inner = float(np.exp(log_terms) @ enough) * float(special.betainc(t, u - t + 1, upper / above))
        parts.append(inner)
    total = math.fsum(parts)
    if total == 0.0:
        return -math.inf, -math.inf
    value = log_scale + math.log(total)
    return value - ACCURACY, value + ACCURACY
