"""A coin as an estimator: cheap chunks, a known law, all three kinds of outcomes."""

from __future__ import annotations

import pytest

from kwta_theory import campaign
from kwta_theory.campaign.estimators import Estimator


def make_coin() -> Estimator:
    # Functions within a function travel to worker processes by value: workers cannot import a test.
    def resolve(given):
        return {"p": float(given.get("p", 0.5)), "version_of_coin": int(given.get("version_of_coin", 1))}

    def draw(parameters, trials, seed):
        import numpy as np

        from kwta_theory.campaign.tally import Moments, Tally

        values = np.random.default_rng(seed).random(trials)
        heads = int((values < parameters["p"]).sum())
        return Tally(trials, {"heads": heads}, {"level": Moments.of(values), "score": Moments.of(10 * values - 3)})

    outcomes = (campaign.Outcome("heads"), campaign.Outcome("level", "share"), campaign.Outcome("score", "value"))
    return Estimator("coin", 1, "a coin", ("p", "version_of_coin"), resolve, lambda _: 1e4, draw, outcomes)


COIN = campaign.register(make_coin())


@pytest.fixture
def coins():
    """Tasks: coins with probabilities 0.5, 0.2 and 0.05, in chunks of 40."""
    return campaign.grid("coin", p=[0.5, 0.2, 0.05], chunk_trials=40)


@pytest.fixture
def content():
    """Everything in a ledger but the seconds."""

    def read(path):
        import sqlite3

        with sqlite3.connect(path) as connection:
            tables = ("tasks", "labels", "chunks", "ahead")
            found = {}
            for table in tables:
                cursor = connection.execute(f"SELECT * FROM {table}")
                names = [column[0] for column in cursor.description]
                kept = [i for i, name in enumerate(names) if name != "seconds"]
                found[table] = sorted(tuple(row[i] for i in kept) for row in cursor)
        connection.close()
        return found

    return read
