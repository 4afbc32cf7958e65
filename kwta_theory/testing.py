"""Property tests of one's own k-WTA activation: inputs made to break it, a reference, and laws to hold it to.

Random normal numbers never tie, so an activation that keeps too many entries on a tie passes every test on them. The
strategies here make ties, near ties (neighbouring floating-point numbers), signed zeros, subnormals, infinities and
huge magnitudes common. Needs hypothesis: ``pip install 'kwta-theory[property-tests]'``.

    from kwta_theory.testing import check_activation
    check_activation(my_kwta, dtype=torch.float16)      # raises BrokenLawError with the smallest counterexample

or, inside a test of your own:

    @given(layer_outputs_and_winners(dtype=torch.bfloat16))
    def test_my_kwta(case):
        y, k = case
        assert broken_laws(my_kwta, y, k) == []
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, SupportsIndex

import torch

from kwta_theory.activation import activation_pattern
from kwta_theory.checks import InvalidArgumentError, check_integer

try:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
except ImportError:
    raise ImportError(
        "kwta_theory.testing needs hypothesis, which is not installed: pip install 'kwta-theory[property-tests]'."
    ) from None

Activation = Callable[[torch.Tensor, int], torch.Tensor]
"""``(y, k) -> `` a tensor of the shape and dtype of ``y``, with the winners taken along the last dimension."""

_WIDTHS: dict[torch.dtype, Any] = {torch.float16: 16, torch.bfloat16: 32, torch.float32: 32, torch.float64: 64}


class BrokenLawError(AssertionError):
    """An activation broke a law; the message has the law, ``y``, ``k`` and what came out."""


def reference_kwta(values: Sequence[float], k: int) -> list[float]:
    """k-WTA by its definition: entry ``j`` survives if fewer than ``k`` entries beat it.

    Entry ``i`` beats ``j`` if it is larger, or equal with a smaller index; NaN ranks above all numbers. Plain Python
    floats, quadratic in the width, no tensor library: the referee of :func:`kwta_theory.kwta`.

    >>> reference_kwta([1.0, 3.0, 2.0, 3.0, 2.0], k=3)
    [0.0, 3.0, 2.0, 3.0, 0.0]
    """
    ranks = [(math.isnan(v), 0.0 if math.isnan(v) else v, -index) for index, v in enumerate(values)]
    beaten_by = [sum(other > rank for other in ranks) for rank in ranks]
    return [value if count < k else 0.0 for value, count in zip(values, beaten_by, strict=True)]


def _numbers(dtype: torch.dtype, allow_nan: bool, allow_infinity: bool) -> st.SearchStrategy[float]:
    """Python floats that ``dtype`` represents exactly, special ones often."""
    limits = torch.finfo(dtype)
    # A subnormal is the smallest normal number times a power of two down to eps; both ends are included.
    special = [0.0, -0.0, 1.0, -1.0, limits.tiny, -limits.tiny, limits.tiny * limits.eps, -limits.tiny * limits.eps]
    special += [limits.max, limits.min] + [math.inf, -math.inf] * allow_infinity + [math.nan] * allow_nan
    plain = st.floats(width=_WIDTHS[dtype], allow_nan=allow_nan, allow_infinity=allow_infinity)
    # Cast here: bfloat16 has no hypothesis width; a float32 is cut to it, towards zero so that it stays finite.
    return st.one_of(st.sampled_from(special), st.integers(-3, 3).map(float), plain.map(_to(dtype)))


def _to(dtype: torch.dtype) -> Callable[[float], float]:
    if dtype != torch.bfloat16:
        return float

    def cut(value: float) -> float:
        if not math.isfinite(value):
            return value
        bits = torch.tensor(value, dtype=torch.float32).view(torch.int32) & -0x10000
        return bits.view(torch.float32).item()

    return cut


def _neighbours(value: float, dtype: torch.dtype) -> list[float]:
    """The value and the representable numbers next to it that are finite."""
    here = torch.tensor(value, dtype=dtype)
    around = [torch.nextafter(here, torch.tensor(side, dtype=dtype)).item() for side in (-math.inf, math.inf)]
    return [value, *(number for number in around if math.isfinite(number))]


@st.composite
def layer_outputs(
    draw: st.DrawFn,
    dtype: torch.dtype = torch.float32,
    *,
    min_width: int = 1,
    max_width: int = 12,
    batch_shape: Sequence[int] | st.SearchStrategy[Sequence[int]] = (),
    allow_nan: bool = False,
    allow_infinity: bool = True,
) -> torch.Tensor:
    """Strategy of outputs of a layer before its activation: tensors of shape ``(*batch_shape, width)``.

    Every entry is drawn from a palette of one to four numbers and their neighbours in ``dtype``, or afresh. So most
    examples have ties, many of them at the boundary between winners and losers.

    Args:
        draw: given by hypothesis.
        dtype: float16, bfloat16, float32 or float64.
        min_width: smallest width, at least 1.
        max_width: largest width.
        batch_shape: the dimensions before the last, or a strategy of them.
        allow_nan: whether NaN occurs.
        allow_infinity: whether infinities occur.

    Raises:
        InvalidArgumentError: when an argument is outside its range, at the first draw.
    """
    if dtype not in _WIDTHS:
        raise InvalidArgumentError(f"dtype={dtype} is not allowed: it must be float16, bfloat16, float32 or float64.")
    check_integer("max_width", max_width, minimum=check_integer("min_width", min_width, minimum=1))
    shape = batch_shape if isinstance(batch_shape, Sequence) else draw(batch_shape)
    batch = [check_integer("batch_shape", size) for size in shape]
    width = draw(st.integers(min_width, max_width))
    numbers = _numbers(dtype, allow_nan, allow_infinity)
    base = draw(st.lists(numbers, min_size=1, max_size=4))
    palette = st.sampled_from([number for value in base for number in _neighbours(value, dtype)])
    size = math.prod(batch) * width
    entries = draw(st.lists(st.one_of(palette, palette, numbers), min_size=size, max_size=size))
    return torch.tensor(entries, dtype=dtype).reshape(*batch, width)


@st.composite
def layer_outputs_and_winners(
    draw: st.DrawFn, dtype: torch.dtype = torch.float32, **options: Any
) -> tuple[torch.Tensor, int]:
    """Strategy of pairs ``(y, k)``: ``y`` from :func:`layer_outputs` with these options, ``1 <= k <= width``."""
    y = draw(layer_outputs(dtype, **options))
    return y, draw(st.integers(1, y.shape[-1]))


def same_values(a: torch.Tensor, b: torch.Tensor, *, zero_signs: bool = False) -> bool:
    """Whether two tensors agree in dtype, shape and every entry, NaN counted as equal to NaN.

    The laws here take ``-0.0`` for ``0.0``, as the next layer does; with ``zero_signs`` the two differ.
    """
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    equal = (a == b) & (a.signbit() == b.signbit()) if zero_signs else a == b
    return bool((equal | (a.isnan() & b.isnan())).all())


def _rows(y: torch.Tensor) -> list[torch.Tensor]:
    return list(y.reshape(-1, y.shape[-1]))


def _reference(activation: Activation, y: torch.Tensor, k: int) -> bool:
    expected = [reference_kwta(row.tolist(), k) for row in _rows(y)]
    return same_values(activation(y, k), torch.tensor(expected, dtype=y.dtype).reshape(y.shape))


def _gradient(activation: Activation, y: torch.Tensor, k: int) -> bool:
    leaf = y.clone().requires_grad_()
    (mask,) = torch.autograd.grad(activation(leaf, k), leaf, torch.ones_like(y), allow_unused=True)
    return mask is not None and torch.equal(mask, activation_pattern(y, k).to(y.dtype))


def _identity(activation: Activation, y: torch.Tensor, k: int) -> bool:  # noqa: ARG001 (a law takes all three)
    return same_values(activation(y, y.shape[-1]), y)


def _batch(activation: Activation, y: torch.Tensor, k: int) -> bool:
    alone = [activation(row, k) for row in _rows(y)]
    return not alone or same_values(activation(y, k), torch.stack(alone).reshape(y.shape))


def _scale(activation: Activation, y: torch.Tensor, k: int) -> bool:
    finite = y.abs().masked_fill(~y.isfinite(), 0.0)
    # Doubling is exact, subnormals included, unless it overflows: then the law says nothing.
    return bool((finite > torch.finfo(y.dtype).max / 2).any()) or same_values(
        activation(y + y, k), 2 * activation(y, k)
    )


def _permutation(activation: Activation, y: torch.Tensor, k: int) -> bool:
    ordered = y.sort(dim=-1, descending=True).values
    if k < y.shape[-1] and _some_equal(ordered[..., k - 1], ordered[..., k]):
        return True  # a tie across the boundary is broken by the index, which a permutation changes
    return same_values(activation(y.flip(-1), k), activation(y, k).flip(-1))


def _some_equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether some entry of ``a`` equals that of ``b``, NaN counted as equal to NaN."""
    return bool(((a == b) | (a.isnan() & b.isnan())).any())


def _input(activation: Activation, y: torch.Tensor, k: int) -> bool:
    before = y.clone()
    activation(y, k)
    return same_values(y, before)


_LAWS: dict[str, tuple[str, Callable[[Activation, torch.Tensor, int], bool]]] = {
    "reference": ("the k largest entries survive, ties to the smaller index, the others are 0", _reference),
    "gradient": ("the derivative is 1 at the k winners and 0 elsewhere", _gradient),
    "identity": ("with k = width nothing changes", _identity),
    "batch": ("a row in a batch is treated as the row alone", _batch),
    "scale": ("doubling the input doubles the output", _scale),
    "permutation": ("without a tie at the boundary, reversing the units reverses the output", _permutation),
    "input": ("the input is not written to", _input),
}
LAWS: dict[str, str] = {name: sentence for name, (sentence, _) in _LAWS.items()}
"""The names of the laws, and what each says."""


def broken_laws(activation: Activation, y: torch.Tensor, k: int, laws: Iterable[str] = tuple(LAWS)) -> list[str]:
    """Return the names of the laws that ``activation`` breaks at ``(y, k)``; ``[]`` if it keeps them all.

    An activation of another kind (a group-wise or a smooth one) may be held to some of them: name these in ``laws``.

    Raises:
        InvalidArgumentError: when a name is not in :data:`LAWS`.

    >>> keep_all_ties = lambda y, k: y * (y >= y.topk(k).values[..., -1:])
    >>> broken_laws(keep_all_ties, torch.tensor([1.0, 2.0, 2.0]), k=1)
    ['reference', 'gradient']
    """
    return [name for name in _check_laws(laws) if not _LAWS[name][1](activation, y, k)]


def _check_laws(laws: Iterable[str]) -> tuple[str, ...]:
    names = tuple(laws)
    for name in names:
        if name not in _LAWS:
            raise InvalidArgumentError(f"laws={name!r} is not allowed: it must be among {', '.join(_LAWS)}.")
    return names


def check_activation(
    activation: Activation,
    *,
    dtype: torch.dtype = torch.float32,
    laws: Iterable[str] = tuple(LAWS),
    max_width: int = 12,
    allow_nan: bool = False,
    max_examples: SupportsIndex = 200,
) -> None:
    """Hold ``activation`` to the laws on ``max_examples`` examples, always the same ones, alone and in batches.

    Args:
        activation: ``(y, k) -> output``, winners along the last dimension.
        dtype: float16, bfloat16, float32 or float64.
        laws: names from :data:`LAWS`.
        max_width: largest width of an example.
        allow_nan: whether the examples have NaN. Off, because not every activation defines what it does with it.
        max_examples: number of examples, at least 1.

    Raises:
        BrokenLawError: with the smallest counterexample that hypothesis finds.
        InvalidArgumentError: when an argument is outside its range.

    >>> from kwta_theory import kwta
    >>> check_activation(kwta, dtype=torch.float16, allow_nan=True, max_examples=20)
    """
    names = _check_laws(laws)
    examples = check_integer("max_examples", max_examples, minimum=1)
    cases = layer_outputs_and_winners(
        dtype, max_width=max_width, batch_shape=st.sampled_from([(), (1,), (3,)]), allow_nan=allow_nan
    )

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(cases)
    def every_example(case: tuple[torch.Tensor, int]) -> None:
        y, k = case
        broken = broken_laws(activation, y, k, names)
        if broken:
            laws_in_words = "; ".join(f"{name} ({LAWS[name]})" for name in broken)
            raise BrokenLawError(f"k={k}, y={y!r} gives {activation(y, k)!r}, which breaks: {laws_in_words}.")

    every_example()
