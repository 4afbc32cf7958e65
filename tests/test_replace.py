"""Replacing the activations of models of many shapes; what cannot be replaced is said."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (the name that it has everywhere)
from torch import nn

from kwta_theory.activation import kwta
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.modules import KWTA, LWTA
from kwta_theory.networks.architectures import Architecture, build
from kwta_theory.replace import ACTIVATIONS, Replacement, UnreplacedActivationWarning, replace_activations

Call = Callable[[torch.Tensor], torch.Tensor]


def half() -> KWTA:
    return KWTA(0.5)


def inputs(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def two_winners_of_four(y: torch.Tensor) -> torch.Tensor:
    return kwta(y, 2)


class Calling(nn.Module):
    """A linear layer and one call."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.call = call

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.call(self.linear(x))


class Block(nn.Module):
    """Residual: a module used at two places with different sizes, a functional call, dropout that follows the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(4, 8), nn.Linear(8, 4)
        self.act = nn.ReLU(inplace=True)
        self.register_buffer("shift", torch.ones(4), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.narrow(self.act(self.wide(x))))
        y = F.dropout(y, p=0.5, training=self.training)
        return F.relu(y + x + self.shift * 2)


class Branching(nn.Module):
    """Control flow on values, which torch.fx cannot record."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) if x.sum() > 0 else self.act(x)


@pytest.mark.parametrize("kind", [kind for kind in ACTIVATIONS if kind not in (KWTA, LWTA)])
def test_every_module_of_the_list(kind: type[nn.Module]) -> None:
    model = nn.Sequential(nn.Linear(3, 4), kind())
    replaced = replace_activations(model, half)
    assert (replaced.modules, replaced.calls, replaced.unreplaced) == (1, 0, ())
    assert isinstance(replaced.model[1], KWTA)
    assert torch.equal(replaced.model(inputs(5, 3)), kwta(model[0](inputs(5, 3)), 2))


@pytest.mark.parametrize(
    "call",
    [
        torch.relu,
        torch.relu_,
        torch.selu,
        torch.celu,
        F.relu,
        lambda y: F.relu(y, inplace=True),
        lambda y: F.relu(input=y),
        F.relu_,
        lambda y: y.relu(),
        lambda y: y.relu_(),
        F.relu6,
        lambda y: F.leaky_relu(y, 0.2, True),
        F.leaky_relu_,
        F.elu,
        F.elu_,
        F.gelu,
        F.silu,
        F.selu,
        F.celu,
        F.mish,
        F.softplus,
        F.hardswish,
        F.rrelu,
        lambda y: F.prelu(y, torch.tensor([0.1])),
    ],
)
def test_every_call_of_the_list(call: Call) -> None:
    model = Calling(call)
    replaced = replace_activations(model, half)
    assert (replaced.modules, replaced.calls, replaced.unreplaced) == (0, 1, ())
    assert torch.equal(replaced.model(inputs(5, 3)), two_winners_of_four(model.linear(inputs(5, 3))))
    assert sum(isinstance(part, KWTA) for part in replaced.model.modules()) == 1


def test_the_model_itself_may_be_an_activation() -> None:
    replaced = replace_activations(nn.ReLU().eval(), half)
    assert isinstance(replaced.model, KWTA)
    assert (replaced.modules, replaced.calls, replaced.model.training) == (1, 0, False)


def test_nested_modules_and_calls_with_a_module_used_twice() -> None:
    model = nn.Sequential(Block(), nn.ModuleDict({"tail": nn.Sequential(nn.GELU(), Block())})["tail"]).eval()
    replaced = replace_activations(model, half)
    assert (replaced.modules, replaced.calls, replaced.unreplaced) == (3, 2, ())
    x = expected = inputs(5, 4)
    for block in (model[0], model[1][1]):
        if block is model[1][1]:
            expected = kwta(expected, 2)
        y = kwta(block.narrow(kwta(block.wide(expected), 4)), 2)
        expected = kwta(y + expected + 2, 2)
    assert torch.equal(replaced.model(x), expected)


def test_one_object_in_two_places_is_replaced_by_one_object() -> None:
    act = nn.ReLU()
    replaced = replace_activations(nn.Sequential(act, nn.Linear(2, 2), act), half)
    assert replaced.modules == 1
    assert replaced.model[0] is replaced.model[2]


def test_the_model_is_copied_and_left_as_it_was() -> None:
    model = nn.Sequential(Block())
    before = repr(model), {name: value.clone() for name, value in model.state_dict().items()}
    replaced = replace_activations(model, half).model
    with torch.no_grad():
        for parameter in replaced.parameters():
            parameter.add_(1.0)
    assert repr(model) == before[0]
    assert all(torch.equal(value, before[1][name]) for name, value in model.state_dict().items())


def test_state_dict_mode_and_class_are_kept() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4).eval(), Block(), nn.ReLU())
    replaced = replace_activations(model, half).model
    assert list(replaced.state_dict()) == list(model.state_dict())
    replaced.load_state_dict(model.state_dict())
    assert [part.training for part in replaced][:2] == [False, True]
    assert isinstance(replaced, nn.Sequential)
    assert type(replaced[1]).__name__ == "Block"


@pytest.mark.parametrize("training", [True, False])
def test_dropout_follows_train_and_eval_whatever_the_mode_was_when_replaced(training: bool) -> None:
    model = replace_activations(Block().train(training), lambda: KWTA(1.0)).model
    stored = pickle.loads(pickle.dumps(model)), copy.deepcopy(model)
    assert model.training == training
    x = torch.ones(64, 4)
    for network in (model, *stored):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            assert not torch.equal(network.train()(x), network(x))
            assert torch.equal(network.eval()(x), network(x))
    assert torch.equal(model(x), stored[0](x))
    assert torch.equal(model(x), stored[1](x))


def test_gradients_reach_the_parameters_of_a_rewritten_module() -> None:
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(inputs(4, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x @ (self.weight / self.weight.norm()).T)

    model = Normalised()
    replaced = replace_activations(model, half).model
    with torch.no_grad():
        replaced.weight.mul_(torch.tensor([1.0, 2.0, 3.0]))
    x = inputs(2, 3)
    assert torch.equal(replaced(x), kwta(x @ (replaced.weight / replaced.weight.norm()).T, 2))
    replaced(x).sum().backward()
    assert replaced.weight.grad.any()


def test_a_call_in_place_is_seen_by_the_later_code() -> None:
    class InPlace(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x * 1
            before = y + 0
            y.relu_()
            return before + y

    x = inputs(5, 4)
    assert torch.equal(replace_activations(InPlace(), half).model(x), x + kwta(x, 2))


@pytest.mark.parametrize("inplace", [True, False])
def test_a_module_in_place_is_seen_by_the_later_code(inplace: bool) -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU(inplace=inplace)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x * 1
            z = self.act(y)
            return y + 10 * z

    x = inputs(5, 4)
    expected = 11 * kwta(x, 2) if inplace else x + 10 * kwta(x, 2)
    assert torch.allclose(replace_activations(InPlace(), half).model(x), expected)


def test_where_recording_fails_the_modules_are_replaced_and_the_calls_are_named() -> None:
    model = nn.Sequential(Branching(), Block())
    with pytest.warns(
        UnreplacedActivationWarning, match=r"0 \(Branching\).*cannot record.*relu at test_replace.py:\d+"
    ):
        replaced = replace_activations(model, half)
    assert (replaced.modules, replaced.calls) == (2, 1)
    assert len(replaced.unreplaced) == 1
    assert isinstance(replaced.model[0].act, KWTA)
    line = int(replaced.unreplaced[0].rsplit(":", 1)[1].rstrip("."))
    with open(__file__) as file:
        assert "torch.relu(x) if x.sum() > 0" in file.readlines()[line - 1]


class Optional(nn.Module):
    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return torch.relu(x if mask is None else x * mask)


class Noisy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + torch.randn(4))


class Remembering(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last = x
        return torch.relu(x)


class PartlyUnused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x)


class Clamping(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(min=0) + torch.clamp_min(x, 0.0) + x.clamp(0, 6) + x.clamp(-1)


class Hidden(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return two_winners_of_four(x)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Optional(), r"argument 'mask' may be None.*not replaced: relu at"),
        (Noisy(), r"draws random numbers.*not replaced: relu at"),
        (Remembering(), r"assigns to the attribute 'last'.*not replaced: relu at"),
        (PartlyUnused(), r"relu not replaced, because forward does not use spare.weight, spare.bias"),
        (Clamping(), r"clamp is clamp\(min=0\)"),
        (Hidden(), r"its class names no activation, but what it calls may"),
        (nn.RNN(4, 4, nonlinearity="relu"), r"ReLU is built into it"),
        (nn.RNNCell(4, 4, nonlinearity="relu"), r"ReLU is built into it"),
        (nn.TransformerEncoderLayer(4, 1, activation=lambda y: F.relu(y)), r"holds as 'activation' was not replaced"),
    ],
)
def test_nothing_is_left_in_silence(part: nn.Module, message: str) -> None:
    state = torch.get_rng_state()
    with pytest.warns(UnreplacedActivationWarning, match=message):
        replaced = replace_activations(nn.ModuleList([nn.ReLU(), part]), half)
    assert (replaced.modules, replaced.calls) == (1, 0)
    assert len(replaced.unreplaced) == (2 if isinstance(part, Clamping) else 1)
    assert torch.equal(state, torch.get_rng_state())
    assert not any(isinstance(value, torch.fx.Proxy) for value in vars(replaced.model[1]).values())


def test_a_forward_put_on_the_object_is_said() -> None:
    model = nn.Sequential(nn.ReLU(), Calling(torch.sin))
    model[1].forward = lambda x: torch.relu(x)
    with pytest.warns(UnreplacedActivationWarning, match="forward was replaced on this object"):
        replace_activations(model, half)


@pytest.mark.parametrize("activation", ["relu", "gelu", F.relu, nn.ReLU()])
def test_transformer_layers_leave_their_fast_path(activation: Any) -> None:
    layer = nn.TransformerEncoderLayer(4, 1, dim_feedforward=6, activation=activation, batch_first=True).eval()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*enable_nested_tensor", UserWarning)
        model = nn.TransformerEncoder(layer, 2).eval()
    replaced = replace_activations(model, lambda: KWTA(0.1))
    assert replaced.modules + replaced.calls == 2
    calls: list[int] = []
    for part in replaced.model.modules():
        if isinstance(part, KWTA):
            part.register_forward_hook(lambda *_: calls.append(1))
    x = inputs(2, 5, 4)
    with torch.no_grad():
        assert not torch.allclose(replaced.model(x), model(x))
    assert len(calls) == 2


def test_the_ratio_of_a_network_is_lowered_step_by_step_and_relu_leads_back() -> None:
    model = replace_activations(Block(), lambda: KWTA(0.5)).model
    lower = replace_activations(model, lambda: KWTA(0.25))
    assert (lower.modules, lower.calls) == (2, 0)
    assert {part.sparsity_ratio for part in lower.model.modules() if isinstance(part, KWTA)} == {0.25}
    original = Block().eval()
    original.load_state_dict(lower.model.state_dict())
    back = replace_activations(lower.model, nn.ReLU).model.eval()
    assert torch.equal(back(inputs(3, 4)), original(inputs(3, 4)))


def test_tensors_outside_the_state_dict_stay_outside_and_move_with_the_model() -> None:
    class Shifting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plain = torch.tensor([1.0, 2.0, 3.0, 4.0])
            self.register_buffer("kept", torch.ones(4))
            self.register_buffer("left", torch.ones(4), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x + self.plain * torch.tensor(2.0) + self.kept + self.left)

    replaced = replace_activations(Shifting(), half).model
    for network in (replaced, copy.deepcopy(replaced), pickle.loads(pickle.dumps(replaced))):
        assert list(network.state_dict()) == ["kept"]
        x = inputs(5, 4)
        assert torch.allclose(network(x), kwta(x + torch.tensor([4.0, 6.0, 8.0, 10.0]), 2))
    assert replaced.double()(inputs(5, 4).double()).dtype == torch.float64


def test_hooks_of_a_rewritten_module_are_kept() -> None:
    model = Calling(F.relu)
    model.register_forward_hook(lambda _module, _inputs, output: output + 1)
    replaced = replace_activations(model, half).model
    assert torch.equal(replaced(inputs(5, 3)), two_winners_of_four(model.linear(inputs(5, 3))) + 1)


def test_a_replacement_with_parameters_goes_to_the_device_of_the_model() -> None:
    replaced = replace_activations(nn.Sequential(nn.Linear(2, 2, device="meta"), nn.ReLU()), nn.PReLU)
    assert replaced.model[1].weight.device.type == "meta"


def test_a_rewritten_model_differentiates_and_maps() -> None:
    model = replace_activations(Block().double().eval(), half).model
    x = inputs(6, 4).double()
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: model(row[None])[0]))(x)
    assert jacobian.shape == (6, 4, 4)
    assert torch.equal((jacobian != 0).any(-1).sum(-1), torch.full((6,), 2))


def test_nothing_to_replace_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"model \(Linear\) has no activation .*ReLU, ReLU6, .*KWTA, LWTA"):
        replace_activations(nn.Linear(2, 2), half)
    with pytest.raises(InvalidArgumentError, match=r"has no activation.*Noisy.*cannot record.*relu at test_replace"):
        replace_activations(Noisy(), half)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_bad_arguments() -> None:
    with pytest.raises(InvalidArgumentError, match="model is a list: it must be a"):
        replace_activations([nn.ReLU()], half)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="factory='relu' is not callable"):
        replace_activations(nn.ReLU(), "relu")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="factory gave a int: it must give a"):
        replace_activations(nn.ReLU(), int)  # type: ignore[arg-type]
    shared = half()
    with pytest.raises(InvalidArgumentError, match="factory gave the same module twice"):
        replace_activations(nn.Sequential(nn.ReLU(), nn.ReLU()), lambda: shared)
    for compiled in (torch.jit.trace(nn.ReLU(), torch.ones(2)), torch.compile(nn.Sequential(nn.ReLU()))):
        with pytest.raises(InvalidArgumentError, match="model has a compiled part"):
            replace_activations(compiled, half)


def test_the_answer_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="cannot assign"):
        replace_activations(nn.ReLU(), half).modules = 5  # type: ignore[misc]
    assert Replacement(nn.ReLU(), 1, 0).unreplaced == ()


def test_a_network_does_not_carry_on_the_architecture_that_it_has_no_longer() -> None:
    network = build(Architecture("mlp", "relu", width_factor=0.1))
    pair = nn.Sequential(network, nn.ReLU())
    pair.architecture = "of the user"  # type: ignore[assignment]
    replaced = replace_activations(pair, half).model
    assert isinstance(network.architecture, Architecture), "the model is left as it is"
    assert not any(hasattr(module, "architecture") for module in replaced.modules() if module is not replaced)
    assert replaced.architecture == "of the user"
    assert not hasattr(replace_activations(network, half).model, "architecture")
