"""When a failed task runs again."""

import copy
import datetime as dt
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.strategies import HUGE, Real, durations, few, json_values, kind, policies
from vecna.domain.durations import LONGEST, to_duration
from vecna.domain.errors import InvalidArgument, InvalidSignature, RetryTaskLater
from vecna.domain.retry import Exponential, Fibonacci, fibonacci_after, policy_from_plain, policy_to_plain

NONE = dt.timedelta(0)
chances = st.floats(0, 1, exclude_max=True)


def waits(start: float, count: int) -> list[float]:
    return [Fibonacci().wait(retry, dt.timedelta(seconds=start), 0).total_seconds() for retry in range(1, count + 1)]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (0, [1, 2, 3, 5, 8, 13, 21]),
        (0.5, [1, 2, 3, 5, 8, 13, 21]),
        (1, [2, 3, 5, 8, 13, 21, 34]),
        (3, [5, 8, 13, 21, 34, 55, 89]),
        (4, [5, 8, 13, 21, 34, 55, 89]),
        (5, [8, 13, 21, 34, 55, 89, 144]),
        (100.25, [144, 233, 377, 610, 987, 1597, 2584]),
    ],
)
def test_fibonacci_waits_the_nth_number_above_retry_timeout(start, expected):
    assert waits(start, 7) == expected


@given(st.integers(0, 10**9), st.integers(1, 30))
def test_fibonacci_equals_its_plain_definition(start, retry):
    numbers = [1, 2]
    while len([number for number in numbers if number > start]) < retry:
        numbers.append(numbers[-2] + numbers[-1])
    expected = [number for number in numbers if number > start][retry - 1]

    limit = LONGEST.total_seconds()
    assert Fibonacci().wait(retry, dt.timedelta(seconds=start), 0).total_seconds() == min(expected, limit)


def test_fibonacci_ends_at_the_longest_duration_however_often_it_repeats():
    for retry in (60, 1000, 1_000_000):
        assert Fibonacci().wait(retry, NONE, 0) == LONGEST
    assert Fibonacci().wait(1, LONGEST, 0) == LONGEST


@given(st.integers(0, 10**12))
def test_the_number_after_is_the_next_of_the_row(number):
    row = [1, 2]
    while row[-1] <= number:
        row.append(row[-2] + row[-1])

    assert fibonacci_after(number) == min(entry for entry in row if entry > number)


def test_exponential_grows_up_to_its_maximum():
    policy = Exponential(base=2, factor=3, maximum=60, jitter=0)

    assert [policy.wait(retry, NONE, 0.9).total_seconds() for retry in range(1, 7)] == [2, 6, 18, 54, 60, 60]


@given(policies, st.integers(1, 10**6), st.timedeltas(NONE, dt.timedelta(days=1)), chances)
def test_no_wait_is_below_its_start_or_above_the_longest(policy, retry, start, chance):
    wait = policy.wait(retry, start, chance)

    assert start <= wait <= LONGEST


@given(st.floats(1e-3, 1e3), st.floats(1, 10), st.floats(1, 1e6), st.floats(0, 1), st.integers(1, 500), chances)
def test_jitter_takes_away_at_most_its_share(base, factor, maximum, jitter, retry, chance):
    wait = Exponential(base, factor, maximum, jitter).wait(retry, NONE, chance)
    full = Exponential(base, factor, maximum, 0).wait(retry, NONE, chance)

    assert full * (1 - jitter) - dt.timedelta(microseconds=1) <= wait <= full
    assert full <= dt.timedelta(seconds=max(maximum, base))
    assert Exponential(base, factor, maximum, jitter).wait(retry, NONE, 0) == full


def test_chance_spreads_the_waits():
    policy = Exponential(base=100, jitter=0.5)

    assert [policy.wait(1, NONE, chance).total_seconds() for chance in (0, 0.5, 0.999)] == pytest.approx(
        [100, 75, 50.05]
    )


def test_a_huge_factor_or_count_costs_no_time():
    for factor in (10**18, 1e308, 2):
        assert Exponential(1, factor, 60, 0).wait(1_000_000, NONE, 0) == dt.timedelta(seconds=60)
    assert Exponential(1, 1e-300, 60, 0).wait(1_000_000, NONE, 0) == NONE


def test_exponential_takes_timedeltas():
    assert Exponential(dt.timedelta(minutes=1), 2, dt.timedelta(hours=1)) == Exponential(60, 2, 3600)
    assert type(Exponential(1, Real(2)).factor) is float
    assert Exponential() == Exponential(1, 2, 3600, 0.5)


@pytest.mark.parametrize("name", ["base", "factor", "maximum", "jitter"])
@pytest.mark.parametrize(
    "bad", [-1, math.nan, math.inf, HUGE, -HUGE, 10**400, "1", True, None, [1], 1j, b"1"], ids=kind
)
def test_exponential_refuses_what_is_no_number_in_range(name, bad):
    with pytest.raises(InvalidArgument, match=r"Exponential"):
        Exponential(**{name: bad})


@pytest.mark.parametrize("wrong", [{"base": 0}, {"base": 1e-9}, {"factor": 0}, {"maximum": 0}, {"jitter": 1.01}])
def test_exponential_refuses_what_would_not_wait(wrong):
    with pytest.raises(InvalidArgument, match="Exponential"):
        Exponential(**wrong)


@given(policies)
def test_a_policy_survives_the_round_trip(policy):
    assert policy_from_plain(policy_to_plain(policy)) == policy
    assert pickle.loads(pickle.dumps(policy)) == copy.deepcopy(policy) == policy


@few
@given(
    json_values
    | st.dictionaries(
        st.sampled_from(["Kind", "Base", "Factor", "Maximum", "Jitter"]),
        json_values | st.sampled_from(["exponential", "fibonacci"]),
    )
)
def test_reading_a_policy_succeeds_or_says_why_not(plain):
    try:
        policy = policy_from_plain(plain)
    except InvalidSignature:
        return

    assert policy_from_plain(policy_to_plain(policy)) == policy


def test_missing_and_null_parts_of_a_policy_are_its_defaults():
    assert policy_from_plain({"Kind": "exponential", "Base": 5, "Factor": None}) == Exponential(5)


# -- RetryTaskLater ------------------------------------------------------------------------------------------------


@given(durations)
def test_retry_task_later_takes_a_timedelta_or_seconds(delay):
    assert RetryTaskLater("busy", delay).delay == to_duration(delay, "delay")


def test_a_delay_that_lies_behind_is_none():
    assert RetryTaskLater("busy", -5).delay == RetryTaskLater("busy", dt.timedelta(days=-1)).delay == NONE


@pytest.mark.parametrize("bad", [math.nan, math.inf, HUGE, "5", None, [5]], ids=kind)
def test_a_delay_that_is_none_is_refused(bad):
    with pytest.raises(InvalidArgument, match="delay of RetryTaskLater"):
        RetryTaskLater("busy", bad)


def test_retry_task_later_can_be_copied_and_sent_to_another_process():
    for made in (pickle.loads(pickle.dumps(RetryTaskLater("busy", 5))), copy.copy(RetryTaskLater("busy", 5))):
        assert (str(made), made.delay) == ("busy", dt.timedelta(seconds=5))
