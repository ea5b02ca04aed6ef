"""Clusters and Sentinels of real servers, for tests."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

from redis import Redis

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

    def __init__(self, binary: Path, nodes: int = 2, *more: str) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", *more)
        self.nodes = [RedisServer(binary, *options) for _ in range(nodes)]
        self._moved: dict[int, RedisServer] = {}  # slots that are not where they were at first

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
        return self._node_of(self._slot(key))

    def _slot(self, key: str) -> int:
        with next(node for node in self.nodes if node.is_running).client() as client:
            slot: int = client.execute_command("CLUSTER", "KEYSLOT", key)
        return slot

    def _node_of(self, slot: int) -> RedisServer:
        at_first = self.nodes[min(slot // (SLOTS // len(self.nodes)), len(self.nodes) - 1)]
        return self._moved.get(slot, at_first)

    def a_queue_on_each(self, key_of: Callable[[str], str]) -> list[str]:
        """A name for each node, whose key lies there.

        Args:
            key_of: the key that a name leads to.
        """
        found: dict[int, str] = {}
        for number in range(1000):
            found.setdefault(self.nodes.index(self.node_of(key_of(f"q{number}"))), f"q{number}")
            if len(found) == len(self.nodes):
                break
        return [found[number] for number in sorted(found)]

    def move_slot(self, key: str) -> None:
        """Move the slot of a key to the next node, with all that is in it, while others use it."""
        slot = self._slot(key)
        source = self._node_of(slot)
        target = self.nodes[(self.nodes.index(source) + 1) % len(self.nodes)]
        with source.client() as here, target.client() as there:
            ids = [client.execute_command("CLUSTER", "MYID").decode() for client in (here, there)]
            there.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
            here.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
            while names := here.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
                here.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *names)
            for client in (there, here):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
        self._moved[slot] = target


class Replicated:
    """A master, a replica, and Sentinels that make the replica the master when the master is gone."""

    def __init__(self, binary: Path, name: str = "mymaster", sentinels: int = 1) -> None:
        self.name = name
        self._binary = binary
        self._count = sentinels
        self.master = RedisServer(binary, "--repl-diskless-sync-delay", "0")
        self.replica: RedisServer | None = None
        self.sentinels: list[RedisServer] = []

    def __enter__(self) -> Self:
        self.master.start()
        self.replica = RedisServer(self._binary, "--replicaof", "127.0.0.1", str(self.master.port)).start()
        with self.replica.client() as client:
            eventually(lambda: client.info("replication")["master_link_status"] == "up", "the replica's start")
        for _ in range(self._count):
            self.sentinels.append(Sentinel(self._binary).start())
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                quorum = self._count // 2 + 1
                client.execute_command("SENTINEL", "MONITOR", self.name, "127.0.0.1", self.master.port, quorum)
                for option, value in (("down-after-milliseconds", 300), ("failover-timeout", 2000)):
                    client.execute_command("SENTINEL", "SET", self.name, option, value)
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                eventually(partial(self._knows_all, client), "the Sentinels' start")
        return self

    def _knows_all(self, client: Redis) -> bool:
        known: Any = client.sentinel_master(self.name)
        told: tuple[int, int] = (known["num-slaves"], known["num-other-sentinels"])
        return told == (1, self._count - 1)

    def __exit__(self, *_: object) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            if server is not None:
                server.stop()

    @property
    def url(self) -> str:
        """The Sentinels' URL, as vecna takes it."""
        return f"redis://{LOGIN}" + ",".join([f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels])

    def catch_up(self, client: Redis) -> None:
        """Wait until the replica has all that the master had when this was called.

        Args:
            client: of the master.
        """
        before: Any = client.info("replication")
        offset = before["master_repl_offset"]

        def caught_up() -> bool:
            info: Any = client.info("replication")
            return info["slave0"]["offset"] >= offset

        eventually(caught_up, "the replica's catching up")

    def fail_over(self) -> None:
        """Kill the master, and wait until the replica is the master, and the Sentinel says so."""
        assert self.replica is not None
        self.master.kill()
        with self.replica.client() as client:
            eventually(lambda: client.info("replication")["role"] == "master", "the failover")
        with self.sentinels[0].client() as client:
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
