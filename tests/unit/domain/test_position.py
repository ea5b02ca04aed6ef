"""Where a signature stands in a workflow, as a message says it."""

import pytest
from hypothesis import given

from tests.unit.domain.strategies import HUGE, ids, positions
from vecna.domain.errors import InvalidSignature
from vecna.domain.position import MAX_PLACE, Position


@given(positions)
def test_a_position_survives_the_round_trip(position):
    assert Position.from_plain(position.to_plain()) == position


def test_what_is_unset_is_left_out_and_null_is_unset():
    assert Position().to_plain() == {}
    assert Position("g", 2, "h").to_plain() == {"Node": "g", "Index": 2, "Takes": "h"}
    assert Position.from_plain({"Node": None, "Index": None, "Takes": None, "More": 1}) == Position()
    assert Position.from_plain({"Node": "", "Index": MAX_PLACE}) == Position("", MAX_PLACE)


@given(ids)
def test_ids_of_nodes_are_ids(node):
    assert Position.from_plain({"Node": node, "Takes": node}) == Position(node, 0, node)


@pytest.mark.parametrize(
    "bad",
    [
        None, 1, "g", [], {"Node": 1}, {"Node": "a b"}, {"Node": "a\n"}, {"Node": []}, {"Takes": False},
        {"Takes": "{x}"},
        {"Index": -1}, {"Index": 1.0}, {"Index": "1"}, {"Index": True}, {"Index": MAX_PLACE + 1}, {"Index": HUGE},
    ],
    ids=[f"case{number}" for number in range(16)],
)  # fmt: skip
def test_anything_else_is_no_position(bad):
    with pytest.raises(InvalidSignature):
        Position.from_plain(bad)
