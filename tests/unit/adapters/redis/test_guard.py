"""In a cluster every script is given a key that never exists, so that none runs while its slot moves."""

import pytest
from redis.crc import key_slot

from vecna.adapters.redis import keys, scripts
from vecna.domain.errors import InvalidArgument
from vecna.domain.ids import check_id


@pytest.mark.parametrize(
    "key",
    [keys.queue("v", "q"), keys.record("v", "id"), keys.node("v", "id"), keys.schedules("v"), *keys.lock("v", "l")],
)
def test_the_guard_lies_in_the_slot_and_is_no_key_of_ours(key):
    guard = scripts.guard(key)

    assert key_slot(guard.encode()) == key_slot(key.encode())
    with pytest.raises(InvalidArgument):
        check_id(guard.rpartition(":")[2], "id")


def test_every_script_drops_it_and_is_otherwise_the_same():
    assert set(scripts.GUARDED) == {each.name for each in vars(scripts).values() if isinstance(each, scripts.Script)}
    for name, guarded in scripts.GUARDED.items():
        first, drop, *rest = guarded.source.split("\n")
        assert drop == "KEYS[#KEYS] = nil"
        assert scripts.load(name).source == "\n".join([first, *rest])
