"""The top-k activation layers of a network, and what they are given when it runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from kwta_theory.activation import activation_pattern
from kwta_theory.checks import InvalidArgumentError, winners
from kwta_theory.modules import KWTA, LWTA
from kwta_theory.replace import ACTIVATIONS

# Functions that mix the units of a sample, with the place of the layer's input among their arguments.
_MIXING: dict[Any, int] = {
    functional.linear: 0, torch.conv1d: 0, torch.conv2d: 0, torch.conv3d: 0, torch.conv_transpose1d: 0,
    torch.conv_transpose2d: 0, torch.conv_transpose3d: 0, torch.matmul: 0, torch.Tensor.matmul: 0,
    torch.Tensor.__matmul__: 0, torch.mm: 0, torch.Tensor.mm: 0, torch.addmm: 1, torch.Tensor.addmm: 1,
}  # fmt: skip
# What somebody's own top-k is made of.
_SELECTING: dict[Any, str] = {
    torch.topk: "topk", torch.Tensor.topk: "topk", torch.kthvalue: "kthvalue", torch.Tensor.kthvalue: "kthvalue",
    torch.sort: "sort", torch.Tensor.sort: "sort", torch.argsort: "argsort", torch.Tensor.argsort: "argsort",
}  # fmt: skip


@dataclass(frozen=True)
class TopKLayer:
    """One use of a :class:`kwta_theory.KWTA` or :class:`kwta_theory.LWTA` in a network.

    Attributes:
        name: the path of the module; a module used again is called ``name#2``, as in
            :class:`kwta_theory.regions.LineRegions`.
        kind: ``"KWTA"`` or ``"LWTA"``.
        width: units of one sample, all dimensions but the batch together.
        k: winners of a group.
        groups: ``(groups, size)``, the units among which ``k`` are chosen, ``-1`` where a group has fewer.
    """

    name: str
    kind: str
    width: int
    k: int
    groups: torch.Tensor = field(repr=False, compare=False)  # a tensor has no truth value

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many units each group has."""
        return tuple((self.groups >= 0).sum(1).tolist())

    @property
    def winners(self) -> int:
        """Units of a pattern."""
        return sum(min(self.k, size) for size in self.sizes)

    def rows(self, z: torch.Tensor) -> torch.Tensor:
        """``(n, width)`` as ``(n, groups, size)``; what is missing never wins."""
        if len(self.groups) == 1:
            return z[:, None, :]
        return z[:, self.groups].masked_fill(self.groups < 0, -torch.inf)

    def pattern(self, z: torch.Tensor) -> torch.Tensor:
        """The winners of each sample, ``(n, width)``, ties to the smaller index."""
        won = activation_pattern(self.rows(z.detach()), min(self.k, self.groups.shape[1]))
        if len(self.groups) == 1:
            return won[:, 0]
        pattern = torch.zeros_like(z, dtype=torch.bool)
        there = self.groups >= 0
        pattern[:, self.groups[there]] = won[:, there]
        return pattern

    def gap(self, z: torch.Tensor) -> torch.Tensor:
        """The k-th largest value minus the next, the smallest over the groups, ``(n,)``; infinity without a loser.

        It carries gradients. 0 is a tie at the threshold, in the dtype of ``z``.
        """
        if self.k >= self.groups.shape[1]:
            return z.new_full((len(z),), torch.inf)
        top = self.rows(z).topk(self.k + 1, dim=2).values
        last, first = top[:, :, self.k - 1], top[:, :, self.k]
        return torch.where(first == -torch.inf, torch.inf, last - first).amin(1)


@dataclass
class Call:
    """What one layer was given: its values ``(n, width)``, and the input of the affine map that made them."""

    module: nn.Module
    name: str
    shape: torch.Size
    z: torch.Tensor
    source: torch.Tensor | None


class _Watch(TorchFunctionMode):
    """Keeps the input of the latest function that mixes units, and counts the functions that select."""

    def __init__(self) -> None:
        super().__init__()
        self.source: torch.Tensor | None = None
        self.place: list[str] = []
        self.selecting: dict[str, None] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _MIXING and len(args) > _MIXING[func]:
            self.source = args[_MIXING[func]]
        elif func in _MIXING:
            self.source = kwargs.get("input")
        elif func in _SELECTING:
            self.selecting.setdefault(f"{self.place[-1]} calls {_SELECTING[func]}" if self.place else _SELECTING[func])
        return func(*args, **kwargs)


def is_top_k(module: nn.Module) -> bool:
    """A KWTA or LWTA; a subclass with a ``forward`` of its own is somebody else's."""
    return any(type(module).forward is kind.forward for kind in (KWTA, LWTA))


@contextmanager
def recorded() -> Iterator[tuple[list[Call], Callable[[nn.Module], None]]]:
    """A list that fills with the calls of top-k layers, in the order of execution; and what starts watching a network.

    The values keep their graph where gradients are on.
    """
    calls: list[Call] = []
    watch = _Watch()
    with ExitStack() as stack:

        def follow(network: nn.Module) -> None:
            for path, module in network.named_modules():
                if is_top_k(module):
                    hook = module.register_forward_pre_hook(lambda m, given, path=path: keep(m, given[0], path))
                    stack.callback(hook.remove)

        def keep(module: nn.Module, y: torch.Tensor, path: str) -> None:
            base = path or type(module).__name__
            uses = 1 + sum(call.module is module for call in calls)
            source = watch.source
            if not (isinstance(source, torch.Tensor) and source.ndim >= 2 and len(source) == len(y)):
                source = None
            flat = None if source is None else source.detach().flatten(1)
            calls.append(Call(module, base if uses == 1 else f"{base}#{uses}", y.shape, y.flatten(1), flat))

        stack.enter_context(watch)
        yield calls, follow


def run(network: nn.Module, inputs: torch.Tensor) -> list[Call]:
    """The calls of the top-k layers when the network sees a batch."""
    with recorded() as (calls, follow):
        follow(network)
        network(inputs)
    return calls


def find_layers(network: nn.Module, inputs: torch.Tensor) -> tuple[TopKLayer, ...]:
    """The top-k layers of a network in the order of execution.

    Args:
        network: in evaluation mode, of the dtype of the inputs.
        inputs: a batch of some samples, ``(n, ...)``.

    Raises:
        InvalidArgumentError: for inputs that the network does not take, and for a network without such a layer; the
            sentence names the activations that it has, and how its own top-k is replaced.
    """
    try:
        with torch.no_grad():
            calls = run(network, inputs)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        first = str(error).strip().splitlines()
        raise InvalidArgumentError(
            f"inputs has shape {tuple(inputs.shape)}, and the network does not run on that: "
            f"{first[0].rstrip('.') if first else type(error).__name__}."
        ) from None
    if not calls:
        raise InvalidArgumentError(_without_top_k(network, inputs))
    wrong = next((call for call in calls if len(call.shape) < 2 or call.shape[0] != len(inputs)), None)
    if wrong is not None:
        raise InvalidArgumentError(
            f"layer {wrong.name!r} is given shape {tuple(wrong.shape)} for a batch of {len(inputs)}: an audit needs "
            "one row for each sample. Put what else there is (tokens, positions) into the rows of the inputs."
        )
    return tuple(_layer(call) for call in calls)


def _layer(call: Call) -> TopKLayer:
    width = math.prod(call.shape[1:])
    index = torch.arange(width, device=call.z.device)
    if isinstance(call.module, LWTA):
        size = call.module.group_size
        channels = functional.pad(index.view(call.shape[1], -1), (0, 0, 0, -call.shape[1] % size), value=-1)
        groups = channels.view(-1, size, channels.shape[1]).transpose(1, 2).reshape(-1, size)
        return TopKLayer(call.name, "LWTA", width, 1, groups)
    assert isinstance(call.module, KWTA)  # is_top_k
    return TopKLayer(call.name, "KWTA", width, winners(width, call.module.sparsity_ratio), index[None])


def _without_top_k(network: nn.Module, inputs: torch.Tensor) -> str:
    names = Counter(
        type(m).__name__
        for m in network.modules()
        if isinstance(m, (*ACTIVATIONS, nn.Sigmoid, nn.Tanh, nn.Softmax, nn.MaxPool1d, nn.MaxPool2d)) or is_top_k(m)
    )
    has = ", ".join(f"{name} ({count})" for name, count in names.items()) or "no activation modules"
    own = _own_selection(network, inputs)
    sentence = f"the network ran without a kwta_theory.KWTA or LWTA: it has {has}."
    if own:
        sentence += (
            f" Its {'; its '.join(own)}: an activation of its own cannot be seen into. Put a module "
            "kwta_theory.KWTA(k / width) in its place, which keeps the k largest entries of each sample."
        )
    else:
        sentence += " kwta_theory.replace_activations(model, lambda: KWTA(ratio)) puts k-WTA in their places."
    return sentence


def _own_selection(network: nn.Module, inputs: torch.Tensor) -> list[str]:
    """The modules that call topk and the like."""
    with _Watch() as watch, ExitStack() as stack, torch.no_grad():
        for path, module in network.named_modules():
            title = f"module {path!r} ({type(module).__name__})" if path else f"forward ({type(module).__name__})"
            enter = module.register_forward_pre_hook(lambda *_, title=title: watch.place.append(title))
            leave = module.register_forward_hook(lambda *_: watch.place.pop() and None)
            stack.callback(enter.remove)
            stack.callback(leave.remove)
        network(inputs)
    return list(watch.selecting)
