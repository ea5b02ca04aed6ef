"""What may expire once it is settled: ends, and workflows that are over."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final

from vecna.app.delivery_values import Wiring
from vecna.app.releasing import is_over, release_plan
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.signature import Signature

#: How often a release is tried before it is left to a sweep.
_TRIES: Final = 3


class Releases:
    """Gathers what is to be released, and releases it. For one thread at a time; true while there is something to do.

    Args:
        wiring: of the server.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._ends: dict[float, list[str]] = {}  # by how long they are kept, seconds
        self._ended_roots: list[str] = []  # workflows that are over
        self._failed_roots: list[tuple[str, Signature[Any]]] = []  # those that may be, and which of their tasks failed
        self._tried = 0  # how often in a row that has failed

    def __bool__(self) -> bool:
        return bool(self._ends or self._ended_roots or self._failed_roots)

    def plan(self, signature: Signature[Any]) -> None:
        """Release the end of a task, to be kept as its options say."""
        keep = self._wiring.config.results_expire_in if signature.set_options.get("keep_result", True) else 0.0
        line = self._ends.get(keep)
        if line is None:
            line = self._ends[keep] = []
        line.append(signature.uuid)

    def keep(self, uuids: Iterable[str], seconds: float) -> None:
        """Release ends, to be kept for so long."""
        self._ends.setdefault(seconds, []).extend(uuids)

    def end(self, roots: Iterable[str]) -> None:
        """Release workflows that have succeeded."""
        self._ended_roots += roots

    def fail(self, roots: Iterable[str], signature: Signature[Any]) -> None:
        """Release workflows that have failed with this task, if nothing of them goes on."""
        self._failed_roots += [(root, signature) for root in roots]

    def carry_out(self) -> None:
        """Let all that expire. What cannot be, after some tries, is left to a sweep: it holds up no other.

        Raises:
            BrokerUnavailable: broker or backend cannot be reached; the next call goes on from there.
        """
        try:
            self._carry_out()
            self._tried = 0
        except BrokerUnavailable:
            self._tried += 1
            if self._tried < _TRIES:  # further ones, until all can be released again, are tried once
                raise
            if self._failed_roots:
                self._failed_roots.pop()
            elif self._ended_roots:
                self._ended_roots.pop()
            else:
                del self._ends[min(self._ends)]

    def _carry_out(self) -> None:
        while self._failed_roots:
            root, signature = self._failed_roots[-1]
            if is_over(self._wiring, root):  # else a sweep finds it, by this task's record, when it is
                self.plan(signature)
                self._ended_roots.append(root)
            self._failed_roots.pop()
        while self._ended_roots:
            keep = self._wiring.config.results_expire_in
            self.keep(release_plan(self._wiring.backend, self._ended_roots[-1], keep), keep)
            self._ended_roots.pop()
        for keep in sorted(self._ends):  # the first release of a result counts: what is not kept comes first
            self._wiring.backend.release(self._ends[keep], dt.timedelta(seconds=keep))
            del self._ends[keep]
