"""VGG-19 for small images, the source of the paper's transfer attack (Simonyan, Zisserman; as in pytorch-cifar)."""

from __future__ import annotations

from torch import nn

from kwta_theory.networks.activations import Factory
from kwta_theory.networks.architectures.layers import head, scaled

# Convolutions of 3 x 3 with so many channels; None halves the size.
LAYERS = (64, 64, None, 128, 128, None, *(256,) * 4, None, *(512,) * 4, None, *(512,) * 4, None)
SMALLEST = 32


def vgg19(activation: Factory, channels: int, image_size: int, classes: int, width_factor: float) -> nn.Sequential:
    """Sixteen convolutions with batch normalisation, five poolings, one last layer.

    Images of fewer than 32 pixels get a border of zeros: they would not survive five halvings.
    """
    missing = max(0, SMALLEST - image_size)
    layers: list[nn.Module] = []
    if missing:
        near, far = missing // 2, missing - missing // 2
        layers.append(nn.ZeroPad2d((near, far, near, far)))
    inputs = channels
    for width in LAYERS:
        if width is None:
            layers.append(nn.MaxPool2d(2))
            continue
        outputs = scaled(width, width_factor)
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), activation()]
        inputs = outputs
    return nn.Sequential(*layers, head(inputs, classes))
