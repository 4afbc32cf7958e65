"""Replacing the activations of any model, wherever they are: modules, functions, methods of tensors.

replaced = replace_activations(torchvision.models.densenet121(), lambda: KWTA(0.1))
replaced.model, replaced.modules, replaced.calls
"""

from __future__ import annotations

import copy
import inspect
import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import fx, nn

from kwta_theory import _recording as recording
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.modules import KWTA, LWTA

ACTIVATIONS: tuple[type[nn.Module], ...] = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.RReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Softplus,
    nn.Hardswish,
    KWTA,
    LWTA,
)
"""The modules that are replaced. Sigmoid, Tanh and Softmax are not: in most networks they are gates and outputs."""


class UnreplacedActivationWarning(UserWarning):
    """An activation was left as it is, or may have been."""


@dataclass(frozen=True)
class Replacement:
    """What :func:`replace_activations` did.

    Attributes:
        model: the copy of the model with its activations replaced.
        modules: how many activation modules were replaced; a module object used in several places counts once.
        calls: how many calls of activation functions were replaced, counted in the code.
        unreplaced: one sentence for each place where an activation was left, or cannot be ruled out.
    """

    model: nn.Module
    modules: int
    calls: int
    unreplaced: tuple[str, ...] = ()


def replace_activations(model: nn.Module, factory: Callable[[], nn.Module]) -> Replacement:
    """Replace every activation of a copy of ``model`` by a fresh module from ``factory``.

    Three kinds of activation are replaced.

    1. Modules: those of :data:`ACTIVATIONS` and their subclasses, at any depth, in any container. One object used in
       several places is replaced by one object. k-WTA is itself in the list, so the sparsity ratio of a network can be
       lowered step by step (Section 2.2), and ``nn.ReLU`` as factory leads back.
    2. Calls: ``torch.relu``, ``F.relu``, ``y.relu_()`` and the functions of the same family. The ``forward`` of every
       module that is not from ``torch.nn`` is recorded with ``torch.fx``, its children being left as they are; a module
       in which calls are found becomes a ``torch.fx.GraphModule`` in which each call is a module of its own. All other
       modules keep their class. ``self.training`` still follows ``train()`` and ``eval()`` there.
    3. Functions held as attributes, such as ``activation`` of ``nn.TransformerEncoderLayer``, whose fused fast path
       (it has ReLU or GELU built in) is switched off.

    Where recording fails, the modules are replaced all the same, and an :class:`UnreplacedActivationWarning` says which
    calls, file and line, were left. It says so too of ``clamp(min=0)``, which may as well be arithmetic, of a function
    that torch's own code holds and that is none of the family, and of ReLU built into ``nn.RNN``. ``unreplaced`` has
    these sentences for a program. Not seen is arithmetic that amounts to an activation, such as ``y * (y > 0)``.

    The model is copied, parameters included, and left as it is; optimisers need the new parameters. Training mode of
    every module, device, hooks and keys of ``state_dict`` are kept (PReLU alone takes its parameters with it). A module
    in place (``nn.ReLU(inplace=True)``) becomes one that is not; a call in place is seen by the later code of the same
    ``forward``. In a ``GraphModule``, as always with torch.fx, plain numbers among the attributes are fixed at the
    values that they had when it was recorded, and the other methods of the class are gone. The ``architecture`` that
    :func:`kwta_theory.networks.build` leaves on a network names its activation, so the copy does not carry it on.

    Args:
        model: any ``nn.Module`` in eager mode; it may be an activation itself.
        factory: called without arguments for each activation; must give a new module every time, for example
            ``lambda: KWTA(0.1)``. It is moved to the device of the model's first parameter or buffer.

    Raises:
        InvalidArgumentError: when there is nothing to replace, or when an argument is not as above.

    >>> from torch import nn
    >>> replace_activations(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), lambda: KWTA(0.25))
    Replacement(model=Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): KWTA(sparsity_ratio=0.25)
      (2): Linear(in_features=8, out_features=2, bias=True)
    ), modules=1, calls=0, unreplaced=())
    """
    if not isinstance(model, nn.Module):
        raise InvalidArgumentError(f"model is a {type(model).__name__}: it must be a torch.nn.Module.")
    for module in model.modules():
        if isinstance(module, torch.jit.ScriptModule) or type(module).__module__.startswith("torch._dynamo"):
            raise InvalidArgumentError("model has a compiled part, whose code is fixed: replace first, compile then.")
    if not callable(factory):
        raise InvalidArgumentError(f"factory={factory!r} is not callable: it must give a fresh module at each call.")
    replacer = _Replacer(copy.deepcopy(model), factory)
    replacer.replace_modules()
    replacer.replace_calls()
    replacer.forget_architecture()
    if replacer.modules + replacer.calls == 0:
        left = "".join(f" {sentence}" for sentence in replacer.unreplaced)
        raise InvalidArgumentError(
            f"model ({type(model).__name__}) has no activation that could be replaced: looked for the modules "
            f"{', '.join(type_.__name__ for type_ in ACTIVATIONS)} and calls of their functions.{left}"
        )
    if replacer.unreplaced:
        warnings.warn("\n".join(replacer.unreplaced), UnreplacedActivationWarning, stacklevel=2)
    return Replacement(replacer.model, replacer.modules, replacer.calls, tuple(replacer.unreplaced))


class _Replacer:
    """The copy while it is worked on, and what was found so far."""

    def __init__(self, model: nn.Module, factory: Callable[[], nn.Module]) -> None:
        self.model = model
        self.factory = factory
        self.modules = 0
        self.calls = 0
        self.unreplaced: list[str] = []
        self.made: dict[nn.Module, bool] = {}  # every replacement so far, and whether what it replaces wrote in place
        home = next(itertools.chain(model.parameters(), model.buffers()), None)
        self.device = None if home is None else home.device

    def make(self, training: bool, in_place: bool = False) -> nn.Module:
        module = self.factory()
        if not isinstance(module, nn.Module):
            raise InvalidArgumentError(f"factory gave a {type(module).__name__}: it must give a torch.nn.Module.")
        if module in self.made:
            raise InvalidArgumentError("factory gave the same module twice: it must give a fresh one at each call.")
        self.made[module] = in_place
        if self.device is not None:
            module.to(self.device)
        return module.train(training)

    def swap(self, old: nn.Module, new: nn.Module) -> None:
        if old is self.model:
            self.model = new
        for parent in list(self.model.modules()):
            for name, child in parent._modules.items():
                if child is old:
                    parent._modules[name] = new

    def replace_modules(self) -> None:
        for module in list(self.model.modules()):
            # A part of an activation that was replaced is gone already.
            if isinstance(module, ACTIVATIONS) and any(module is part for part in self.model.modules()):
                self.swap(module, self.make(module.training, getattr(module, "inplace", False)))
                self.modules += 1

    def replace_calls(self) -> None:
        ours = {part for made in self.made for part in made.modules()}
        named = [(name, module) for name, module in self.model.named_modules() if module not in ours]
        # All are recorded before any is rewritten, so that a parent that calls other methods of a child finds them;
        # children are rewritten first, so that a parent takes them up.
        recorded = [(self.describe(name, module), module, self.record(name, module)) for name, module in named]
        for place, module, recorded_forward in reversed(recorded):
            if recorded_forward is None:
                self.replace_held_functions(place, module)
            else:
                self.rewrite(place, module, recorded_forward)

    def forget_architecture(self) -> None:
        """What is built by it anew would have the old activations, with parameters that fit all the same."""
        carriers = [module for module in self.model.modules() if "architecture" in vars(module)]
        if carriers:  # imported here, because it brings the data sets with it
            from kwta_theory.networks.architectures import Architecture
        for module in carriers:
            if isinstance(module.architecture, Architecture):
                del module.architecture

    @staticmethod
    def describe(name: str, module: nn.Module) -> str:
        return f"{name or 'the model itself'} ({type(module).__name__})"

    def record(self, name: str, module: nn.Module) -> recording.Recording | None:
        """None for torch's own code, and, with a sentence, where recording fails."""
        if str(type(module).forward.__module__).startswith("torch."):
            return None
        try:
            return recording.record(module)
        except Exception as error:  # any code of the user runs here, and may fail in any way on a stand-in for a tensor
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            calls = ", ".join(recording.calls_in_source(type(module)))
            left = f"not replaced: {calls}" if calls else "its class names no activation, but what it calls may"
            self.unreplaced.append(f"{self.describe(name, module)}: torch.fx cannot record forward ({reason}); {left}.")
            return None

    def replace_held_functions(self, place: str, module: nn.Module) -> None:
        for name, value in list(vars(module).items()):
            if recording.is_function(value):
                setattr(module, name, self.make(module.training))
                self.calls += 1
            elif inspect.isroutine(value):
                self.unreplaced.append(f"{place}: the function that it holds as {name!r} was not replaced.")
        if hasattr(module, "activation_relu_or_gelu"):
            # What torch's fused transformer layer reads in evaluation mode; with 0 it runs the code that we changed.
            module.activation_relu_or_gelu = 0  # type: ignore[assignment]
        if getattr(module, "mode", "") == "RNN_RELU" or getattr(module, "nonlinearity", "") == "relu":
            self.unreplaced.append(f"{place}: ReLU is built into it and was not replaced.")

    def rewrite(self, place: str, module: nn.Module, recorded: recording.Recording) -> None:
        """Make every activation call of the graph a module, and ``module`` the graph, if there are any."""
        graph = recorded.graph
        self.unreplaced.extend(
            f"{place}: {node.name} is clamp(min=0), a ReLU if it is meant as an activation; it was not replaced."
            for node in graph.nodes
            if recording.is_clamp_at_zero(node)
        )
        calls = [node for node in graph.nodes if recording.is_activation_call(node)]
        # A module that wrote in place, and its input is read again: the later code means what is now the output.
        stale = [
            node
            for node in graph.nodes
            if node.op == "call_module"
            and node.target != recording.TRAINING_MODE
            and self.made.get(module.get_submodule(node.target))
            and recording.later_readers(node)
        ]
        if not calls and not stale:
            return
        unused = recording.unused_state(module, graph)
        if unused:
            names = ", ".join(node.name for node in calls + stale)
            self.unreplaced.append(
                f"{place}: {names} not replaced, because forward does not use {', '.join(unused)}, which would be lost."
            )
            return
        for node in stale:
            recording.give_output_to(recording.later_readers(node), node)
        free = (name for name in map("activation_{}".format, itertools.count()) if not hasattr(module, name))
        for node in calls:
            name = next(free)
            module.add_module(name, self.make(module.training))
            if recording.is_in_place(node):
                recording.give_output_to(recording.later_readers(node), node)
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.call_module(name, (recording.call_input(node),)))
            graph.erase_node(node)
            self.calls += 1
        recording.hold_tensors(module, recorded)
        module.add_module(recording.TRAINING_MODE, recording.TrainingMode().train(module.training))
        self.swap(module, _graph_module(module, graph))


def _graph_module(module: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """``module`` with ``graph`` as its forward, and with the hooks that ``GraphModule`` leaves behind."""
    rewritten = fx.GraphModule(module, graph, class_name=type(module).__name__)
    for key, value in vars(module).items():
        if key.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")):
            setattr(rewritten, key, value)
    return rewritten
