"""What attacks of other packages need: the network in their dtype, seeded numbers, and nothing of the caller's touched.

foolbox 3.3.4 and pyautoattack 0.2.0 draw from torch's global generators, fill the gradients of the parameters, and,
on the way, give the root logger a handler (foolbox) or end the tracing of a debugger (pyautoattack).
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from kwta_theory import seeding
from kwta_theory.attacks.ascent import Attacked
from kwta_theory.attacks.ball import bounds, project
from kwta_theory.attacks.draws import image_keys
from kwta_theory.attacks.gradients import attack_mode, logits_of
from kwta_theory.attacks.losses import margin

# foolbox imports GitPython, which refuses to be imported where there is no program git; nothing here needs it.
_WITHOUT_GIT = "GIT_PYTHON_REFRESH"
_SCIPY_REMOVAL = "Please import `gaussian_filter` from the `scipy.ndimage` namespace"


class MissingPackageError(Exception):
    """An optional package that is not installed. The text is one sentence that says how to install it."""


def imported(package: str, extra: str, purpose: str) -> Any:
    """An optional package.

    Args:
        package: what to import.
        extra: of this package, which installs it.
        purpose: for the sentence.

    Raises:
        MissingPackageError: it is not there or does not load.
    """
    before = os.environ.get(_WITHOUT_GIT)
    os.environ[_WITHOUT_GIT] = "quiet"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _SCIPY_REMOVAL, DeprecationWarning)
            return importlib.import_module(package)
    except ImportError as error:
        reason = "is not installed" if isinstance(error, ModuleNotFoundError) else "does not load"
        raise MissingPackageError(f"{purpose} needs {package}, which {reason}: install kwta-theory[{extra}].") from None
    finally:
        if before is None:
            del os.environ[_WITHOUT_GIT]
        else:
            os.environ[_WITHOUT_GIT] = before


class Float(nn.Module):
    """A network as a function from images to logits of their dtype, whatever its own is.

    It hides the network from ``.to``, ``.train`` and ``.parameters``. Where a network is cut off from its input, its
    gradient is zero rather than an error: an attack by gradients then finds nothing, as it should.

    Args:
        network: any network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = (network,)  # in a tuple, where torch does not see it
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, shape ``(B, classes)``, dtype of ``x``."""
        logits = logits_of(self._network[0], x).to(x.dtype)
        if x.requires_grad and torch.is_grad_enabled() and not logits.requires_grad:
            logits = logits + 0 * x.flatten(1).sum(1, keepdim=True)
        return logits


@contextlib.contextmanager
def borrowed(model: nn.Module, images: torch.Tensor, seed: int, name: str) -> Iterator[Float]:
    """A network to hand to others; what they may spoil is as before when it comes back.

    Within it the network is in evaluation mode, its parameters ask for no gradient, and torch's generators on the CPU
    and on every CUDA device are seeded; afterwards all of it, the handlers of the root logger and the thread's trace
    function are what they were.

    Args:
        model: from images to logits.
        images: what is attacked; on MPS the device's own generator is not put back.
        seed: every number drawn within follows from it, the name and the images, so that batches draw different ones.
            (Within a batch these packages draw for all images at once: the result depends on the batch.)
        name: of the attack.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    handlers, trace = logging.root.handlers[:], sys.gettrace()
    # All devices, wherever the images are: pyautoattack seeds CUDA even when it computes on the CPU.
    with attack_mode(model), torch.random.fork_rng(range(torch.cuda.device_count())):
        number = seeding.derive(seed, name, *image_keys(images))
        torch.default_generator.manual_seed(number)  # torch.manual_seed would load the compiler first
        if images.device.type != "cpu":
            torch.get_device_module(images.device).manual_seed(number)
        for parameter in learning:
            parameter.requires_grad_(False)
        try:
            yield Float(model)
        finally:
            for parameter in learning:
                parameter.requires_grad_(True)
            logging.root.handlers[:] = handlers
            sys.settrace(trace)


def at(
    network: Callable[[torch.Tensor], torch.Tensor],
    points: torch.Tensor, images: torch.Tensor, labels: torch.Tensor, epsilon: float,
) -> Attacked:  # fmt: skip
    """Points moved into the balls of their images, and the margins there; a NaN becomes the image's pixel."""
    images = at_least_single(images)
    points = points.detach().to(images.dtype)
    points = project(torch.where(points.isnan(), images, points), bounds(images, epsilon))
    with torch.no_grad():
        return Attacked(points, margin(network(points), labels))


def at_least_single(images: torch.Tensor) -> torch.Tensor:
    """In float32, unless they are in float64."""
    return images.detach() if images.dtype == torch.float64 else images.detach().float()
