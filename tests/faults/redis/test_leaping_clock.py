"""The clock of a real server leaps, forward and back, in the middle of work: nothing is lost, nothing runs twice."""

import importlib.util
from pathlib import Path

import pytest

from tests.faults.redis.load import Load
from tests.servers import RedisServer, redis8_binary, valkey9_binary

_FOUND = importlib.util.find_spec("libfaketime")

pytestmark = pytest.mark.skipif(_FOUND is None, reason="libfaketime comes for Linux on x86_64")


class LeapingClock:
    """The clock of a server, some seconds off."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.set(0)

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the server."""
        assert _FOUND is not None
        assert _FOUND.origin is not None
        (library,) = Path(_FOUND.origin).parent.rglob("libfaketime.so.1")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: int) -> None:
        """In one step: it reads the file at any time."""
        following = self._file.with_suffix(".new")
        following.write_text(f"{seconds:+d}")
        following.replace(self._file)


@pytest.mark.parametrize(
    "binary", [redis8_binary, pytest.param(valkey9_binary, marks=pytest.mark.long)], ids=["redis8", "valkey9"]
)
def test_work_goes_on_over_leaps_of_ten_minutes(tmp_path, namespace, binary):
    clock = LeapingClock(tmp_path)
    with RedisServer(binary(), environment=clock.environment) as server, server.client() as client:
        before = client.time()[0]
        with Load(server.url, namespace) as load:
            for seconds in (600, -600, 0):
                load.until_more(30)
                clock.set(seconds)
                if seconds > 0:
                    assert client.time()[0] >= before + seconds
            load.until_more(30)
            load.finish()
