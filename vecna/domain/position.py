"""Where a signature stands in a workflow."""

from __future__ import annotations

from typing import Final

import attrs

from vecna.domain.errors import InvalidSignature
from vecna.domain.ids import check_id

#: Places in one group or chain; what every language that reads the message can count to.
MAX_PLACE: Final = 2**31 - 1


@attrs.frozen
class Position:
    """What a task of a workflow reports to, and where its further arguments come from.

    Attributes:
        node: id of the group or chain that its end is reported to; "" if to none.
        index: its place there: member of the group, or step of the chain.
        takes: id of the group whose results are put behind its arguments when it runs; "" if none.
    """

    node: str = ""
    index: int = 0
    takes: str = ""

    def to_plain(self) -> dict[str, object]:
        """As it stands in a message."""
        plain: dict[str, object] = {}
        if self.node:
            plain["Node"] = self.node
        if self.index:
            plain["Index"] = self.index
        if self.takes:
            plain["Takes"] = self.takes
        return plain

    @staticmethod
    def from_plain(plain: object) -> Position:
        """The position that stands in a message.

        Raises:
            InvalidSignature: it cannot be read.
        """
        if not isinstance(plain, dict):
            raise InvalidSignature("Position of the message is not an object")
        node, index, takes = (plain.get(key) for key in ("Node", "Index", "Takes"))
        index = 0 if index is None else index
        if type(index) is not int or not 0 <= index <= MAX_PLACE:
            raise InvalidSignature(f"Index of the message's Position is not a number from 0 to {MAX_PLACE}")
        return Position(_id(node), index, _id(takes))


def _id(value: object) -> str:
    return "" if value is None or value == "" else check_id(value, "group or chain id", InvalidSignature)
