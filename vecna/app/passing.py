"""What a chord callback is passed: the results of its group, read when it runs, so that no message grows with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from vecna.domain.arg import Arg
from vecna.domain.errors import InvalidArgument
from vecna.domain.signature import Signature
from vecna.ports.backend import Backend

_PAGE: Final = 500


def with_passed(backend: Backend, signature: Signature[Any]) -> Signature[Any]:
    """The call with the results that it takes from a group behind its own positional arguments.

    Args:
        backend: where they are.
        signature: with the options in force; one that is immutable takes none.

    Raises:
        InvalidArgument: a result is not there any more.
        BrokerUnavailable: the backend cannot be reached.
    """
    if signature.position is None or not signature.position.takes or signature.immutable:
        return signature
    return signature.evolve(args=(*signature.args, *_results(backend, signature.position.takes)))


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
