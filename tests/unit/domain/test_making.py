"""Values that are made the fast way are as good as those of the constructor."""

import attrs
import pytest

from vecna.domain.making import maker
from vecna.ports.values import SettleAs, Settlement


def test_what_is_made_is_equal_hashed_alike_and_frozen():
    made = maker(Settlement)("u", "1:w:1", SettleAs.DONE, reason="why")
    same = Settlement("u", "1:w:1", SettleAs.DONE, reason="why")

    assert type(made) is Settlement
    assert made == same
    assert hash(made) == hash(same)
    assert attrs.evolve(made, token="2:w:1") == attrs.evolve(same, token="2:w:1")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.token = "2:w:1"  # type: ignore[misc]  # that is what is shown
