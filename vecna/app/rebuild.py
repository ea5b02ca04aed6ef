"""Values rebuilt from JSON by annotation: the inverse of `vecna.domain.values.to_plain`."""

from __future__ import annotations

from typing import Any

from vecna.app.rebuild_plain import Rebuild, is_simple, simple_rebuilder, takes_anything


def rebuilder(annotation: Any) -> Rebuild | None:
    """What turns plain values into values of the annotated type; None if any value will do as it is.

    Raises:
        Unbuildable: there are no values of this type that JSON could give.
    """
    if is_simple(annotation):
        return simple_rebuilder(annotation)
    if takes_anything(annotation):
        return None
    # A module of its own: whoever uses JSON's own types only does not load cattrs.
    from vecna.app.rebuild_types import build_rebuilder

    return build_rebuilder(annotation)
