from __future__ import annotations

import pytest

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.statements import BUDGETS, Budget, Settings
from kwta_theory.statements.settings import budget


def test_a_budget_is_found_by_name_or_handed_through():
    assert budget("quick") is BUDGETS["quick"]
    own = Budget("own", 1e3, 10)
    assert budget(own) is own
    with pytest.raises(InvalidArgumentError, match="budget='huge' is not allowed: it must be one of quick, standard"):
        budget("huge")


def test_trials_follow_the_cost_and_are_capped():
    own = Budget("own", normals=1e6, max_trials=100)
    assert own.trials(1e5) == 10
    assert own.trials(1.0) == 100
    assert own.trials(1e9) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 3, "k": 5}, "width=3 is below k=5"),
        ({"width": 0}, "width=0 is not allowed"),
        ({"cosine": 1.5}, "cosine=1.5 is not allowed: it must be a finite number in"),
        ({"beta": 0.0}, "beta=0.0 is not allowed"),
        ({"failure": 1.0}, "failure=1.0 is not allowed"),
        ({"sparsity_ratio": 1e-9}, "leaves floor"),
        ({"example_probability": 1.1}, "example_probability=1.1 is not allowed"),
        ({"example_points": 1}, "example_points=1 is not allowed"),
        ({"example_input_dim": 0}, "example_input_dim=0 is not allowed"),
        ({"input_dim": 1}, "input_dim=1 is not allowed"),
        ({"seed": -1}, "seed=-1 is not allowed"),
        ({"workers": 0}, "workers=0 is not allowed"),
    ],
)
def test_settings_outside_what_is_allowed_are_refused(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        Settings(**arguments)


def test_winners_are_the_floor_of_the_ratio():
    assert Settings(width=4096, sparsity_ratio=0.1).ratio_winners == 409
