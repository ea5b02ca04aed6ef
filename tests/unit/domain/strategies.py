"""Values that hypothesis draws: everything that a signature can be made of."""

import datetime as dt
import functools
import math
import string
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import settings
from hypothesis import strategies as st

from vecna.domain.arg import FLOATS, INTEGERS, TYPES, Arg
from vecna.domain.durations import LONGEST, to_duration
from vecna.domain.options import MAX_RETRIES
from vecna.domain.position import Position
from vecna.domain.retry import Exponential, Fibonacci
from vecna.domain.signature import Signature
from vecna.domain.values import MAX_BITS

#: For what is slow to draw: a fifth of the examples that the profile asks for; `thorough` asks for many.
few = settings(max_examples=max(10, settings().max_examples // 5))
#: Python refuses to write it as text, so no error may try to show it.
HUGE = 10**5000


def kind(value: object) -> str:
    """How pytest is to call a value, without printing it."""
    return type(value).__name__


class Word(str):
    """A text of a class of its own that lies about itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return "other"

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


class Number(int):
    """An int of a class of its own that lies about itself."""

    __slots__ = ()

    def __index__(self) -> int:
        return 999

    __int__ = __index__

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    __str__ = __repr__


class Real(float):
    """A float of a class of its own, as numpy's float64 is one."""

    __slots__ = ()

    def __float__(self) -> float:
        return 999.0

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    __str__ = __repr__


ids = st.one_of(
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(string.ascii_letters + string.digits),
            st.text(string.ascii_letters + string.digits + "_.:@/-", max_size=12),
        ),
    ),
    st.sampled_from(["a" * 200, "0"]),
)
names = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
texts = st.text(max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False)
big = st.one_of(st.integers(), st.sampled_from([2**63, 2**64, -(2**MAX_BITS) + 1, 2**MAX_BITS - 1]))

json_scalars = st.one_of(st.none(), st.booleans(), big, finite, texts)
json_values = st.recursive(
    json_scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)
SCALAR_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "string": texts,
    **{name: st.integers(*bounds) for name, bounds in INTEGERS.items()},
    **{name: st.floats(-largest, largest) for name, largest in FLOATS.items()},
}


def values_of(kind: str) -> st.SearchStrategy[Any]:
    """Values of a wire type."""
    if kind == "json":
        return json_values
    if kind.startswith("[]"):
        return st.lists(SCALAR_VALUES[kind[2:]], max_size=3)
    return SCALAR_VALUES[kind]


arguments = st.one_of(
    st.sampled_from(sorted(TYPES)).flatmap(lambda kind: st.builds(Arg, st.just(kind), values_of(kind), texts)),
    json_values,
)

#: Some that change their clocks, by odd steps, and none.
zones = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Africa/Monrovia"]).map(ZoneInfo)
instants = st.datetimes(timezones=st.just(dt.UTC))
durations = st.one_of(
    st.timedeltas(dt.timedelta(0), LONGEST), st.integers(0, 10**9), st.floats(0, LONGEST.total_seconds())
)
waits = st.floats(1e-6, 1e6)
policies = st.one_of(
    st.just(Fibonacci()),
    st.builds(
        Exponential, base=waits, factor=st.floats(0.1, 1e6), maximum=waits, jitter=st.floats(0, 1) | st.integers(0, 1)
    ),
)
classes = st.one_of(
    st.sampled_from([ValueError, OSError, (KeyError, "app.errors.Broken"), [], ["x"]]),
    st.lists(st.text(min_size=1, max_size=8), max_size=3),
)
#: option -> what it takes; of each pair of synonyms and of eta and delay, the property tests draw one.
OPTION_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "queue": ids,
    "eta": instants,
    "delay": durations,
    "expires": instants | durations,
    "timeout": durations.filter(lambda value: to_duration(value, "timeout")),
    "retry_count": st.integers(0, MAX_RETRIES),
    "retry_timeout": durations,
    "retry": policies,
    "retry_on": classes,
    "no_retry_on": classes,
    "priority": st.integers(0, 9),
    "immutable": st.booleans(),
    "keep_result": st.booleans(),
    "ignore_when_task_not_registered": st.booleans(),
}


def _apart(chosen: dict[str, Any]) -> dict[str, Any]:
    """Options that may stand together."""
    if "delay" in chosen:
        chosen.pop("eta", None)
    return chosen


options = st.fixed_dictionaries({}, optional=OPTION_VALUES).map(_apart)
few_options = st.lists(st.sampled_from(sorted(OPTION_VALUES)), max_size=3).flatmap(
    lambda chosen: st.fixed_dictionaries({name: OPTION_VALUES[name] for name in chosen}).map(_apart)
)
positions = st.builds(Position, st.just("") | ids, st.integers(0, 10_000), st.just("") | ids)


@functools.cache
def _fields(depth: int) -> st.SearchStrategy[dict[str, Any]]:
    parts: dict[str, st.SearchStrategy[Any]] = {
        "args": st.lists(arguments, max_size=3),
        "kwargs": st.dictionaries(texts, arguments, max_size=2),
        "headers": st.dictionaries(texts, json_values, max_size=2),
        "code": ids,
        "group_uuid": ids,
        "group_task_count": st.integers(0, 10_000),
        "spec": texts,
        "position": positions,
    }
    if depth:
        below = signatures(depth - 1)
        parts |= {"on_success": st.lists(below, max_size=2), "on_error": below, "chord_callback": below}
    return st.fixed_dictionaries({"name": names, "uuid": ids}, optional=parts)


@st.composite
def signatures(draw: st.DrawFn, depth: int = 2) -> Signature:
    """Any signature, with callbacks nested up to `depth`."""
    fields = draw(_fields(depth))
    below = [*fields.get("on_success", []), fields.get("on_error"), fields.get("chord_callback")]
    taken = {signature.uuid for signature in below if signature is not None}
    if fields["uuid"] in taken:
        fields["uuid"] = next(uuid for uuid in map(str, range(len(taken) + 1)) if uuid not in taken)
    return Signature(**fields, **draw(few_options))


def exact(value: object) -> object:
    """A value in which True, 1 and 1.0 are told apart, and 0.0 from -0.0."""
    if isinstance(value, list | tuple):
        return [exact(item) for item in value]
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, float):
        return ("float", value, math.copysign(1, value))
    return (type(value), value)
