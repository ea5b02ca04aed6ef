"""Where a signature stands in a workflow."""

from __future__ import annotations

import attrs

from vecna.domain.errors import InvalidSignature
from vecna.domain.ids import check_id


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
        node, index, takes = plain.get("Node", ""), plain.get("Index", 0), plain.get("Takes", "")
        for name in (node, takes):
            if name != "":
                check_id(name, "group or chain id", InvalidSignature)
        if type(index) is not int or index < 0:
            raise InvalidSignature("Index of the message's Position is not a number of 0 or more")
        return Position(node, index, takes)
