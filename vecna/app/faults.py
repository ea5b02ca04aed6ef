"""Doing several things of which one must not hinder the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def try_each(acts: Iterable[Callable[[], object]]) -> None:
    """Do each thing, whatever the ones before have raised; then raise the first fault, if there was one.

    Args:
        acts: what to do; if that follows from what was done before, a generator.
    """
    fault: Exception | None = None
    for act in acts:
        try:
            act()
        except Exception as exc:  # noqa: BLE001  # whatever a port raises; it is raised in the end
            fault = fault or exc
    if fault is not None:
        raise fault
