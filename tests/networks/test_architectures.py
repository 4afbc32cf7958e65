"""Architectures: published numbers of parameters, and every forward pass against one written from the papers.

The references below are functions of an image and a dictionary of weights. They share with the package nothing but the
names of the weights, and write convolution out as a sum over shifts, normalisation and pooling as their formulas.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from kwta_theory import KWTA, replace_activations
from kwta_theory.checks import InvalidArgumentError, winners
from kwta_theory.networks import ARCHITECTURES, Architecture, activation_factory, build, parameter_count
from kwta_theory.networks.architectures.wide_resnet import wide_resnet

NAMES = list(ARCHITECTURES)
ACTIVATIONS = ["relu", "leaky-relu", "kwta-0.1", "lwta-10"]
# Activation modules: 1 + 8 blocks of 2; 58 layers of 2, 3 transitions and the last; 9 blocks of 2 and the last; ...
COUNTS = {"mlp": 2, "smallcnn": 5, "resnet18": 17, "densenet121": 120, "wrn-22-10": 19, "vgg19": 16}
# A width at which the test is quick, and at which 28 x 28 leaves 0.1 N at least one winner everywhere.
QUICK = {"mlp": 0.25, "smallcnn": 0.125, "resnet18": 0.125, "densenet121": 0.125, "wrn-22-10": 0.05, "vgg19": 0.0625}


def on_meta(name: str, activation: str = "relu", channels: int = 3, size: int = 32, width: float = 1.0) -> nn.Module:
    with torch.device("meta"):
        return ARCHITECTURES[name](activation_factory(activation), channels, size, 10, width)


# Numbers of parameters.

PUBLISHED = {
    # The tables of parameters in forks of github.com/kuangliu/pytorch-cifar, the paper's footnote 3.
    "resnet18": 11_173_962,
    "densenet121": 6_956_298,
    "vgg19": 20_040_522,
}
WIDE = {
    # (depth, widening): Zagoruyko and Komodakis, table 4, in millions; osmr/imgclsmob, wrn_cifar.py, exactly.
    (22, 10): (26.8, 26_797_914),
    (28, 10): (36.5, 36_479_194),
    (40, 4): (8.9, 8_949_210),
    (16, 10): (17.1, 17_116_634),
    (40, 8): (35.7, 35_748_314),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers_of_parameters(name: str, activation: str) -> None:
    assert parameter_count(on_meta(name, activation)) == PUBLISHED[name]
    # A grey image saves two thirds of the first convolution, which has 3 x 3 x 64 weights for each channel.
    assert parameter_count(on_meta(name, activation, channels=1)) == PUBLISHED[name] - 2 * 9 * 64


@pytest.mark.parametrize(("shape", "published"), WIDE.items())
def test_wide_residual_networks_by_the_same_builder(shape: tuple[int, int], published: tuple[float, int]) -> None:
    for channels in (1, 3):
        with torch.device("meta"):
            network = wide_resnet(nn.ReLU, channels, 32, 10, 1.0, *shape)
        count = parameter_count(network)
        assert count == published[1] - (3 - channels) * 9 * 16
        assert round(count / 1e6, 1) == pytest.approx(published[0], abs=0.051)  # 8.949 is printed as 8.9
    if shape == (22, 10):
        assert parameter_count(on_meta("wrn-22-10")) == published[1]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28, 29, 30, 31, 32])
def test_small_networks_have_the_parameters_of_the_released_code(size: int, channels: int) -> None:
    # kWTA/mnist_model.py: 3 x 3 convolutions, 7 * 7 * 64 inputs to the hidden layer on MNIST.
    side = math.ceil(math.ceil(size / 2) / 2)
    hidden, last = 64 * side**2 * 256 + 256, 256 * 10 + 10
    convolutions = 9 * (channels * 32 + 32 * 32 + 32 * 64 + 64 * 64) + 32 + 32 + 64 + 64
    assert parameter_count(on_meta("smallcnn", channels=channels, size=size)) == convolutions + hidden + last
    assert parameter_count(on_meta("mlp", channels=channels, size=size)) == (
        channels * size**2 * 256 + 256 + 256 * 256 + 256 + last
    )
    released = build(Architecture("smallcnn", hidden=20_000, width_factor=0.1))
    assert released[9].out_features == 2000


@pytest.mark.parametrize("width", [0.1, 0.25, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_parameters_at_any_width(width: float, channels: int) -> None:
    def block(inputs: int, outputs: int) -> int:  # two convolutions
        return 9 * inputs * outputs + 9 * outputs * outputs

    a, b, c, d = (max(1, round(n * width)) for n in (64, 128, 256, 512))
    convolutions = (
        9 * channels * a + block(a, a) * 2 + sum(block(i, o) + block(o, o) for i, o in [(a, b), (b, c), (c, d)])
    )
    shortcuts, normalised = a * b + b * c + c * d, a + 4 * a + 5 * (b + c + d)
    resnet = convolutions + shortcuts + 2 * normalised + 10 * d + 10
    assert parameter_count(on_meta("resnet18", channels=channels, width=width)) == resnet

    first, a, b, c = (max(1, round(n * width)) for n in (16, 160, 320, 640))
    convolutions = 9 * channels * first + sum(block(i, o) + 2 * block(o, o) for i, o in [(first, a), (a, b), (b, c)])
    normalised = first + a + 4 * a + a + b + 4 * b + b + c + 4 * c + c
    wide = convolutions + first * a + a * b + b * c + 2 * normalised + 10 * c + 10
    assert parameter_count(on_meta("wrn-22-10", channels=channels, width=width)) == wide


def test_only_trainable_numbers_are_counted() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    network[0].bias.requires_grad_(False)
    assert parameter_count(network) == 6 + 4


@pytest.mark.parametrize("name", NAMES)
def test_every_activation_is_a_module_of_its_own_and_is_used_once(name: str) -> None:
    network = on_meta(name, "kwta-0.5", size=28, channels=1)
    modules = [module for module in network.modules() if isinstance(module, KWTA)]
    assert len(modules) == COUNTS[name]
    calls: list[nn.Module] = []
    for module in modules:
        module.register_forward_hook(lambda module, *_: calls.append(module))
    network.eval()(torch.empty(2, 1, 28, 28, device="meta"))
    assert set(calls) == set(modules)
    assert len(calls) == len(modules)


# The forward passes.

Weights = dict[str, torch.Tensor]
Activation = Callable[[torch.Tensor], torch.Tensor]


def conv(x: torch.Tensor, p: Weights, name: str, stride: int = 1) -> torch.Tensor:
    """A convolution that keeps the size at stride 1, as a sum over the shifts of the image."""
    weight = p[f"{name}.weight"]
    size, margin = weight.shape[-1], weight.shape[-1] // 2
    padded = x.new_zeros(*x.shape[:2], x.shape[2] + 2 * margin, x.shape[3] + 2 * margin)
    padded[:, :, margin : margin + x.shape[2], margin : margin + x.shape[3]] = x
    total: Any = 0
    for i in range(size):
        for j in range(size):
            shifted = padded[:, :, i : i + x.shape[2], j : j + x.shape[3]][:, :, ::stride, ::stride]
            total = total + torch.einsum("bchw,oc->bohw", shifted, weight[:, :, i, j])
    bias = p.get(f"{name}.bias")
    return total if bias is None else total + bias[:, None, None]


def norm(x: torch.Tensor, p: Weights, name: str) -> torch.Tensor:
    mean, var, weight, bias = (
        p[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return weight * (x - mean) / torch.sqrt(var + 1e-5) + bias


def linear(x: torch.Tensor, p: Weights, name: str) -> torch.Tensor:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def pooled(x: torch.Tensor, how: str) -> torch.Tensor:
    """The mean or the maximum of squares of 2 x 2; an odd row or column at the end is left out."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    squares = torch.stack([x[:, :, i : 2 * height : 2, j : 2 * width : 2] for i in (0, 1) for j in (0, 1)])
    return squares.mean(0) if how == "mean" else squares.amax(0)


def resnet18(x: torch.Tensor, p: Weights, act: Activation) -> torch.Tensor:
    x = act(norm(conv(x, p, "0"), p, "1"))
    for number in range(8):
        name = str(3 + number)
        stride = 2 if number in (2, 4, 6) else 1  # the first block of each stage but the first
        y = act(norm(conv(x, p, f"{name}.conv1", stride), p, f"{name}.bn1"))
        y = norm(conv(y, p, f"{name}.conv2"), p, f"{name}.bn2")
        x = act(y + (norm(conv(x, p, f"{name}.shortcut.0", stride), p, f"{name}.shortcut.1") if stride == 2 else x))
    return linear(x.mean((2, 3)), p, "11.2")


def wide(x: torch.Tensor, p: Weights, act: Activation) -> torch.Tensor:
    x = conv(x, p, "0")
    for number in range(9):
        name = str(1 + number)
        stride = 2 if number in (3, 6) else 1
        first = act(norm(x, p, f"{name}.bn1"))
        y = conv(act(norm(conv(first, p, f"{name}.conv1", stride), p, f"{name}.bn2")), p, f"{name}.conv2")
        x = y + (conv(first, p, f"{name}.shortcut", stride) if number in (0, 3, 6) else x)
    return linear(act(norm(x, p, "10")).mean((2, 3)), p, "12.2")


def densenet121(x: torch.Tensor, p: Weights, act: Activation) -> torch.Tensor:
    x, name = conv(x, p, "0"), 1
    for block, depth in enumerate((6, 12, 24, 16)):
        if block:
            x = pooled(conv(act(norm(x, p, f"{name}.0")), p, f"{name}.2"), "mean")
            name += 1
        for _ in range(depth):
            y = conv(act(norm(x, p, f"{name}.bn1")), p, f"{name}.conv1")
            new = conv(act(norm(y, p, f"{name}.bn2")), p, f"{name}.conv2")
            x, name = torch.cat([new, x], 1), name + 1
    return linear(act(norm(x, p, f"{name}")).mean((2, 3)), p, f"{name + 2}.2")


def vgg19(x: torch.Tensor, p: Weights, act: Activation) -> torch.Tensor:
    name = 0
    if x.shape[-1] < 32:
        missing, name = 32 - x.shape[-1], 1
        x = nn.functional.pad(x, (missing // 2, missing - missing // 2) * 2)
    for depth in (2, 2, 4, 4, 4):
        for _ in range(depth):
            x, name = act(norm(conv(x, p, f"{name}"), p, f"{name + 1}")), name + 3
        x, name = pooled(x, "max"), name + 1
    return linear(x.mean((2, 3)), p, f"{name}.2")


def smallcnn(x: torch.Tensor, p: Weights, act: Activation) -> torch.Tensor:
    for name, stride in (("0", 1), ("2", 2), ("4", 1), ("6", 2)):
        x = act(conv(x, p, name, stride))
    return linear(act(linear(x.reshape(len(x), -1), p, "9")), p, "11")


def mlp(x: torch.Tensor, p: Weights, act: Activation) -> torch.Tensor:
    return linear(act(linear(act(linear(x.reshape(len(x), -1), p, "1")), p, "3")), p, "5")


REFERENCES = {
    "mlp": mlp,
    "smallcnn": smallcnn,
    "resnet18": resnet18,
    "densenet121": densenet121,
    "wrn-22-10": wide,
    "vgg19": vgg19,
}


def naive_activation(name: str) -> Activation:
    def kwta(y: torch.Tensor) -> torch.Tensor:
        rows = y.reshape(len(y), -1).numpy()
        out = np.zeros_like(rows)
        for row, kept in zip(rows, out, strict=True):
            best = sorted(range(len(row)), key=lambda i: (-row[i], i))[: winners(len(row), float(name[5:]))]
            kept[best] = row[best]
        return torch.from_numpy(out).reshape(y.shape)

    def lwta(y: torch.Tensor) -> torch.Tensor:
        out = torch.zeros_like(y)
        for start in range(0, y.shape[1], 10):
            group = y[:, start : start + 10]
            best = group.argmax(1, keepdim=True)
            out[:, start : start + 10] = torch.zeros_like(group).scatter(1, best, group.gather(1, best))
        return out

    if name.startswith("kwta"):
        return kwta
    return lwta if name.startswith("lwta") else (lambda y: torch.where(y > 0, y, 0 * y if name == "relu" else 0.01 * y))


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """In float64 and evaluation mode, with statistics and scales that a wrong normalisation would show.

    PyTorch's weights are enlarged, so that an image is not lost on its way through a hundred layers.
    """
    generator = torch.Generator().manual_seed(seed)
    normalised = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and normalised:
            module.weight.data *= 2.5
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
    return network.double().eval()


def pixels(channels: int, size: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


CASES = [
    *((name, activation, 1, 28) for name in NAMES for activation in ("relu", "kwta-0.1")),
    *((name, "lwta-10", 3, 32) for name in NAMES if name != "densenet121"),
    ("smallcnn", "leaky-relu", 3, 29),
    ("resnet18", "leaky-relu", 3, 33),
    ("vgg19", "relu", 3, 9),
]


@pytest.mark.parametrize(("name", "activation", "channels", "size"), CASES)
def test_the_forward_pass_is_that_of_the_papers(name: str, activation: str, channels: int, size: int) -> None:
    network = randomised(build(Architecture(name, activation, channels, size, width_factor=QUICK[name]), seed=5))
    x = pixels(channels, size)
    with torch.no_grad():
        ours, reference = network(x), REFERENCES[name](x, dict(network.state_dict()), naive_activation(activation))
    assert ours.shape == (2, 10)
    assert (ours[0] - ours[1]).abs().max() > 1e-3, "an output that forgets the image would agree with much"
    torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-9)


def test_the_comparison_notices_a_wrong_network() -> None:
    # Negative control: each of these is an error of one line in an architecture.
    network = randomised(build(Architecture("wrn-22-10", "relu", width_factor=0.05)))
    x, p = pixels(1, 28), dict(network.state_dict())
    act = naive_activation("relu")
    right = network(x)
    torch.testing.assert_close(right, wide(x, p, act), rtol=1e-9, atol=1e-9)
    p["1.bn2.running_var"] = p["1.bn2.running_var"] * 1.001
    assert (right - wide(x, p, act)).abs().max() > 1e-6  # a thousand times the tolerance
    flipped = {key: value.flip(-1) if value.ndim == 4 else value for key, value in network.state_dict().items()}
    assert (right - wide(x, flipped, act)).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_reach_the_image_and_every_weight(name: str, activation: str) -> None:
    network = build(Architecture(name, activation, 3, 32, width_factor=QUICK[name]))
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    network(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad != 0).any(dim=(1, 2, 3)).all()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [8, 28, 45])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_of_image_and_the_smallest_width(name: str, size: int, channels: int) -> None:
    network = on_meta(name, channels=channels, size=size, width=1e-6)
    assert network.eval()(torch.empty(2, channels, size, size, device="meta")).shape == (2, 10)


def test_a_layer_without_a_winner_is_named_at_the_first_call() -> None:
    network = build(Architecture("mlp", "kwta-0.1", hidden=9))
    with pytest.raises(InvalidArgumentError, match=r"sparsity_ratio=0.1 of width=9 leaves floor\(0.9\) = 0 winners"):
        network(torch.rand(1, 1, 28, 28))


@pytest.mark.parametrize("name", NAMES)
def test_no_device_is_assumed(name: str) -> None:
    network = on_meta(name, "kwta-0.1", 1, 28).eval()
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    with FakeTensorMode():
        weights = {key: torch.empty(shape, device="cuda") for key, shape in shapes.items()}
        out = torch.func.functional_call(network, weights, torch.empty(2, 1, 28, 28, device="cuda"))
        assert (out.device.type, out.shape) == ("cuda", (2, 10))


# Replacing the activations.


@pytest.mark.parametrize("name", NAMES)
def test_replaced_activations_give_the_network_that_is_built_with_them(name: str) -> None:
    architecture = Architecture(name, "relu", width_factor=QUICK[name])
    network = randomised(build(architecture))
    replaced = replace_activations(network, activation_factory("kwta-0.1"))
    assert (replaced.modules, replaced.calls, replaced.unreplaced) == (COUNTS[name], 0, ())
    built = build(Architecture(name, "kwta-0.1", width_factor=QUICK[name]), seed=9).double().eval()
    built.load_state_dict(network.state_dict())
    x = pixels(1, 28)
    with torch.no_grad():
        assert torch.equal(replaced.model(x), built(x))
        assert not torch.allclose(replaced.model(x), network(x))
        back = replace_activations(replaced.model, nn.ReLU)
        assert torch.equal(back.model(x), network(x))


# Building.


@contextlib.contextmanager
def defaults(dtype: torch.dtype, device: str) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("name", NAMES)
def test_weights_follow_from_the_seed_alone(name: str) -> None:
    architecture = Architecture(name, "kwta-0.1", width_factor=QUICK[name])
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    first = build(architecture, seed=4)
    with defaults(torch.float64, "meta"):
        second = build(architecture, seed=4)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpy_state, strict=True))  # noqa: NPY002
    assert random.getstate() == python_state
    other = build(architecture, seed=5).state_dict()
    for key, value in first.state_dict().items():
        assert value.device.type == "cpu"
        assert value.dtype in (torch.float32, torch.int64)
        assert torch.equal(value, second.state_dict()[key])
        assert torch.equal(value, other[key]) == ("weight" not in key or bool((value == 1).all())) or value.ndim < 2
    assert first.training


@pytest.mark.parametrize("name", NAMES)
def test_the_default_initialisation_is_that_of_the_constructors(name: str) -> None:
    built = build(Architecture(name, width_factor=QUICK[name], initialisation="pytorch"), seed=11)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        constructed = ARCHITECTURES[name](nn.ReLU, 1, 28, 10, QUICK[name])
    for key, value in constructed.state_dict().items():
        assert torch.equal(built.state_dict()[key], value), key


def test_initialisation_matters_without_normalisation_only() -> None:
    for name in NAMES:
        scaled, default = (
            build(Architecture(name, width_factor=QUICK[name], initialisation=how)) for how in ("scaled", "pytorch")
        )
        same = all(torch.equal(a, b) for a, b in zip(scaled.parameters(), default.parameters(), strict=True))
        assert same == (name not in ("mlp", "smallcnn"))


def test_the_architecture_travels_with_the_network_and_through_files() -> None:
    given = Architecture(
        "smallcnn", "lwta-10", np.int64(3), np.int32(32), np.int16(7), np.float64(0.125), np.uint8(64), "pytorch"
    )
    network = build(given)
    assert network.architecture == given
    assert Architecture(**json.loads(json.dumps(given.as_json()))) == given
    file = io.BytesIO()
    torch.save(given.as_json(), file)
    file.seek(0)
    assert Architecture(**torch.load(file, weights_only=True)) == given
    assert network(torch.rand(1, 3, 32, 32)).shape == (1, 7)
    assert network[9].out_features == 8


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "resnet50"}, "arch='resnet50' is not known: it must be one of mlp, smallcnn, resnet18"),
        ({"name": ["mlp"]}, r"arch=\['mlp'\] is not known"),
        ({"activation": "tanh"}, "activation='tanh' is not known"),
        ({"activation": "kwta-2"}, "activation='kwta-2': sparsity_ratio"),
        ({"channels": 2}, "channels=2 is not allowed: images have 1 or 3"),
        ({"channels": 4}, r"channels=4 is not allowed: it must be an integer in \[1, 3\]"),
        ({"channels": 1.0}, "channels=1.0 is not allowed"),
        ({"image_size": 7}, "image_size=7 is not allowed: it must be an integer of at least 8"),
        ({"classes": 1}, "classes=1 is not allowed"),
        ({"classes": True}, "classes=True is not allowed"),
        ({"width_factor": 0}, r"width_factor=0 is not allowed: it must be a finite number in \(0, 100\]"),
        ({"width_factor": float("nan")}, "width_factor=nan is not allowed"),
        ({"width_factor": 101}, "width_factor=101 is not allowed"),
        ({"width_factor": "1"}, "width_factor='1' is not allowed"),
        ({"hidden": 0}, "hidden=0 is not allowed"),
        ({"name": "vgg19", "hidden": 5}, "hidden=5 has no effect with arch='vgg19': leave it out"),
        ({"initialisation": "xavier"}, "initialisation='xavier' is not known: it must be 'scaled' or 'pytorch'"),
        ({"initialisation": []}, r"initialisation=\[\] is not known"),
    ],
)
def test_what_is_not_allowed(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidArgumentError, match=sentence):
        Architecture(**{"name": "smallcnn", **change})


def test_what_cannot_be_built() -> None:
    for seed in (-1, 0.5, True, 2**63):
        with pytest.raises(InvalidArgumentError, match=f"seed={seed} is not allowed"):
            build(Architecture("mlp"), seed)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="architecture='mlp' is not allowed: it must be an Architecture"):
        build("mlp")  # type: ignore[arg-type]
    for depth in (4, 23, 9):
        with pytest.raises(InvalidArgumentError, match=f"depth={depth} is not allowed"):
            wide_resnet(nn.ReLU, 3, 32, 10, 1.0, depth)
