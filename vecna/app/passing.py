"""What a chord callback is passed: the results of its group, read when it runs, so that no message grows with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import attrs

from vecna.domain.arg import Arg
from vecna.domain.errors import InvalidArgument
from vecna.domain.signature import Signature
from vecna.ports.backend import Backend

_PAGE: Final = 500


def with_passed(backend: Backend, signature: Signature[Any]) -> Signature[Any]:
    """The call with the results that it takes from a group behind its own positional arguments; it takes none any more.

    Whoever is interrupted among several calls asks for all of them again: what was passed already is not passed twice.

    Args:
        backend: where they are.
        signature: with the options in force; one that is immutable takes none.

    Raises:
        InvalidArgument: a result is not there any more.
        BrokerUnavailable: the backend cannot be reached.
    """
    position = signature.position
    if position is None or not position.takes or signature.immutable:
        return signature
    args = (*signature.args, *_results(backend, position.takes))
    return signature.evolve(args=args, position=attrs.evolve(position, takes=""))


def _results(backend: Backend, group: str) -> Iterator[Arg]:
    offset = 0
    while True:
        uuids = backend.get_tasks(group, every=False, offset=offset, limit=_PAGE)
        if not uuids and offset == 0:
            raise InvalidArgument(f"the results of group {group} are not there any more: its plan has expired")
        for uuid, state in zip(uuids, backend.get_states(uuids), strict=True):
            if state is None or not state.is_success:
                raise InvalidArgument(f"the result of task {uuid} of group {group} is not there any more")
            for result in state.results:
                yield Arg(result.type, result.value)
        if len(uuids) < _PAGE:
            return
        offset += len(uuids)
