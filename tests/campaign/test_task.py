from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kwta_theory import campaign, cli_campaign, simulation, theory
from kwta_theory.campaign import Estimator, Outcome, Task, differences, estimators
from kwta_theory.campaign.estimators import CHUNK_NUMBERS
from kwta_theory.checks import InvalidArgumentError

ONE_OF_EACH = [
    Task.of("same-pattern", width=20, k=2, cosine=0.9, margin=0.1),
    Task.of("disjoint-patterns", width=20, k=2, cosine=0.9),
    Task.of("disjoint-patterns", width=1e300, k=1, inputs="gaussian", points=3, input_dim=4, input_seed=5),
    Task.of("disjoint-patterns", log_width=1e6, k=1, cosine=0.3, points=3),
    Task.of("disjoint-patterns", width=50, k=2, inputs="mnist", points=4),
    Task.of("pattern-overlap", width=20, k=3, cosine=0.9),
    Task.of("interpolation", width=50, k=2, cosine=0.5, points=3),
    Task.of("distinct-patterns", width=30, k=2, input_dim=20, points=3, probability=0.5),
    Task.of("boundary-crossings", width=8, k=2, angle=1.0),
]


def test_the_identity_is_the_same_on_every_machine_and_in_every_version():
    # Written down once: a ledger of today must be read by the package of tomorrow.
    task = Task.of("same-pattern", width=100, k=10, cosine=0.9)
    assert task.canonical == (
        '{"chunk_trials":20000,"estimator":"same-pattern",'
        '"parameters":{"cosine":0.9,"device":"cpu","k":10,"margin":0.0,"width":100},"version":1}'
    )
    # By `b2sum -l 128` of that text.
    assert task.id == "81646de620664ee8c6f2b11d3068ec85"


def test_one_law_has_one_identity():
    base = Task.of("same-pattern", width=100, k=10, cosine=1 / math.sqrt(2))
    assert Task.of("same-pattern", width=1e2, sparsity_ratio=0.1, beta=1) == base
    assert hash(Task.of("same-pattern", width=1e2, sparsity_ratio=0.1, beta=1)) == hash(base)
    assert Task.of("same-pattern", margin=-0.0, cosine=1 / math.sqrt(2), k=10, width=100) == base
    labelled = Task.of("same-pattern", width=100, k=10, cosine=1 / math.sqrt(2), labels={"figure": 4})
    assert labelled == base
    assert labelled.labels == {"figure": 4}
    assert base != "task"


def test_everything_that_is_sampled_is_in_the_identity():
    base = Task.of("same-pattern", width=100, k=10, cosine=0.9)
    others = [
        Task.of("same-pattern", width=101, k=10, cosine=0.9),
        Task.of("same-pattern", width=100, k=9, cosine=0.9),
        Task.of("same-pattern", width=100, k=10, cosine=0.8),
        Task.of("same-pattern", width=100, k=10, cosine=0.9, margin=0.1),
        Task.of("same-pattern", width=100, k=10, cosine=0.9, device="cuda"),
        Task.of("same-pattern", width=100, k=10, cosine=0.9, chunk_trials=10),
        Task("same-pattern", 2, base.parameters, base.chunk_trials, base.outcomes),
        Task.of("disjoint-patterns", width=100, k=10, cosine=0.9),
    ]
    assert len({base, *others}) == 9
    assert [len(differences(base, other)) for other in others[:-1]] == [1] * 7
    assert differences(base, base) == []
    assert "version is 1 in the first and 2 in the second." in differences(base, others[6])
    assert "margin is 0.0 in the first and absent in the second." in differences(base, others[7])


@pytest.mark.parametrize("task", ONE_OF_EACH, ids=lambda task: task.title)
def test_canonical_parameters_are_a_fixed_point(task):
    again = Task.of(task.estimator, **json.loads(json.dumps(dict(task.parameters))))
    assert again == task
    assert list(again.parameters) == sorted(again.parameters)


@settings(max_examples=50)
@given(st.integers(1, 10**6), st.floats(0.01, 1.0), st.floats(-1, 1))
def test_canonical_parameters_survive_json(width, ratio, cosine):
    k = max(1, int(ratio * width))
    task = Task.of("same-pattern", width=width, k=k, cosine=cosine)
    assert Task.of("same-pattern", **json.loads(task.canonical)["parameters"]) == task


@pytest.mark.parametrize("task", ONE_OF_EACH, ids=lambda task: task.title)
def test_every_estimator_draws_what_it_promises(task):
    found = estimators.find(task.estimator)
    tally = found.draw(task.parameters, 7, 3)
    assert tally.trials == 7
    assert set(tally.names) == {outcome.name for outcome in task.outcomes}
    assert found.draw(task.parameters, 7, 3) == tally
    for outcome in task.outcomes:
        assert (outcome.name in tally.counts) == (outcome.kind == "event")
        if outcome.kind == "share":
            assert 0 <= tally.moments[outcome.name].squares <= tally.moments[outcome.name].total <= 7


def test_estimators_are_the_simulation():
    def draw(task):
        return estimators.find(task.estimator).draw(task.parameters, 200, 3)

    same, disjoint, gaussian, log_wide, _, overlap, fits, distinct, crossings = map(draw, ONE_OF_EACH)
    assert same.counts["same"] == simulation.same_pattern(20, 2, 0.9, 200, margin=0.1, seed=3, device="cpu").successes
    expected = simulation.disjoint_patterns(20, 2, 0.9, 200, seed=3, device="cpu").all_pairs.successes
    assert disjoint.counts["disjoint"] == expected
    from kwta_theory import inputs

    points = inputs.gaussian_points(3, 4, seed=5).points
    wide = simulation.disjoint_patterns(10**300, 1, points=points, trials=200, seed=3, method="tail")
    assert gaussian.counts["disjoint"] == wide.all_pairs.successes
    points = inputs.points_with_cosine(3, 0.3).points
    wide = simulation.disjoint_patterns(None, 1, points=points, trials=200, seed=3, method="tail", log_width=1e6)
    assert log_wide.counts["disjoint"] == wide.all_pairs.successes
    shared = simulation.pattern_overlap(20, 3, 0.9, 200, seed=3, device="cpu")
    assert overlap.mean("overlap") == pytest.approx(shared.mean[0, 1], rel=1e-14)
    assert math.sqrt(overlap.variance("overlap") / 200) == pytest.approx(shared.standard_error[0, 1], rel=1e-12)
    assert overlap.counts["same"] == shared.histogram[3]
    assert fits.counts["any_vector"] == 200
    drawn = simulation.distinct_patterns(30, 2, 20, 3, 0.5, 200, seed=3, device="cpu")
    assert distinct.counts["distinct"] == drawn.distinct.successes
    turned = simulation.boundary_crossings(8, 2, 200, angle=1.0, seed=3, device="cpu")
    assert crossings.mean("changes") == turned.changes.mean(200)
    assert math.sqrt(crossings.variance("changes") / 200) == pytest.approx(turned.changes.standard_error(200))


def test_default_route_is_the_tail_where_the_rows_that_can_win_are_few():
    def method(**parameters):
        return Task.of("disjoint-patterns", **parameters).parameters["method"]

    assert method(width=100, k=1, cosine=0.9) == "gram"
    assert method(width=1e4, k=1, cosine=0.9) == "tail"
    assert method(width=1e4, k=1000, cosine=0.9) == "gram"
    assert method(width=1e4, k=1, cosine=0.9, method="gram") == "gram"
    assert method(log_width=700, k=3, cosine=0.9) == "tail"
    # Wherever it is chosen, the simulation accepts it: at the smallest such width for several k and numbers of points.
    for k, points in ((1, 2), (5, 2), (50, 4), (3, 20)):
        width = next(2**i for i in range(30) if method(width=2**i + 2 * k, k=k, cosine=0.5, points=points) == "tail")
        task = Task.of("disjoint-patterns", width=width + 2 * k, k=k, cosine=0.5, points=points)
        assert estimators.find(task.estimator).draw(task.parameters, 3, 0).trials == 3


def test_chunks_follow_from_the_parameters():
    for task in ONE_OF_EACH:
        found = estimators.find(task.estimator)
        size = task.chunk_trials
        assert size == found.chunk_trials(task.parameters)
        assert str(size).rstrip("0") in ("1", "2", "5")
        assert size == 1 or size * found.cost(task.parameters) <= CHUNK_NUMBERS
    assert Task.of("same-pattern", width=2**29, k=1, cosine=0.5).chunk_trials == 1
    assert Task.of("same-pattern", width=10_000, k=1, cosine=0.5).chunk_trials == 200
    assert Task.of("same-pattern", width=100, k=1, cosine=0.5, chunk_trials=123).chunk_trials == 123


@pytest.mark.parametrize(
    ("estimator", "given", "message"),
    [
        ("nothing", {}, "estimator='nothing' is not known: it must be one of boundary-crossings, "),
        ("same-pattern", {"width": 9, "k": 1, "cosin": 1}, "cosin=1 is not a parameter of 'same-pattern'"),
        ("same-pattern", {"width": 9, "k": 1}, "none of cosine, beta was given"),
        ("same-pattern", {"width": 9, "k": 1, "cosine": 0.5, "beta": 1}, "cosine and beta of cosine, beta was given"),
        ("same-pattern", {"k": 1, "cosine": 0.5}, "width is missing"),
        ("same-pattern", {"width": 9, "k": 10, "cosine": 0.5}, "width=9 is below k=10"),
        ("same-pattern", {"width": 9.5, "k": 1, "cosine": 0.5}, "width=9.5 is not allowed"),
        ("same-pattern", {"width": "wide", "k": 1, "cosine": 0.5}, "width='wide' is not allowed"),
        ("same-pattern", {"width": 9, "k": 1, "cosine": 1.5}, "cosine=1.5 is not allowed"),
        ("same-pattern", {"width": 9, "k": 1, "cosine": math.nan}, "cosine=nan is not allowed"),
        ("same-pattern", {"width": 9, "k": 1, "beta": -1}, "beta=-1 is not allowed"),
        ("same-pattern", {"width": 9, "k": 1, "cosine": 0.5, "device": "abacus"}, "device='abacus' is not allowed"),
        ("same-pattern", {"width": 1e10, "k": 1, "cosine": 0.5}, "width=10000000000.0 is too wide to draw"),
        ("disjoint-patterns", {"width": 9, "k": 1}, "cosine is missing"),
        ("disjoint-patterns", {"log_width": 9, "sparsity_ratio": 0.1, "cosine": 0.5}, "sparsity_ratio needs a width"),
        ("disjoint-patterns", {"width": 9, "k": 1, "cosine": 0.5, "input_dim": 4}, "input_dim=4 has no effect"),
        ("disjoint-patterns", {"width": 9, "k": 1, "inputs": "mnist", "cosine": 0.5}, "cosine=0.5 has no effect"),
        ("disjoint-patterns", {"width": 9, "k": 1, "inputs": "mnist", "points": 6000}, "there are 5000 images"),
        ("disjoint-patterns", {"width": 1e12, "k": 1, "cosine": 0.5, "method": "gram"}, "needs method='tail'"),
        ("disjoint-patterns", {"width": 1e12, "sparsity_ratio": 0.1, "cosine": 0.5}, "needs method='tail'"),
        ("disjoint-patterns", {"width": 9, "k": 1, "cosine": -0.9, "points": 3}, "cosine=-0.9 is not allowed"),
        ("distinct-patterns", {"width": 9, "k": 1, "points": 3, "probability": 0.1}, "input_dim is missing"),
        ("boundary-crossings", {"width": 9, "k": 1, "angle": 0}, "angle=0 is not allowed"),
        ("pattern-overlap", {"width": 9, "k": 1, "cosine": 0.5, "points": 3}, "points=3 is not a parameter"),
        ("same-pattern", {"width": 9, "k": 1, "cosine": 0.5, "chunk_trials": 0}, "chunk_trials=0 is not allowed"),
        ("same-pattern", {"width": 9, "k": 1, "cosine": 0.5, "labels": {"a": None}}, "a=None is not allowed"),
    ],
)
def test_bad_parameters_are_refused_by_a_sentence(estimator, given, message):
    with pytest.raises(InvalidArgumentError, match=message):
        Task.of(estimator, **given)


def test_the_registry_keeps_names_apart():
    coin = estimators.find("coin")
    assert campaign.register(coin) is coin
    other = Estimator("coin", 2, "", (), dict, lambda _: 1.0, coin.draw, (Outcome("x"),))
    with pytest.raises(InvalidArgumentError, match="'coin' is there already"):
        campaign.register(other)
    with pytest.raises(InvalidArgumentError, match="version=0 is not allowed"):
        campaign.register(Estimator("new", 0, "", (), dict, lambda _: 1.0, coin.draw, (Outcome("x"),)))
    with pytest.raises(InvalidArgumentError, match="'new' has no outcome"):
        campaign.register(Estimator("new", 1, "", (), dict, lambda _: 1.0, coin.draw, ()))
    with pytest.raises(InvalidArgumentError, match="kind='odd' is not allowed"):
        Outcome("x", "odd")


def own_estimators():
    """Those of ``kwta sweep``, and not what else was registered in this process."""
    return [
        name for name in campaign.known() if estimators.find(name).draw.__module__.startswith("kwta_theory.campaign.")
    ]


def test_names_in_the_help_are_the_estimators():
    assert ", ".join(own_estimators()) == cli_campaign.ESTIMATOR_NAMES


def test_parameters_in_the_help_are_those_of_the_estimators():
    import inspect

    options = set(inspect.signature(cli_campaign.sweep).parameters)
    for name in own_estimators():
        assert set(estimators.find(name).accepts) <= options


def test_importing_the_campaign_does_not_import_torch():
    code = "import sys, kwta_theory.campaign, kwta_theory.cli_campaign; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_sampling_through_tasks_meets_the_exact_law(tmp_path):
    # 40,000 trials: standard error 0.0024 at p = 0.38 and 0.0013 at 0.073, so the laws of k = 3 are 20 and more away.
    tasks = [
        Task.of("same-pattern", width=20, k=2, cosine=0.9, chunk_trials=20_000),
        Task.of("disjoint-patterns", width=20, k=2, cosine=0.9, chunk_trials=20_000),
        Task.of("boundary-crossings", width=20, k=2, angle=math.pi, chunk_trials=2000),
    ]
    (changes,) = campaign.run(tasks[2:], tmp_path / "l.db", campaign.Until(trials=4000), seed=2)
    same, disjoint = campaign.run(tasks[:2], tmp_path / "l.db", campaign.Until(trials=40_000), seed=2)

    def z(status, probability):
        n = status.estimate.trials
        return (status.estimate.value - probability) / math.sqrt(probability * (1 - probability) / n)

    for k, inside in ((2, True), (3, False)):  # k = 3: the negative control
        assert (abs(z(same, theory.same_pattern(20, k, 0.9))) < 4.6) is inside
        assert (abs(z(disjoint, theory.disjoint_patterns(20, k, 0.9))) < 4.6) is inside
    with campaign.Ledger(tmp_path / "l.db", write=False) as ledger:
        tally = ledger.total(changes.task, 2).tally
    error = math.sqrt(tally.variance("changes") / tally.trials)
    assert abs(tally.mean("changes") - math.pi * theory.boundary_density(20, 2)) < 4.6 * error
    assert abs(tally.mean("changes") - math.pi * theory.boundary_density(20, 3)) > 4.6 * error
