"""Keys in the order in which their time comes."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from vecna.adapters.memory.agenda import Agenda
from vecna.kit.rules import NEVER, after

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def at(seconds):
    return START + dt.timedelta(seconds=seconds)


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "discard", "take"]), st.integers(0, 5), st.integers(0, 9)),
        max_size=60,
    )
)
def test_an_agenda_does_what_a_sorted_list_does(steps):
    agenda, plain, count = Agenda[int](), {}, 0
    for step, key, seconds in steps:
        if step == "put":
            count += 1
            agenda.put(key, at(seconds))
            plain[key] = (at(seconds), count)
        elif step == "discard":
            agenda.discard(key)
            plain.pop(key, None)
        else:
            due = sorted((entry, key) for key, entry in plain.items() if entry[0] <= at(seconds))
            assert list(agenda.take_due(at(seconds))) == [key for _, key in due]
            for _, taken in due:
                del plain[taken]
        assert len(agenda) == len(plain)
        assert list(agenda) == [key for _, key in sorted((entry, key) for key, entry in plain.items())]
        assert agenda.first() == min((entry[0] for entry in plain.values()), default=None)


def test_of_equal_instants_the_smaller_rank_comes_first():
    agenda = Agenda[object]()
    for key, rank in (("c", 3), ("a", 1), ("b", 2), ("c", 3)):
        agenda.put(key, START, rank)

    assert list(agenda.take_due(START)) == ["a", "b", "c"]


def test_an_agenda_does_not_grow_with_what_is_outdated():
    agenda = Agenda[object]()
    for number in range(10_000):
        agenda.put("lease", at(number))
        agenda.put(number, at(number))
        agenda.discard(number)

    assert len(agenda) == 1
    assert len(agenda._heap) < 200


def test_a_duration_beyond_all_time_ends_with_it():
    assert after(START, dt.timedelta.max) == NEVER
    assert after(START, dt.timedelta(seconds=1)) == at(1)
