"""Campaigns: sweeps that can be stopped, killed, resumed, extended, merged and spread over machines.

>>> import tempfile
>>> from kwta_theory import campaign
>>> tasks = campaign.grid("same-pattern", width=[20, 50], k=2, cosine="0.8,0.9", chunk_trials=500)
>>> with tempfile.TemporaryDirectory() as folder:
...     for status in campaign.run(tasks, folder + "/runs.db", campaign.Until(trials=1000), seed=1):
...         print(status.task.title, status.estimate.trials)
same-pattern cosine=0.8 device=cpu k=2 margin=0 width=20 1000
same-pattern cosine=0.9 device=cpu k=2 margin=0 width=20 1000
same-pattern cosine=0.8 device=cpu k=2 margin=0 width=50 1000
same-pattern cosine=0.9 device=cpu k=2 margin=0 width=50 1000
"""

from kwta_theory.campaign.backends import BackendError
from kwta_theory.campaign.estimate import Estimate, estimate
from kwta_theory.campaign.estimators import Estimator, Outcome, find, known, register
from kwta_theory.campaign.export import export, rows
from kwta_theory.campaign.grid import grid, read_grid
from kwta_theory.campaign.ledger import Ledger, LedgerError
from kwta_theory.campaign.merge import merge
from kwta_theory.campaign.runner import Status, run
from kwta_theory.campaign.tally import Moments, Tally
from kwta_theory.campaign.task import Task, differences
from kwta_theory.campaign.until import Until
from kwta_theory.campaign.worker import EstimatorError

__all__ = [
    "BackendError",
    "Estimate",
    "Estimator",
    "EstimatorError",
    "Ledger",
    "LedgerError",
    "Moments",
    "Outcome",
    "Status",
    "Tally",
    "Task",
    "Until",
    "differences",
    "estimate",
    "export",
    "find",
    "grid",
    "known",
    "merge",
    "read_grid",
    "register",
    "rows",
    "run",
]
