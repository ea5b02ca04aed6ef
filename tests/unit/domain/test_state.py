import contextlib
import datetime as dt
from itertools import product
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.strategies import exact, few, finite, ids, instants, json_values, texts
from vecna.domain.arg import TaskResult
from vecna.domain.errors import InvalidSignature
from vecna.domain.state import FINAL, TRANSITIONS, IllegalTransition, State, TaskState, token_number

OPEN = [state for state in State if state not in FINAL]
tokens = st.just("") | st.builds("{}:w:1".format, st.integers(0, 9) | st.integers(0, 10**9))
records = st.builds(
    TaskState,
    task_uuid=ids,
    task_name=texts,
    state=st.sampled_from(State),
    results=st.lists(st.builds(TaskResult, st.just("json"), json_values), max_size=3).map(tuple),
    several=st.booleans(),
    error=texts,
    error_type=texts,
    traceback=texts,
    dead_reason=texts,
    created_at=st.none() | instants,
    started_at=st.none() | instants,
    finished_at=st.none() | instants,
    attempt=st.integers(0, 10**6),
    worker=texts,
    progress=st.none() | st.tuples(finite, finite),
    token=tokens,
)
#: All that decides which of two records stands.
places = st.builds(TaskState, task_uuid=st.just("1"), state=st.sampled_from(State), token=tokens)
open_places = st.builds(TaskState, task_uuid=st.just("1"), state=st.sampled_from(OPEN), token=tokens)


def test_the_table_is_the_documented_machine() -> None:
    """PENDING → RECEIVED → STARTED → (RETRY → RECEIVED …) → an end; an end may overtake what was not written."""
    assert set(TRANSITIONS) == set(State)
    assert {State.SUCCESS, State.FAILURE, State.CANCELED} == FINAL
    for state in State:
        following = TRANSITIONS[state]
        assert State.PENDING not in following
        assert following == (set() if state in FINAL else set(State) - {State.PENDING})


@pytest.mark.parametrize(("state", "following"), list(product(State, State)))
def test_a_missing_entry_is_an_error_and_nothing_changes(state: State, following: State) -> None:
    record = TaskState(task_uuid="1", state=state, error="before")

    if following in TRANSITIONS[state]:
        assert state.to(following) is following
        assert record.advance(following, error="after") == attrs.evolve(record, state=following, error="after")
        return
    with pytest.raises(IllegalTransition, match=f"a task that is {state} cannot become {following}"):
        record.advance(following, error="after")
    assert (record.state, record.error) == (state, "before")


@pytest.mark.parametrize("state", State)
def test_the_properties_follow_from_the_state(state: State) -> None:
    record = TaskState(task_uuid="1", state=state)

    assert state.is_final == record.is_completed == (state in FINAL)
    assert [record.is_success, record.is_failure, record.is_canceled] == [
        state is State.SUCCESS, state is State.FAILURE, state is State.CANCELED,
    ]  # fmt: skip


def test_the_number_of_a_token_is_its_head() -> None:
    assert [token_number(token) for token in ("12:w1:7", "7", "", "x:1", ":3", "-1:w", "9" * 5000)] == [
        12,
        7,
        0,
        0,
        0,
        0,
        0,
    ]


@given(places, places)
def test_the_first_end_stands_and_ends_overtake_everything_else(held: TaskState, other: TaskState) -> None:
    if held.is_completed:
        assert not held.gives_way_to(other)
    elif other.is_completed:
        assert held.gives_way_to(other)


@given(st.lists(open_places, min_size=2, max_size=6), st.randoms())
def test_open_states_move_forward_only_whatever_the_order(written: list[TaskState], chance: Any) -> None:
    """Late writers change nothing: what stands at the end is one of the furthest, in every order of arrival."""
    chance.shuffle(written)
    held = written[0]
    for other in written[1:]:
        if held.gives_way_to(other):
            held = other

    def place(record: TaskState) -> tuple[int, int]:
        return token_number(record.token), record.state.rank

    assert place(held) == max(map(place, written))


def test_the_same_place_is_written_again_for_progress() -> None:
    record = TaskState(task_uuid="1", state=State.STARTED, token="3:w:1", progress=(1, 9))

    assert record.gives_way_to(attrs.evolve(record, progress=(2, 9)))
    assert record.gives_way_to(attrs.evolve(record, state=State.RECEIVED, token="4:w:1"))
    assert not record.gives_way_to(attrs.evolve(record, state=State.RECEIVED))
    assert not record.gives_way_to(attrs.evolve(record, state=State.RETRY, token="2:w:9"))


@few
@given(records)
def test_any_record_survives_the_round_trip(record: TaskState) -> None:
    back = TaskState.from_json(record.to_json())

    assert back == record
    assert exact([result.value for result in back.results]) == exact([result.value for result in record.results])


@given(st.binary() | st.text() | json_values)
def test_no_bytes_make_the_reader_raise_anything_else(junk: Any) -> None:
    content = junk if isinstance(junk, bytes | str) else msgspec.json.encode(junk)
    with pytest.raises(InvalidSignature):
        TaskState.from_json(content)


@few
@given(records, st.data())
def test_a_record_with_one_wrong_part_is_read_or_refused(record: TaskState, data: st.DataObject) -> None:
    plain = msgspec.json.decode(record.to_json())
    plain[data.draw(st.sampled_from(sorted(plain)))] = data.draw(json_values)
    with contextlib.suppress(InvalidSignature):
        back = TaskState.from_json(msgspec.json.encode(plain))
        assert all(isinstance(text, str) for text in (back.task_uuid, back.error, back.worker, back.token))
        assert isinstance(back.attempt, int)


def test_what_a_task_returned_keeps_its_shape() -> None:
    one, two = TaskResult("int64", 1), TaskResult("string", "x")

    def value(*results: TaskResult, several: bool = False) -> object:
        return TaskState(task_uuid="1", state=State.SUCCESS, results=results, several=several).value()

    assert value() is None
    assert value(one) == 1
    assert value(one, several=True) == (1,)
    assert value(one, two, several=True) == (1, "x")
    assert value(several=True) == ()


def test_what_is_unset_is_left_out_and_unknown_keys_are_ignored() -> None:
    assert TaskState(task_uuid="1").to_json() == b'{"TaskUUID":"1","State":"PENDING"}'
    assert TaskState.from_json(b'{"TaskUUID":"1","State":"PENDING","Later":[1]}') == TaskState(task_uuid="1")
    created = dt.datetime(2026, 1, 31, tzinfo=dt.UTC)
    assert b'"CreatedAt":"2026-01-31T00:00:00Z"' in TaskState(task_uuid="1", created_at=created).to_json()
