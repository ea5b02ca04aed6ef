"""A TCP proxy in front of a server, which loses replies, cuts and freezes connections; with TLS if asked."""

import contextlib
import select
import socket
import ssl
import threading
from typing import Self

from tests.canary import LOGIN


class Proxy:
    """Forwards bytes between clients and a server on this machine.

    Args:
        port: of the server.
        tls: for the side of the clients.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._server_port = port
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self._lose_after = b""
        self._frozen = threading.Event()
        self.lost = threading.Event()  # a reply was lost
        #: Seconds that every reply takes from now on.
        self.latency = 0.0
        self.late = threading.Event()  # a reply was held up
        self._closed = False
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self.thaw()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    @property
    def url(self) -> str:
        """Its URL, as vecna takes it."""
        return f"redis://{LOGIN}127.0.0.1:{self.port}"

    def lose_reply(self, request: bytes) -> None:
        """Deliver the next request with these bytes in it; swallow the reply, and cut the connection."""
        self.lost.clear()
        self._lose_after = request

    def cut(self) -> None:
        """Close all connections."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        """Let nothing through in either direction from now on; connections stay open."""
        self._frozen.set()

    def thaw(self) -> None:
        """Let bytes through again."""
        self._frozen.clear()

    def _start(self, target, *args) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(client.close)
            try:
                if self._tls is not None:
                    client = stack.enter_context(self._tls.wrap_socket(client, server_side=True))
                server = stack.enter_context(socket.create_connection(("127.0.0.1", self._server_port)))
            except OSError:
                return
            with self._lock:
                self._pairs.append((client, server))
            with contextlib.suppress(OSError):
                self._pump(client, server)

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        losing = False
        while not self._closed:
            pending = isinstance(client, ssl.SSLSocket) and client.pending()
            readable = [client] if pending else select.select([client, server], [], [], 0.02)[0]
            if self._frozen.is_set():
                threading.Event().wait(0.02)
                continue
            for end in readable:
                data = end.recv(65536)
                if not data:
                    return
                if end is client:
                    if self._lose_after and self._lose_after in data:
                        self._lose_after, losing = b"", True
                    server.sendall(data)
                elif losing:
                    self.lost.set()
                    return
                else:
                    if self.latency:
                        self.late.set()
                        threading.Event().wait(self.latency)
                    client.sendall(data)
