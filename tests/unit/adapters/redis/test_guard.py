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
    assert len(scripts.ALL) == len({each.name for each in scripts.ALL}) > 30
    for script in scripts.ALL:
        first, drop, *rest = scripts.guarded(script).source.split("\n")
        assert drop == "KEYS[#KEYS] = nil"
        assert script.source == "\n".join([first, *rest])
