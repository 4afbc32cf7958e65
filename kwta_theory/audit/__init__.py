"""The audit of somebody's own network with top-k activations: flips, overlap, dead units, ties, on their own inputs.

A classifier of ``kwta train`` is audited by ``kwta audit CHECKPOINT --inputs X.npy``; ``docs/audit.md`` explains what
it prints. A network in code needs its top-k as a module, :class:`kwta_theory.KWTA`, which takes ``k / width``. A TopK
sparse autoencoder's encoder, here with random weights:

>>> import numpy as np
>>> import torch
>>> from torch import nn
>>> from kwta_theory import KWTA
>>> class Encoder(nn.Module):
...     def __init__(self, inputs, features, k):
...         super().__init__()
...         self.bias, self.linear = nn.Parameter(torch.zeros(inputs)), nn.Linear(inputs, features)
...         self.top_k = KWTA(k / features)  # for topk and scatter
...
...     def forward(self, x):
...         return torch.relu(self.top_k(self.linear(x - self.bias)))
>>> samples = np.random.default_rng(0).standard_normal((100, 16))
>>> (layer,) = audit(Encoder(16, 64, k=8), samples, lines=10).layers
>>> layer.layer.name, layer.layer.winners, len(layer.overlap.observed), layer.flips.is_exact
('top_k', 8, 50, True)

An expert router, 2 of 8, whose overlap has the exact law of its small width, and not that of a large one:

>>> router = nn.Sequential(nn.Linear(16, 8, bias=False), KWTA(2 / 8), nn.Softmax(dim=1))
>>> (layer,) = audit(router, samples, lines=10).layers
>>> layer.overlap.law, expected_overlap(8, 2, 0.6).round(3).item(), layer.flips.is_exact
('exact', 0.517, True)
"""

from kwta_theory.audit.flips import Distances
from kwta_theory.audit.layers import TopKLayer
from kwta_theory.audit.overlap import expected_overlap
from kwta_theory.audit.run import Audit, Flips, LayerAudit, Measured, Overlap, Ties, Units, audit

__all__ = [
    "Audit",
    "Distances",
    "Flips",
    "LayerAudit",
    "Measured",
    "Overlap",
    "Ties",
    "TopKLayer",
    "Units",
    "audit",
    "expected_overlap",
]
