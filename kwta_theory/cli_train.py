"""The command ``kwta train``. Nothing heavy is imported at the top."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kwta_theory.exits import sentences

if TYPE_CHECKING:
    from kwta_theory.networks import Dataset
    from kwta_theory.networks.training import Recipe

ERROR = 0.05  # probability that the interval of the test accuracy misses
NETWORK, RECIPE, RUNNING = "Network", "How it is trained", "How it runs"


def register(app: typer.Typer) -> None:
    """Add the command to the command ``kwta``."""
    app.command()(train)


def failures() -> Mapping[type[Exception], str]:
    """How a training fails, for :func:`kwta_theory.exits.sentences`."""
    import torch

    from kwta_theory.networks import DatasetError
    from kwta_theory.networks.training import CheckpointError, TrainingError

    return {
        **{CheckpointError: "", TrainingError: "", DatasetError: ""},
        torch.OutOfMemoryError: "the device has not enough memory: give a smaller --batch-size.",
    }


def train(
    arch: Annotated[
        str,
        typer.Option(
            help="mlp, smallcnn, resnet18, densenet121, wrn-22-10 or vgg19.",
            rich_help_panel=NETWORK,
            show_default=False,
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            help="digits, mnist, fashion-mnist, cifar10 or svhn. Without --data-dir, mnist is 5,000 real images.",
            rich_help_panel=RECIPE,
            show_default=False,
        ),
    ],
    activation: Annotated[
        str, typer.Option(help="relu, leaky-relu, kwta-RATIO or lwta-SIZE.", rich_help_panel=NETWORK)
    ] = "kwta-0.1",
    method: Annotated[
        str,
        typer.Option(
            help="natural, at (PGD, 8 iterations), trades (1/lambda = 6) or free (m = 8).", rich_help_panel=RECIPE
        ),
    ] = "natural",
    scale: Annotated[
        str,
        typer.Option(help="paper: its schedule, for a GPU. small: learns on one core.", rich_help_panel=RECIPE),
    ] = "small",
    epochs: Annotated[
        int | None,
        typer.Option(
            help="The same course in so many epochs. \\[default: that of the scale]",
            rich_help_panel=RECIPE,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Every random number follows from it.", rich_help_panel=RECIPE)] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Gets checkpoint.pt and metrics.csv; made when new. Training goes on from what is there. "
            "\\[default: runs/train/ARCH-ACTIVATION-METHOD-DATA-SEED]",
            rich_help_panel=RUNNING,
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory with the published files of the data set.", rich_help_panel=RECIPE),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch them into --data-dir (torchvision).", rich_help_panel=RECIPE)
    ] = False,
    width_factor: Annotated[
        float, typer.Option(help="Multiplies the channels and units of all hidden layers.", rich_help_panel=NETWORK)
    ] = 1.0,
    hidden: Annotated[
        int | None,
        typer.Option(
            help="Units of the hidden layers of mlp, of the hidden layer of smallcnn. \\[default: 256]",
            rich_help_panel=NETWORK,
            show_default=False,
        ),
    ] = None,
    initialisation: Annotated[
        str,
        typer.Option(help="scaled (to the activation) or pytorch (its default).", rich_help_panel=NETWORK),
    ] = "scaled",
    incremental: Annotated[
        bool | None,
        typer.Option(
            "--incremental/--no-incremental",
            help="Lower the sparsity ratio step by step from 0.2 (Section 2.2). \\[default: where the paper does]",
            rich_help_panel=RECIPE,
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Images in a step. \\[default: that of the scale]", rich_help_panel=RECIPE, show_default=False
        ),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(
            help="The adversary's radius, maximum norm, pixels in \\[0, 1]. \\[default: the paper's for the data set]",
            rich_help_panel=RECIPE,
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...", rich_help_panel=RUNNING)] = "auto",
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="Mixed precision.", rich_help_panel=RUNNING)] = False,
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Memory order NHWC.", rich_help_panel=RUNNING)
    ] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="Use torch.compile.", rich_help_panel=RUNNING)] = False,
    checkpoint_seconds: Annotated[
        float,
        typer.Option(help="Also write a checkpoint within an epoch, this often.", rich_help_panel=RUNNING),
    ] = 300.0,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress on standard error.", rich_help_panel=RUNNING)
    ] = False,
) -> None:
    """Train a network as the paper does, or go on with a training that was ended.

    kwta train --arch smallcnn --activation kwta-0.1 --method at --data mnist

    Interrupt it, kill it, start it again: on a CPU it ends in the same weights.
    A line for each epoch goes to standard error, the result to standard output.
    What an attack leaves of the accuracy is not told here: see kwta attack.

    Exit code 0: finished. 1: the data, a file or the training failed. 2: bad
    use. 130: interrupted; the last checkpoint is kept.
    """
    folder = output or Path("runs", "train", f"{arch}-{activation}-{method}-{data}-{seed}")
    kept = f"the same command goes on from the last checkpoint in {str(folder)!r}, if there is one"
    with sentences("kwta train", failures, kept):
        from kwta_theory.networks import Architecture, load
        from kwta_theory.networks import training as t

        changes = {"batch_size": batch_size, "epsilon": epsilon}
        plan = t.recipe(
            method,
            data,
            scale=scale,
            activation=activation,
            incremental_ratios=incremental,
            epochs=epochs,
            **{name: value for name, value in changes.items() if value is not None},
        )
        network = Architecture(
            arch, activation, width_factor=width_factor, hidden=hidden, initialisation=initialisation
        )  # before the images, which may take long to find or to fetch
        images = load(data, data_dir, download=download)
        network = dataclasses.replace(network, channels=images.channels, image_size=images.image_size)
        options = t.Options(device, bfloat16, channels_last, compiled, checkpoint_seconds)
        there = folder / t.CHECKPOINT
        if not quiet:
            typer.echo(f"{images.description}; {described(plan)}", err=True)
            if there.exists():
                typer.echo(f"going on from {there}", err=True)

        def report(row: dict[str, Any]) -> None:
            if not quiet:
                typer.echo(progress(row, plan), err=True)

        t.train(network, images, plan, folder, seed=seed, options=options, report=report)
        typer.echo(result(there, images))


def described(plan: Recipe) -> str:
    """The recipe in one phrase."""
    text = f"{plan.method}, {plan.epochs} epochs, at most {plan.batch_size} images in a step"
    return text + (f", epsilon {plan.epsilon:g}" if plan.epsilon else "")


def progress(row: dict[str, Any], plan: Recipe) -> str:
    """The line of an epoch."""
    attacked = row["epsilon"] and plan.method in ("at", "free")
    parts = [
        f"epoch {row['epoch']}/{plan.epochs}",
        f"loss {row['train_loss']:.4g}",
        f"training accuracy {row['train_accuracy']:.4f}" + (" (attacked)" if attacked else ""),
        f"test accuracy {row['test_accuracy']:.4f}",
        f"rate {row['learning_rate']:g}",
    ]
    if plan.epsilon:
        parts.append(f"epsilon {row['epsilon']:.3g}")
    if row["sparsity_ratio"] is not None:
        parts.append(f"ratio {row['sparsity_ratio']:g}")
    return ", ".join([*parts, f"{row['seconds']:.1f} s"])


def result(checkpoint: Path, images: Dataset) -> str:
    """What is printed at the end: where the network is, and its accuracy on the test images as they are."""
    from kwta_theory.confidence import clopper_pearson
    from kwta_theory.networks.training import load_network

    _, record = load_network(checkpoint)
    share, count = record["metrics"][-1]["test_accuracy"], len(images.test)
    right = round(share * count)
    interval = clopper_pearson(right, count, ERROR)
    return (
        f"checkpoint: {checkpoint}\n"
        f"test accuracy without an attack: {share:.4f}, {right:,} of {count:,} images "
        f"({100 * (1 - ERROR):g} % interval {interval.lower:.4f} to {interval.upper:.4f})"
    )
