"""Clusters and Sentinels of real servers, for tests."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Self

from tests.canary import LOGIN
from tests.servers import RedisServer

SLOTS = 16_384
PATIENCE = 20.0  # seconds; only what is broken takes so long


def eventually(check: Callable[[], object], what: str) -> None:
    """Wait until `check` holds: for what tells nobody when it happens, inside a server."""
    never = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if check():
            return
        never.wait(0.02)
    raise AssertionError(f"{what} has not happened within {PATIENCE:g} s")


class RedisCluster:
    """A cluster of real servers without replicas, whose slots are shared out evenly."""

    def __init__(self, binary: Path, nodes: int = 2) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
        self.nodes = [RedisServer(binary, *options) for _ in range(nodes)]

    def __enter__(self) -> Self:
        for node in self.nodes:
            node.start()
        share = SLOTS // len(self.nodes)
        for number, node in enumerate(self.nodes):
            last = SLOTS - 1 if node is self.nodes[-1] else (number + 1) * share - 1
            with node.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", number * share, last)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        for node in self.nodes:
            eventually(partial(self._is_ready, node), "the cluster's start")
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.stop()

    @property
    def url(self) -> str:
        """Its URL, as vecna takes it."""
        return f"redis://{LOGIN}{self.hosts}"

    @property
    def hosts(self) -> str:
        """Its nodes, as a URL names them."""
        return ",".join([f"127.0.0.1:{node.port}" for node in self.nodes])

    def _is_ready(self, node: RedisServer) -> bool:
        with node.client() as client:
            info = client.execute_command("CLUSTER", "INFO").decode().split()
            return {"cluster_state:ok", f"cluster_known_nodes:{len(self.nodes)}"}.issubset(info)

    def node_of(self, key: str) -> RedisServer:
        """The node that has this key."""
        with self.nodes[0].client() as client:
            slot = client.execute_command("CLUSTER", "KEYSLOT", key)
        return self.nodes[min(slot // (SLOTS // len(self.nodes)), len(self.nodes) - 1)]


class Replicated:
    """A master, a replica, and a Sentinel that makes the replica the master when the master is gone."""

    def __init__(self, binary: Path, name: str = "mymaster") -> None:
        self.name = name
        self._binary = binary
        self.master = RedisServer(binary, "--repl-diskless-sync-delay", "0")
        self.replica: RedisServer | None = None
        self.sentinel: RedisServer | None = None

    def __enter__(self) -> Self:
        self.master.start()
        self.replica = RedisServer(self._binary, "--replicaof", "127.0.0.1", str(self.master.port)).start()
        with self.replica.client() as client:
            eventually(lambda: client.info("replication")["master_link_status"] == "up", "the replica's start")
        self.sentinel = Sentinel(self._binary)
        self.sentinel.start()
        with self.sentinel.client() as client:
            client.execute_command("SENTINEL", "MONITOR", self.name, "127.0.0.1", self.master.port, 1)
            for option, value in (("down-after-milliseconds", 300), ("failover-timeout", 2000)):
                client.execute_command("SENTINEL", "SET", self.name, option, value)
            eventually(lambda: client.sentinel_master(self.name)["num-slaves"] == 1, "the Sentinel's start")
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self.sentinel, self.replica, self.master):
            if server is not None:
                server.stop()

    @property
    def url(self) -> str:
        """The Sentinel's URL, as vecna takes it."""
        assert self.sentinel is not None
        return f"redis://{LOGIN}127.0.0.1:{self.sentinel.port}"

    def fail_over(self) -> None:
        """Kill the master, and wait until the replica is the master, and the Sentinel says so."""
        assert self.replica is not None
        assert self.sentinel is not None
        self.master.kill()
        with self.replica.client() as client:
            eventually(lambda: client.info("replication")["role"] == "master", "the failover")
        with self.sentinel.client() as client:
            known = (self.replica.port, "master")
            eventually(
                lambda: (
                    (client.sentinel_master(self.name)["port"], client.sentinel_master(self.name)["flags"]) == known
                ),
                "the Sentinel's notice",
            )


class Sentinel(RedisServer):
    """A Sentinel process."""

    def _arguments(self) -> list[str]:
        # It wants a configuration that it can write to.
        configuration = self.directory / "sentinel.conf"
        configuration.write_text(f"port {self.port}\nbind 127.0.0.1\ndir {self.directory}\n")
        return [str(configuration), "--sentinel"]

    def _read_log(self, process, tell) -> None:
        for line in process.stdout:
            self._log.append(line.rstrip())
            if "Sentinel ID is" in line:  # what a Sentinel says when it is ready
                tell()
        process.wait()
        tell()
