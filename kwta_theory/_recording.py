"""Activation calls in the code of a module: recording a ``forward`` with torch.fx, and what its nodes mean."""

from __future__ import annotations

import ast
import contextlib
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the name that it has everywhere)
from torch import fx, nn

TRAINING_MODE = "kwta_theory_training_mode"
"""Name of the child of a rewritten module that says whether the module is in training."""

_RECTIFIERS = ["relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu"]
_SMOOTH = ["gelu", "silu", "mish", "softplus", "hardswish"]
NAMES = {name + suffix for name in _RECTIFIERS + _SMOOTH for suffix in ("", "_")}
"""Names of the functions and tensor methods that are replaced; the underscore is the form in place."""

_FUNCTIONS = [getattr(home, name) for home in (torch, F) for name in sorted(NAMES) if hasattr(home, name)]
_CLAMPS = {"clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_"}


class CannotRecordError(Exception):
    """``forward`` does something that a recording would lose or fix; the message is a clause."""


class TrainingMode(nn.Module):
    """A module that returns its own mode: a recorded ``self.training`` that still follows train() and eval()."""

    def forward(self) -> bool:
        """True in training."""
        return self.training


class HeldTensor(nn.Module):
    """A module that returns a tensor which is no part of the ``state_dict``; torch.fx would make it one."""

    def __init__(self, tensor: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("tensor", tensor, persistent=False)

    def forward(self) -> torch.Tensor:
        """The tensor."""
        return self.get_buffer("tensor")


class Tracer(fx.Tracer):
    """Records one ``forward`` with every child as one node, and parameters and buffers as themselves.

    Args:
        follow_training: record ``self.training`` as an output of :class:`TrainingMode` and not as its value. Off when
            torch.fx makes a tracer of its own to read back a stored graph, which has that module already.
    """

    proxy_buffer_attributes = True

    def __init__(self, follow_training: bool = False) -> None:
        super().__init__()
        self.follow_training = follow_training

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 (torch.fx calls it so)
        """Every child."""
        return True

    def create_args_for_root(self, *args: Any, **kwargs: Any) -> Any:
        """The placeholders, and after them the training mode."""
        made = super().create_args_for_root(*args, **kwargs)
        if self.follow_training:
            training = self.create_proxy("call_module", TRAINING_MODE, (), {})
            for part in self.root.modules():
                part.training = training  # type: ignore[assignment]
        return made


@contextlib.contextmanager
def _restored(module: nn.Module) -> Iterator[dict[nn.Module, dict[str, Any]]]:
    """Put every attribute of the module and its children back afterwards; gives the attributes before."""
    before = {part: dict(vars(part)) for part in module.modules()}
    try:
        yield before
    finally:
        for part, attributes in before.items():
            vars(part).clear()
            vars(part).update(attributes)


@dataclass(frozen=True)
class Recording:
    """What was recorded of a ``forward``.

    Attributes:
        graph: its nodes.
        constants: tensors that were made while recording, or are plain attributes; the name is that in the graph.
    """

    graph: fx.Graph
    constants: dict[str, torch.Tensor]


def record(module: nn.Module) -> Recording:
    """Record ``module.forward``. Any exception of the user's code comes through.

    Raises:
        CannotRecordError: where torch.fx would record something else than what the code does.
    """
    if "forward" in vars(module):
        raise CannotRecordError("forward was replaced on this object")
    for parameter in list(inspect.signature(type(module).forward).parameters.values())[1:]:
        if parameter.default is None:
            raise CannotRecordError(
                f"its argument {parameter.name!r} may be None, a case that torch.fx cannot tell apart"
            )
    with torch.random.fork_rng(devices=[]), _restored(module) as before:
        state = torch.get_rng_state()
        graph = Tracer(follow_training=True).trace(module)
        constants = {name: value for name, value in vars(module).items() if name.startswith("_tensor_constant")}
        if not torch.equal(state, torch.get_rng_state()):
            raise CannotRecordError("it draws random numbers that do not depend on its input")
        for part, attributes in before.items():
            for name, value in vars(part).items():
                if name != "training" and name not in constants and attributes.get(name, graph) is not value:
                    raise CannotRecordError(f"it assigns to the attribute {name!r}")
    for node in graph.nodes:
        # Annotations that are text, as in every file with postponed evaluation, would keep the graph from being stored.
        node.type = None
        if node.target == TRAINING_MODE and not node.users:
            graph.erase_node(node)
    return Recording(graph, constants)


def hold_tensors(module: nn.Module, recording: Recording) -> None:
    """Let the graph read what is not in the ``state_dict`` of ``module`` from a :class:`HeldTensor`."""
    tensors = dict(recording.constants)
    for owner_name, owner in module.named_modules():
        tensors |= {f"{owner_name}.{key}".lstrip("."): owner._buffers[key] for key in owner._non_persistent_buffers_set}
    for node in [node for node in recording.graph.nodes if node.op == "get_attr" and node.target in tensors]:
        name = "held_" + str(node.target).replace(".", "_")
        module.add_module(name, HeldTensor(tensors[node.target]))
        with recording.graph.inserting_before(node):
            node.replace_all_uses_with(recording.graph.call_module(name))
        recording.graph.erase_node(node)


def is_function(value: object) -> bool:
    """Whether ``value`` is one of the functions that are replaced."""
    return any(value is function for function in _FUNCTIONS)


def is_activation_call(node: fx.Node) -> bool:
    """A call of a function or of a tensor method of the family."""
    return (node.op == "call_function" and is_function(node.target)) or (
        node.op == "call_method" and node.target in NAMES
    )


def is_clamp_at_zero(node: fx.Node) -> bool:
    """``clamp(min=0)`` in one of its spellings: ReLU, or arithmetic."""
    name = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
    minimum, maximum = (
        node.kwargs.get(key, node.args[place] if len(node.args) > place else None)
        for place, key in ((1, "min"), (2, "max"))
    )
    called = node.op in ("call_function", "call_method") and name in _CLAMPS
    return called and isinstance(minimum, int | float) and minimum == 0 and maximum is None


def call_input(node: fx.Node) -> Any:
    """What the activation is applied to."""
    return node.args[0] if node.args else node.kwargs["input"]


def is_in_place(node: fx.Node) -> bool:
    """Whether an activation call writes to its input."""
    if node.op == "call_method":
        return str(node.target).endswith("_")
    try:
        bound = inspect.signature(node.target).bind(*node.args, **node.kwargs)  # type: ignore[arg-type]
    except ValueError:  # a built-in function, which has no signature and no argument for it
        return getattr(node.target, "__name__", "").endswith("_")
    return bool(bound.arguments.get("inplace", False))


def later_readers(node: fx.Node) -> list[fx.Node]:
    """The nodes after ``node`` that read its input: if it writes in place, they mean its output."""
    after = itertools.dropwhile(lambda other: other is not node, node.graph.nodes)
    return [other for other in itertools.islice(after, 1, None) if call_input(node) in other.all_input_nodes]


def give_output_to(readers: list[fx.Node], node: fx.Node) -> None:
    """Let ``readers`` read the output of ``node`` where they read its input."""
    for reader in readers:
        reader.replace_input_with(call_input(node), node)


def unused_state(module: nn.Module, graph: fx.Graph) -> list[str]:
    """Parameters and buffers that the graph does not mention, which a ``GraphModule`` would not have."""
    used = {str(node.target) for node in graph.nodes if node.op in ("get_attr", "call_module")}
    state = itertools.chain(
        module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False)
    )
    paths = ((name, name.split(".")) for name, _ in state)
    return [name for name, path in paths if not any(".".join(path[:end]) in used for end in range(1, len(path) + 1))]


def calls_in_source(kind: type) -> list[str]:
    """Where the source of a class names a function of the family: ``relu at file.py:12``. Empty without source."""
    places = []
    for base in kind.__mro__:
        if base is object or base.__module__.startswith("torch."):
            continue
        try:
            file = Path(inspect.getfile(base)).name
            lines, first = inspect.getsourcelines(base)
            tree = ast.parse(textwrap.dedent("".join(lines)))
        except (OSError, TypeError, SyntaxError):
            continue
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            function = call.func
            name = getattr(function, "attr", getattr(function, "id", ""))
            # self.relu(y) is a child or an attribute, and these are replaced where they are held.
            own = isinstance(function, ast.Attribute) and getattr(function.value, "id", "") == "self"
            if name in NAMES and not own:
                places.append(f"{name} at {file}:{first + call.lineno - 1}")
    return places
