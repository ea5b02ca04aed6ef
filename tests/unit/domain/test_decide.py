import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.strategies import few, policies, texts
from vecna.domain.arg import Arg, TaskResult
from vecna.domain.decide import (
    Attempts,
    Canceled,
    Decision,
    End,
    Failed,
    Outcome,
    Postponed,
    Repeat,
    Succeeded,
    decide,
    follow_ups,
    is_retried,
)
from vecna.domain.errors import InvalidSignature
from vecna.domain.retry import Exponential
from vecna.domain.signature import Signature
from vecna.domain.state import FINAL, State, TaskState
from vecna.domain.values import MAX_COUNT

BOOM = Failed(
    "RuntimeError: boom", "app.Boom", "Traceback", ("app.Boom", "builtins.RuntimeError", "builtins.Exception")
)
chances = st.floats(0, 1, exclude_max=True)
attempts = st.builds(
    lambda retries, more, parks: Attempts(retries, retries + more, parks),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 5),
)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Succeeded, st.lists(st.builds(TaskResult, st.just("string"), texts), max_size=3).map(tuple)),
    st.builds(Failed, texts, permanent=st.booleans()),
    st.builds(Postponed, texts, st.timedeltas(dt.timedelta(0), dt.timedelta(days=9))),
    st.builds(Canceled, texts),
)
signatures = st.builds(
    lambda count, wait, policy: Signature("a", retry_count=count, retry_timeout=wait, retry=policy),
    st.integers(0, 5),
    st.integers(0, 100),
    policies,
)


def after(outcome: Outcome, *, behind: Attempts = Attempts(), canceled: bool = False, **options: Any) -> Decision:
    return decide(Signature("a", **options), outcome, behind, chance=0.0, canceled=canceled)


def test_what_returned_ends_as_success_also_when_it_was_cancelled() -> None:
    results = (TaskResult("int64", 1), TaskResult("string", "x"))

    for canceled in (False, True):
        assert after(Succeeded(results, several=True), canceled=canceled) == End(State.SUCCESS, results, several=True)


def test_without_retries_the_first_failure_is_the_last() -> None:
    assert after(BOOM) == End(
        State.FAILURE, error="RuntimeError: boom", error_type="app.Boom", traceback="Traceback"
    )  # fmt: skip


def test_retries_wait_by_fibonacci_until_they_are_used_up() -> None:
    behind, waits = Attempts(), []
    for _ in range(4):
        decision = after(BOOM, behind=behind, retry_count=4)
        assert isinstance(decision, Repeat)
        assert (decision.error, decision.error_type, decision.traceback) == (BOOM.error, "app.Boom", "Traceback")
        waits.append(decision.delay.total_seconds())
        behind = decision.attempts

    assert waits == [1, 2, 3, 5]
    assert behind == Attempts(retries=4, repeats=4)
    assert behind.attempt == 5
    assert isinstance(after(BOOM, behind=behind, retry_count=4), End)


def test_retry_timeout_and_policy_are_those_of_the_signature() -> None:
    first = after(BOOM, retry_count=1, retry_timeout=3)
    other = after(BOOM, behind=Attempts(2, 2), retry_count=9, retry=Exponential(base=1, factor=10, maximum=50))

    assert isinstance(first, Repeat)
    assert isinstance(other, Repeat)
    assert (first.delay.total_seconds(), other.delay.total_seconds()) == (5, 50)


def test_a_permanent_failure_is_not_repeated() -> None:
    failure = Failed("InvalidArgument: no", permanent=True, dead_reason="unreadable")

    assert after(failure, retry_count=5) == End(
        State.FAILURE, error="InvalidArgument: no", dead_reason="unreadable"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "retried"),
    [
        ({}, True),
        ({"retry_on": RuntimeError}, True),
        ({"retry_on": ["app.Boom"]}, True),
        ({"retry_on": OSError}, False),
        ({"no_retry_on": RuntimeError}, False),
        ({"no_retry_on": OSError}, True),
        ({"retry_on": Exception, "no_retry_on": ["app.Boom"]}, False),
        ({"retry_on": []}, True),
    ],
)
def test_classes_say_what_is_retried_bases_included(options: Any, retried: bool) -> None:
    assert is_retried(Signature("a", **options), BOOM) is retried
    assert isinstance(after(BOOM, retry_count=1, **options), Repeat) is retried


def test_retry_task_later_uses_nothing_up() -> None:
    decision = after(Postponed("busy", dt.timedelta(seconds=30)), behind=Attempts(retries=1, repeats=3))

    assert decision == Repeat(dt.timedelta(seconds=30), Attempts(retries=1, repeats=4), "busy")


def test_a_cancelled_task_is_not_repeated() -> None:
    postponed = after(Postponed("busy", dt.timedelta(0)), canceled=True)
    failed = after(BOOM, retry_count=5, canceled=True)
    last = after(BOOM, canceled=True)

    assert postponed == End(State.CANCELED, error="canceled")
    assert failed == End(State.CANCELED, error="canceled after RuntimeError: boom", error_type="app.Boom")
    assert isinstance(last, End)
    assert last.state is State.FAILURE
    assert after(Canceled("expired")) == End(State.CANCELED, error="expired")


@few
@given(signatures, outcomes, attempts, chances, st.booleans())
def test_every_outcome_ends_or_comes_nearer_to_its_end(
    signature: Signature, outcome: Outcome, behind: Attempts, chance: float, canceled: bool
) -> None:
    decision = decide(signature, outcome, behind, chance=chance, canceled=canceled)

    assert decision == decide(signature, outcome, behind, chance=chance, canceled=canceled)
    if isinstance(decision, End):
        assert decision.state in FINAL
        return
    assert not canceled
    assert not isinstance(outcome, Succeeded | Canceled)
    assert decision.delay >= dt.timedelta(0)
    assert decision.attempts.attempt == behind.attempt + 1
    assert decision.attempts.parks == behind.parks
    used = decision.attempts.retries - behind.retries
    assert used == isinstance(outcome, Failed)
    assert decision.attempts.retries <= max(signature.retry_count, behind.retries)


def recorded(state: State, *values: object, error: str = "") -> TaskState:
    return TaskState(
        task_uuid="1", state=state, results=tuple([TaskResult.of(value) for value in values]), error=error
    )  # fmt: skip


SIGNATURE = Signature(
    "a",
    on_success=[Signature("b", [1], uuid="b"), Signature("c", uuid="c", immutable=True)],
    on_error=[Signature("d", [1], uuid="d")],
)


def shown(signatures: tuple[Signature, ...]) -> list[tuple[str, list[object]]]:
    return [(signature.uuid, [arg.value for arg in signature.args]) for signature in signatures]


def test_results_go_behind_the_arguments_of_callbacks() -> None:
    assert shown(follow_ups(SIGNATURE, recorded(State.SUCCESS, 5, "x"))) == [("b", [1, 5, "x"]), ("c", [5, "x"])]
    assert shown(follow_ups(SIGNATURE, recorded(State.SUCCESS))) == [("b", [1]), ("c", [])]


def test_an_immutable_task_passes_nothing_on() -> None:
    signature = SIGNATURE.replace(immutable=True)

    assert shown(follow_ups(signature, recorded(State.SUCCESS, 5))) == [("b", [1]), ("c", [])]
    assert shown(follow_ups(signature, recorded(State.FAILURE, error="no"))) == [("d", ["no", 1])]


def test_the_error_text_goes_before_the_arguments() -> None:
    (called,) = follow_ups(SIGNATURE, recorded(State.FAILURE, error="RuntimeError: boom"))

    assert shown((called,)) == [("d", ["RuntimeError: boom", 1])]
    assert called.args[0] == Arg("string", "RuntimeError: boom")


@pytest.mark.parametrize("state", [state for state in State if state not in (State.SUCCESS, State.FAILURE)])
def test_nothing_else_causes_anything(state: State) -> None:
    assert follow_ups(SIGNATURE, recorded(state, 5, error="x")) == ()


def test_results_too_many_for_one_callback_concern_that_one_only() -> None:
    signature = Signature("a", on_success=[Signature("b", [1], uuid="b"), Signature("c", uuid="c")])
    first, second = follow_ups(signature, recorded(State.SUCCESS, *[True] * MAX_COUNT))

    with pytest.raises(InvalidSignature, match="10001 arguments are too many"):
        first.to_json()
    assert Signature.from_json(second.to_json()) == second
