"""What may be in a network, and that everything else is refused by name."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from kwta_theory import KWTA, LWTA
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.regions import line_regions


class Function(nn.Module):
    """Between two layers, a function; ``self.scale`` is a constant of its own."""

    def __init__(self, function, inputs=6, outputs=None):
        super().__init__()
        self.first, self.function = nn.Linear(4, inputs), function
        self.register_buffer("scale", torch.linspace(-1, 1, inputs))
        self.last = nn.LazyLinear(2) if outputs is None else nn.Linear(outputs, 2)

    def forward(self, x):
        return self.last(self.function(self.first(x), self.scale))


def model_of(function, inputs=6) -> nn.Module:
    model = Function(function, inputs).double()
    with torch.no_grad():
        model(torch.zeros(3, 4, dtype=torch.float64))
    rng = np.random.default_rng(0)
    for parameter in model.requires_grad_(False).parameters():
        parameter.copy_(torch.from_numpy(rng.standard_normal(tuple(parameter.shape))))
    return model.eval()


def ends(seed=1):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(2 * rng.standard_normal((2, 4))) for _ in range(2)]


TREATED = {
    "sum": lambda y, c: y + c - 2 * y + (1 - y) / 2 - y.relu(),
    "constants": lambda y, c: (c * y.relu() / (c + 3) + c[None]).mul(2).div(3),
    "alpha": lambda y, c: torch.add(y.relu(), y, alpha=-0.5) + torch.sub(c, y, alpha=2),
    "in place": lambda y, _: functional.relu(y, inplace=True).add_(1).mul_(2),
    "operators in place": lambda y, c: in_place(y, c),
    "shortcut over a cut": lambda y, _: (
        y + functional.relu(y - 1) + 0.3 * functional.relu(y) + functional.relu(functional.relu(y) - 0.5)
    ),
    "concatenation": lambda y, c: torch.cat([y, y.relu(), -y, c.expand(len(y), -1)], 1),
    "stack": lambda y, _: torch.stack([y, y.abs()], 1).flatten(1),
    "mean": lambda y, _: torch.cat([y.relu().mean(1, keepdim=True), y.relu().sum(-1)[:, None]], 1),
    "views": lambda y, _: y.view(y.size(0), 2, 3).relu().transpose(1, 2).reshape(y.shape[0], -1)[:, 1:5],
    "unflatten": lambda y, _: y.unflatten(1, (2, 3)).abs().permute(0, 2, 1).flatten(1),
    "chunks": lambda y, _: y.relu().chunk(2, 1)[0] - y.abs().split([2, 3, 1], 1)[1],
    "clamp": lambda y, _: y.clamp(-0.5, 0.7) + torch.clamp(y, min=0.1) + y.clamp(max=1.0),
    "matrix": lambda y, _: y.relu() @ torch.ones(6, 3, dtype=y.dtype),
    "threshold": lambda y, _: functional.threshold(y, 0.3, -1.0),
    "leaky": lambda y, _: functional.leaky_relu(y, 0.3) + functional.hardtanh(y, -0.2, 0.3) + functional.relu6(3 * y),
    "prelu": lambda y, c: functional.prelu(y, c),
    "negation": lambda y, _: -y.relu(),
    "squeeze": lambda y, _: y.unsqueeze(1).relu().squeeze(1),
    "pad": lambda y, _: functional.pad(functional.pad(y, (1, 2), value=0.5).relu(), (0, 1)),
    "detach": lambda y, _: y.detach().clone().contiguous().to(y.dtype).double().relu(),
    "split of the batch by size": lambda y, _: y.view(y.shape[0], -1).relu() if y.shape[0] > 1 else y,
}


def in_place(y, c):
    y = y.relu()
    y += c
    y *= 2
    y -= 0.1
    y /= 4
    return y.abs_().clamp_(max=1.0)


@pytest.mark.parametrize("name", TREATED)
def test_functions_that_are_treated(name):
    """The output between breakpoints is the network's own, at 400 points of each line, and there are breakpoints."""
    agrees(model_of(TREATED[name]))


TREATED_PICTURES = {
    "convolutions": nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1, padding_mode="reflect"), nn.ReLU(), nn.ConvTranspose2d(3, 2, 2, 2)
    ),
    "pooling by the mean": nn.Sequential(
        nn.ReLU(), nn.AvgPool2d(2, 1, padding=1), nn.LeakyReLU(), nn.AdaptiveAvgPool2d((2, 1))
    ),
    "max-pooling": nn.MaxPool2d(2, stride=1, padding=1, dilation=2),
    "max-pooling with ceil": nn.MaxPool2d(3, 2, ceil_mode=True),
    "adaptive max-pooling": nn.AdaptiveMaxPool2d((3, 2)),
    "max-pooling in one dimension": nn.Sequential(
        nn.Flatten(2), nn.MaxPool1d(3, 2, 1), nn.Conv1d(1, 2, 3), nn.ReLU(), nn.AdaptiveMaxPool1d(2)
    ),
    "batch norm": nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.ReLU6(), nn.Dropout2d()),
    "batch norm without weights": nn.Sequential(nn.BatchNorm2d(1, affine=False), nn.ReLU(), nn.Identity()),
    "k-WTA": nn.Sequential(nn.Conv2d(1, 3, 2), KWTA(0.3), nn.Upsample(scale_factor=2)),
    "LWTA": nn.Sequential(nn.Conv2d(1, 5, 2), LWTA(2, partial_group=True), nn.ZeroPad2d(1), nn.PReLU()),
    "pixel shuffle": nn.Sequential(nn.Conv2d(1, 4, 2), nn.PixelShuffle(2), nn.Hardtanh()),
}


@pytest.mark.parametrize("name", TREATED_PICTURES)
def test_layers_on_pictures(name):
    layer = copy.deepcopy(TREATED_PICTURES[name]).double().eval()
    first, last = nn.Linear(4, 16), nn.LazyLinear(2)
    model = nn.Sequential(first, nn.Unflatten(1, (1, 4, 4)), layer, nn.Flatten(), last).double()
    model(torch.zeros(1, 4, dtype=torch.float64))
    model.requires_grad_(False)
    rng = np.random.default_rng(3)
    for parameter in model.parameters():
        parameter.copy_(torch.from_numpy(rng.standard_normal(tuple(parameter.shape))))
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.from_numpy(rng.uniform(-1, 1, module.num_features)))
            module.running_var.copy_(torch.from_numpy(rng.uniform(0.5, 2, module.num_features)))
    agrees(model, unseen="one dimension" in name)


def agrees(model: nn.Module, *, unseen: bool = False) -> None:
    start, end = ends()
    for i, line in enumerate(line_regions(model, start, end)):
        assert line.count > 1
        t = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
        torch.testing.assert_close(
            line.value_at(t), model(start[i] + t[:, None] * (end - start)[i]), rtol=1e-9, atol=1e-9
        )
        # Every breakpoint is one: the slope or the value changes, unless what changed is unseen by the layers behind.
        change = line.jumps.abs().amax(1) + (line.right_slopes - line.left_slopes).abs().amax(1)
        assert (change.max() if unseen else change.min()) > 1e-9


REFUSED = {
    "sigmoid": (lambda y, _: torch.sigmoid(y), "sigmoid"),
    "softmax": (lambda y, _: y.softmax(1), "softmax"),
    "layer norm": (lambda y, _: functional.layer_norm(y, (6,)), "layer_norm"),
    "product": (lambda y, _: y * y, "multiplies two activations"),
    "product in place": (lambda y, _: y.relu().mul_(y), "multiplies two activations"),
    "quotient": (lambda y, c: c / y, "divides by an activation"),
    "rounded quotient": (lambda y, c: torch.div(y, c, rounding_mode="floor"), "divides and rounds"),
    "power": (lambda y, _: y**2, "pow"),
    "exponential": (lambda y, _: torch.exp(y), "exp"),
    "gelu": (lambda y, _: functional.gelu(y), "gelu"),
    "comparison": (lambda y, _: y * (y > 0), "gt"),
    "top-k": (lambda y, _: torch.where(y >= y.topk(2).values[:, -1:], y, 0), "topk"),
    "control flow": (lambda y, _: y if y.sum() > 0 else -y, "batch"),
    "numbers": (lambda y, _: y * y[0, 0].item(), "batch"),
    "numpy": (lambda y, _: torch.from_numpy(np.maximum(y.numpy(), 0)), "numpy"),
    "list": (lambda y, _: torch.tensor(y.tolist()), "tolist"),
    "data": (lambda y, _: y.data, "data"),
    "mean over the batch": (lambda y, _: y - y.mean(0, keepdim=True), "batch"),
    "mean of everything": (lambda y, _: y - y.mean(), "batch"),
    "batch moved": (lambda y, _: y.transpose(0, 1).transpose(0, 1), "batch"),
    "batch mixed": (lambda y, _: y.view(-1), "batch"),
    "joined along the batch": (lambda y, _: torch.cat([y, y]), "along the batch"),
    "view changed in place": (lambda y, _: (y.view(-1, 2, 3).relu_(), y)[1], "view"),
    "constant changed in place": (lambda y, c: c.expand(2, 6).clone().add_(y), "constant tensor"),
    "activation as a weight": (lambda y, c: functional.linear(c, y), "weight"),
    "matrix of activations": (lambda y, _: y @ y.T, "T"),
    "integers": (lambda y, _: y.to(torch.int64), "floating point"),
    "rounding": (lambda y, _: y.round(), "round"),
    "constants for each sample": (lambda y, _: y + torch.arange(2.0)[:, None], "differs between the samples"),
    "chosen by indices": (lambda y, _: y[:, [0, 1]], "indices"),
    "dropout": (lambda y, _: functional.dropout(y, 0.5, training=True), "eval"),
    "clipped at tensors": (lambda y, c: torch.clamp(y, c, c + 1), "clips at tensors"),
    "empty interval": (lambda y, _: functional.hardtanh(y.clamp(1.0, 0.0)), "without interior"),
    "random slopes": (lambda y, _: functional.rrelu(y, training=True), "at random"),
    "norm": (lambda y, _: y / y.norm(dim=1, keepdim=True), "norm"),
    "sort": (lambda y, _: y.sort(1).values, "sort"),
    "einsum": (lambda y, _: torch.einsum("bi,bj->bi", y, y), "einsum"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused_by_name(name):
    function, words = REFUSED[name]
    model = Function(function, outputs=6).double()
    with pytest.raises(InvalidArgumentError, match=words):
        line_regions(model, *ends())


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Sigmoid(), r"layer '1' \(Sigmoid\) calls sigmoid"),
        (nn.Tanh(), r"layer '1' \(Tanh\) calls tanh"),
        (nn.Softmax(1), r"layer '1' \(Softmax\) calls softmax"),
        (nn.LayerNorm(8), r"layer '1' \(LayerNorm\) calls layer_norm"),
        (nn.GroupNorm(2, 8), r"layer '1' \(GroupNorm\) calls group_norm"),
        (nn.BatchNorm1d(8), r"layer '1' \(BatchNorm1d\) normalises by the statistics of the batch"),
        (nn.Dropout(0.5), r"layer '1' \(Dropout\) drops units at random"),
        (nn.GELU(), r"layer '1' \(GELU\) calls gelu"),
        (nn.SiLU(), r"layer '1' \(SiLU\) calls silu"),
        (nn.Softplus(), r"layer '1' \(Softplus\)"),
        (nn.GLU(), r"layer '1' \(GLU\) calls glu"),
        (nn.MultiheadAttention(8, 2), r"layer '1' \(MultiheadAttention\)|forward"),
        (LWTA(3), r"layer '1' \(LWTA\) has groups of 3"),
        (nn.Sequential(nn.Unflatten(1, (2, 2, 2)), nn.LPPool2d(2, 2)), r"layer '1.1' \(LPPool2d\)"),
        (nn.MaxPool1d(2), r"layer '1' \(MaxPool1d\) asks for the indices of a pooling, or takes the batch"),
    ],
)
def test_layers_are_refused_by_name(layer, words):
    model = nn.Sequential(nn.Linear(4, 8), layer).train()
    with pytest.raises((InvalidArgumentError, TypeError), match=words):
        line_regions(model, *ends())


def test_batch_norm_that_keeps_no_statistics_is_refused_in_evaluation_mode():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, track_running_stats=False)).eval()
    with pytest.raises(InvalidArgumentError, match=r"layer '1' \(BatchNorm1d\)"):
        line_regions(model, *ends())


def test_a_subclass_with_a_forward_of_its_own_is_not_taken_for_k_wta():
    class Other(KWTA):
        def forward(self, y):
            return super().forward(y) ** 2

    class Named(KWTA):
        pass

    with pytest.raises(InvalidArgumentError, match=r"Other\) calls"):
        line_regions(nn.Sequential(nn.Linear(4, 8), Other(0.5)), *ends())
    assert line_regions(nn.Sequential(nn.Linear(4, 8), Named(0.5)), *ends())[0].count > 1


class Named(nn.Module):
    """Functions and modules, one of them used twice."""

    def __init__(self):
        super().__init__()
        self.block, self.act, self.last = nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8)

    def forward(self, x):
        return functional.relu(self.act(self.last(self.act(self.block(x)))) - 1)


def test_names_of_layers():
    (line, _) = line_regions(Named(), *ends())
    assert line.layer_names == ("act", "act#2", "relu")
    (line, _) = line_regions(nn.Sequential(Named(), nn.Sequential(nn.ReLU())), *ends())
    assert line.layer_names == ("0.act", "0.act#2", "0.relu", "1.0")
    (line, _) = line_regions(KWTA(0.5), *ends())
    assert line.layer_names == ("KWTA",)


def test_patterns_only_on_request():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    assert line_regions(model, *ends())[0].patterns is None
    assert line_regions(model, *ends(), patterns=True)[0].patterns is not None


def test_a_network_without_activations_has_one_region():
    for line in line_regions(nn.Linear(4, 3), *ends()):
        assert line.count == 1
        assert line.breakpoints.shape == (0,)
        assert line.jumps.shape == (0, 3)
        assert line.layer_names == ()


def test_arguments():
    model, (start, end) = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), ends()
    for arguments, words in (
        (("model", start, end), "model is a str"),
        ((model, start.numpy(), end), "start is not a tensor"),
        ((model, start, end.bool()), "end is not a tensor"),
        ((model, start[0], end[0]), r"start has shape \(4,\)"),
        ((model, start[:0], end[:0]), "not empty"),
        ((model, start, end * torch.inf), "end has NaN or infinity"),
        ((model, start, end[:1]), "must be the same"),
        ((nn.Sequential(model, Pair()), start, end), "returned a tuple"),
    ):
        with pytest.raises(InvalidArgumentError, match=words):
            line_regions(*arguments)
    with pytest.raises(InvalidArgumentError, match="tolerance=0"):
        line_regions(model, start, end, tolerance=0)
    with pytest.raises(InvalidArgumentError, match="memory=0"):
        line_regions(model, start, end, memory=0)
    with pytest.raises(InvalidArgumentError, match="device='nowhere'"):
        line_regions(model, start, end, device="nowhere")
    assert line_regions(model, start, end, device="cpu")[0].count > 0


class Pair(nn.Module):
    def forward(self, x):
        return x, x
