"""The scheduler alone: no processes, no files, any order of arrival."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from kwta_theory import campaign
from kwta_theory.campaign.ledger import Chunk
from kwta_theory.campaign.schedule import Schedule, Stream
from kwta_theory.campaign.tally import Tally
from kwta_theory.campaign.until import Until


def chunk_of(task, number):
    heads = (number * 7919 + int(task.parameters["p"] * 100)) % 9  # any fixed function of task and number
    values = campaign.find("coin").draw({"p": 0.5}, 8, number).moments
    return Chunk(number, Tally(8, {"heads": min(heads, 8)}, values), 0.5)


def tasks_of(count):
    return campaign.grid("coin", p=[0.1 * (i + 1) for i in range(count)], chunk_trials=8)


def undisturbed(until, count=3):
    schedule = Schedule([Stream(task, until.chunks(task)) for task in tasks_of(count)], until)
    while not schedule.finished:
        stream, numbers = schedule.next()
        schedule.take(stream, [chunk_of(stream.task, n) for n in numbers])
    return [(stream.task.id, stream.counted, stream.tally) for stream in schedule.streams]


RULES = [Until(trials=100), Until(relative_error=0.3, error=0.05), Until(decided=0.9, trials=200, error=0.05)]
EXPECTED = [undisturbed(until) for until in RULES]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(RULES) - 1), st.integers(0, 2**32))
def test_what_counts_does_not_depend_on_the_order_of_arrival(which, seed):
    random = Random(seed)
    until = RULES[which]
    schedule = Schedule([Stream(task, until.chunks(task)) for task in tasks_of(3)], until)
    counted, ahead = {}, {}
    orders = []
    while not schedule.finished:
        while len(orders) < random.randint(1, 6) and (order := schedule.next(random.randint(1, 4))):
            orders.append(order)
        stream, numbers = orders.pop(random.randint(0, len(orders) - 1))
        if random.randint(0, 9) == 0:  # a worker dies
            schedule.lost(stream, numbers)
            continue
        drawn = [chunk_of(stream.task, n) for n in numbers]
        for arrival in (drawn, drawn if random.random() < 0.5 else []):  # perhaps twice
            change = schedule.take(stream, arrival)
            for chunk in change.counted:
                key = (stream.task.id, chunk.number)
                assert key not in counted
                assert chunk.number == sum(k[0] == stream.task.id for k in counted)
                counted[key] = chunk
                ahead.pop(key, None)
            ahead.update({(stream.task.id, chunk.number): chunk for chunk in change.ahead})
            if change.settled:
                ahead = {key: chunk for key, chunk in ahead.items() if key[0] != stream.task.id}
    found = [(s.task.id, s.counted, s.tally) for s in schedule.streams]
    assert found == EXPECTED[which]
    assert len(counted) == sum(s.counted for s in schedule.streams)
    assert not ahead


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 12), st.sets(st.integers(0, 15), max_size=6))
def test_a_resumed_stream_ends_where_an_undisturbed_one_does(cut, waiting):
    until = RULES[0]
    (task,) = tasks_of(1)
    counted = min(cut, 13)
    tally = sum((chunk_of(task, n).tally for n in range(counted)), Tally())
    ahead = {n: chunk_of(task, n) for n in waiting if n > counted}
    schedule = Schedule([Stream(task, until.chunks(task), counted, tally, 0.0, ahead)], until)
    schedule.begin()
    while not schedule.finished:
        stream, numbers = schedule.next()
        assert not waiting & {n for n in numbers if n > counted}  # what waits is not drawn again
        schedule.take(stream, [chunk_of(task, n) for n in numbers])
    assert [(s.task.id, s.counted, s.tally) for s in schedule.streams] == undisturbed(until, 1)


def test_no_chunk_is_ordered_that_cannot_be_needed():
    until = Until(trials=20)
    (task,) = tasks_of(1)
    schedule = Schedule([Stream(task, until.chunks(task))], until)
    assert schedule.next(100)[1] == [0, 1, 2]
    assert schedule.next(100) is None


def test_tasks_take_turns():
    until = Until(relative_error=0.01)
    schedule = Schedule([Stream(task, until.chunks(task)) for task in tasks_of(3)], until)
    streams = [schedule.next()[0] for _ in range(6)]
    assert [schedule.streams.index(stream) for stream in streams] == [0, 1, 2, 0, 1, 2]


def test_a_time_limit_is_no_rule_of_the_data():
    until = Until(seconds=1)
    (task,) = tasks_of(1)
    assert until.met(task, chunk_of(task, 0).tally) is None
    assert until.chunks(task) == float("inf")
