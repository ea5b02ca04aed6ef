"""The servers that other tests stand on."""

import os
import select
import shutil
import signal
import subprocess
import sys

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.conftest import SERVERS
from tests.servers import RedisServer, ServerError, redis8_binary

pytestmark = pytest.mark.slow  # left out by `make unit`

ONCE = Retry(NoBackoff(), 0)


def test_each_kind_of_server_answers_and_is_recent_enough(any_redis: RedisServer) -> None:
    with any_redis.client() as client:
        assert client.ping()
        assert int(str(client.info("server")["redis_version"]).split(".")[0]) >= 7


@pytest.mark.parametrize("name", SERVERS)
def test_what_was_persisted_survives_a_kill_on_the_same_port(name: str) -> None:
    with RedisServer(SERVERS[name], "--appendonly", "yes", "--appendfsync", "always") as server:
        with server.client() as client:
            client.set("a", "1")
        port, pid = server.port, server.pid
        server.kill()
        assert not server.is_running

        server.restart()

        assert server.port == port
        assert server.pid != pid
        with server.client() as client:
            assert client.get("a") == b"1"
    assert not server.is_running
    assert not server.directory.exists()


def test_without_persistence_a_restart_is_empty() -> None:
    with RedisServer(redis8_binary()) as server:
        with server.client() as client:
            client.set("a", "1")
        with server.restart().client() as client:
            assert client.get("a") is None


def test_a_password_is_required_and_part_of_the_url() -> None:
    with RedisServer(redis8_binary(), password="s:e/c@ret") as server:
        with server.client(password=None, retry=ONCE) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        assert "s:e" not in repr(server)


def test_a_unix_socket_takes_the_place_of_the_port() -> None:
    with RedisServer(redis8_binary(), unix_socket=True) as server:
        assert server.url == f"redis+socket://{server.socket_path}"
        with server.client() as client:
            assert client.ping()


def test_a_paused_server_is_silent_and_goes_on_when_resumed() -> None:
    with RedisServer(redis8_binary()) as server, server.client(socket_timeout=0.05, retry=ONCE) as client:
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()
        with server.client() as patient:
            assert patient.ping()


def test_a_server_that_cannot_start_says_why() -> None:
    server = RedisServer(redis8_binary(), "--no-such-option", "1")
    with pytest.raises(ServerError, match="no-such-option"):
        server.start()
    server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_killed_test_run_leaves_no_server_behind() -> None:
    program = (
        "import sys\n"
        "from tests.servers import RedisServer, redis8_binary\n"
        "server = RedisServer(redis8_binary()).start()\n"
        "print(server.pid, server.directory, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        pid, directory = run.stdout.readline().split()
        watched = os.pidfd_open(int(pid))
        try:
            run.send_signal(signal.SIGKILL)
            run.wait(10)
            # A pidfd becomes readable when its process has ended.
            assert select.select([watched], [], [], 10)[0]
        finally:
            os.close(watched)
            shutil.rmtree(directory)
