"""Options: synonyms, what excludes what, and what is refused."""

import collections
import datetime as dt
import itertools
import json
from typing import Any

import pytest
from hypothesis import given

from tests.unit.domain.strategies import HUGE, OPTION_VALUES, Word, few, kind, options
from vecna.domain.errors import InvalidSignature
from vecna.domain.options import DEFAULTS, MAX_RETRIES, NAMES, Options, check_options, exception_name
from vecna.domain.retry import FIBONACCI, Exponential, Fibonacci
from vecna.domain.values import MAX_COUNT

NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


class Mine(Exception):
    class Inner(ValueError):
        pass


class Stubborn(Fibonacci):
    """A rule of a user's own."""


class Endless(Exponential):
    """A rule of a user's own."""


def test_the_tables_speak_of_the_same_options():
    assert {*DEFAULTS, "routing_key", "pass_result"} == NAMES == set(Options.__annotations__)
    assert set(OPTION_VALUES) == set(DEFAULTS)


def test_the_documented_defaults():
    assert {
        "queue": "", "eta": None, "delay": None, "expires": None, "timeout": None, "retry_count": 0,
        "retry_timeout": dt.timedelta(0), "retry": Fibonacci(), "retry_on": (), "no_retry_on": (), "priority": 0,
        "immutable": False, "keep_result": True, "ignore_when_task_not_registered": False,
    } == DEFAULTS  # fmt: skip


@pytest.mark.parametrize(
    ("given", "checked"),
    [
        ({}, {}),
        (dict.fromkeys(NAMES), {}),
        ({"queue": "q"}, {"queue": "q"}),
        ({"routing_key": "q"}, {"queue": "q"}),
        ({"routing_key": "q", "queue": "q"}, {"queue": "q"}),
        ({"queue": Word("q")}, {"queue": "q"}),
        ({"pass_result": False}, {"immutable": True}),
        ({"pass_result": True, "immutable": False}, {"immutable": False}),
        ({"eta": NOON.astimezone(dt.timezone(dt.timedelta(hours=5)))}, {"eta": NOON}),
        ({"eta": NOON, "delay": None}, {"eta": NOON}),
        ({"delay": 1.5}, {"delay": 1.5 * SECOND}),
        ({"delay": 0}, {"delay": 0 * SECOND}),
        ({"expires": NOON}, {"expires": NOON}),
        ({"expires": 60}, {"expires": 60 * SECOND}),
        ({"timeout": SECOND}, {"timeout": SECOND}),
        ({"retry_count": 0}, {"retry_count": 0}),
        ({"retry_count": MAX_RETRIES}, {"retry_count": MAX_RETRIES}),
        ({"retry_timeout": 3}, {"retry_timeout": 3 * SECOND}),
        ({"retry": Exponential(2)}, {"retry": Exponential(2)}),
        ({"retry_on": ValueError}, {"retry_on": ("builtins.ValueError",)}),
        ({"retry_on": [Mine, Mine.Inner]}, {"retry_on": (f"{__name__}.Mine", f"{__name__}.Mine.Inner")}),
        ({"no_retry_on": (json.JSONDecodeError, "app.E")}, {"no_retry_on": ("json.decoder.JSONDecodeError", "app.E")}),
        ({"retry_on": (item for item in [KeyError])}, {"retry_on": ("builtins.KeyError",)}),
        ({"retry_on": ()}, {"retry_on": ()}),
        ({"priority": 9}, {"priority": 9}),
        ({"keep_result": False}, {"keep_result": False}),
    ],
)
def test_options_are_checked_into_their_one_spelling(given, checked):
    assert check_options(given) == checked


@few
@given(options)
def test_checked_options_stay_as_they_are(drawn):
    checked = check_options(drawn)

    assert check_options(checked) == checked
    assert checked.keys() == drawn.keys()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"eta": NOON, "delay": 1}, "eta and delay exclude each other"),
        ({"eta": NOON.replace(tzinfo=None)}, "no time zone"),
        ({"expires": NOON.replace(tzinfo=None)}, "no time zone"),
        ({"queue": "a", "routing_key": "b"}, "queue is set twice"),
        ({"immutable": True, "pass_result": True}, "immutable is set twice"),
        ({"quue": "a"}, "unknown option 'quue': one of delay, eta"),
        ({"set_options": {}}, "unknown option"),
        ({"timeout": 0}, "timeout must be above 0"),
        ({"timeout": 1e-9}, "timeout must be above 0"),
        ({"retry": Stubborn()}, "retry takes"),
        ({"retry": Endless()}, "retry takes"),
        ({"retry": Exponential}, "retry takes"),
        ({"retry_on": itertools.repeat(KeyError)}, f"at most {MAX_COUNT}"),
        ({"retry_on": ["\ud800"]}, "surrogate"),
    ],
    ids=kind,
)
def test_contradictions_and_unknown_names_are_refused(wrong, message):
    with pytest.raises(InvalidSignature, match=message):
        check_options(wrong)


NO_DURATION: list[Any] = [-1, float("nan"), float("inf"), HUGE, "1", True, b"1", [1], dt.timedelta.max, NOON.date()]
WRONG: dict[str, list[Any]] = {
    "queue": ["", "a b", "a\n", 1, b"q", ["q"], "q" * 201],
    "eta": [1, 1.5, "2026-01-31T12:00:00Z", SECOND, True, NOON.date(), HUGE],
    "delay": [*NO_DURATION, NOON],
    "expires": NO_DURATION,
    "timeout": [*NO_DURATION, NOON, 0],
    "retry_count": [-1, 1.0, "1", True, HUGE, MAX_RETRIES + 1, [1]],
    "retry_timeout": [*NO_DURATION, NOON],
    "retry": [1, "fibonacci", {"Kind": "fibonacci"}, object(), HUGE],
    "retry_on": [1, "ValueError", b"x", [int], [None], [""], [1], object, [b"x"], HUGE, [HUGE], [ValueError()]],
    "no_retry_on": [1, "ValueError", [int], [HUGE]],
    "priority": [-1, 10, 1.0, True, "9", HUGE],
    "immutable": [0, 1, "true", [], HUGE],
    "pass_result": [0, 1, "false", HUGE],
    "keep_result": [0, "no", HUGE],
    "ignore_when_task_not_registered": [1, "yes", HUGE],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_type_or_range_is_refused_naming_the_option(name):
    for value in WRONG[name]:
        with pytest.raises(InvalidSignature, match=name):
            check_options({name: value})


def test_collections_do_not_matter_where_order_does_not():
    checked = check_options({"retry_on": {KeyError}, "no_retry_on": collections.deque([OSError])})

    assert checked == {"retry_on": ("builtins.KeyError",), "no_retry_on": ("builtins.OSError",)}
    assert exception_name(KeyError) == "builtins.KeyError"
    assert check_options({"retry": FIBONACCI})["retry"] is FIBONACCI
