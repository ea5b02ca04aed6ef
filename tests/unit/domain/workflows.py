"""Workflows that hypothesis draws: a shape first, so that the same example has the same ids."""

import itertools
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from vecna.domain.signature import Signature
from vecna.domain.workflow import Chain, Chord, Group, Link

#: None is a task; else what it is and what it is made of, of a chord the last being the callback.
shapes: st.SearchStrategy[Any] = st.recursive(
    st.none(),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["group", "chain"]), st.lists(inner, min_size=1, max_size=3)),
        st.tuples(st.just("chord"), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=8,
)


def workflow_of(shape: Any, prefix: str) -> Link:
    """The workflow of a shape, its ids counted from the prefix."""
    return _made(shape, (f"{prefix}{number}" for number in itertools.count()))


def _made(shape: Any, ids: Iterator[str]) -> Link:
    own = next(ids)
    if shape is None:
        return Signature("n", [own], uuid=own)
    kind, parts = shape
    links = [_made(part, ids) for part in parts]
    if kind == "group":
        return Group(links, group_uuid=own)
    if kind == "chain":
        return Chain(links, chain_uuid=own)
    return Chord(Group(links[:-1], group_uuid=f"{own}.g"), links[-1], chain_uuid=own)
