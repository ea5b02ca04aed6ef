"""URLs of Redis servers: which are understood, and how they are shown without their password."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

import attrs

from vecna.domain.errors import ConfigError

_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_FORMS: Final = (
    "redis://[[user:]password@]host[:port][/db], rediss://... (TLS), redis+socket://[password@]/path/to/file.sock[:/db],"
    " or several hosts, comma-separated (a cluster, or Sentinels with redis.master_name)"
)
_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<name>[^\[\]:/,\s]+))(?::(?P<port>[^:]*))?")
_SOCKET: Final = re.compile(r"(?P<path>/.+?)(?::/?(?P<db>[^/:]*))?")


@attrs.frozen
class RedisAddress:
    """Where to connect to, and as whom.

    Attributes:
        hosts: (host, port) of the server, of nodes of the cluster, or of the Sentinels. Empty for a Unix socket.
        path: of the Unix socket, "" for none.
        username: "" for the default user.
        password: "" for none.
        db: number of the database.
        tls: whether to encrypt, with the server's certificate and host name verified.
        master_name: what the Sentinels call the master; "" if the hosts are no Sentinels.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    username: str = attrs.field(default="", repr=False)
    password: str = attrs.field(default="", repr=False)
    db: int = 0
    tls: bool = False
    master_name: str = ""

    @property
    def is_cluster(self) -> bool:
        """Whether the hosts are nodes of a cluster."""
        return len(self.hosts) > 1 and not self.master_name

    def __str__(self) -> str:
        """The URL without user and password."""
        if self.path:
            return f"redis+socket://{self.path}"
        hosts = ",".join([f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts])
        return f"{'rediss' if self.tls else 'redis'}://{hosts}{f'/{self.db}' if self.db else ''}"


def parse_url(url: str, master_name: str = "") -> RedisAddress:
    """Understand the URL of a Redis server.

    Args:
        url: `redis://`, `rediss://` or `redis+socket://`; a user part without a colon is the password; user and
            password may be percent-encoded.
        master_name: if given, the hosts are Sentinels and this is what they call the master.

    Raises:
        ConfigError: it cannot be used; the message has no password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"redis", "rediss", "redis+socket"}:
        raise ConfigError(f"a Redis URL begins with redis://, rediss:// or redis+socket://: {_FORMS}")
    # The last @ ends the user part: a password may hold one that was not encoded.
    # So may the path of a socket, which begins with a slash.
    user_part, at, place = ("", "", rest) if rest.startswith("/") else rest.rpartition("@")
    username, password = _credentials(user_part, bool(at), f"{scheme}://{place}")
    shown = f"{scheme}://{'***@' if at else ''}{place}"
    if "?" in place or "#" in place:
        raise ConfigError(
            f"{shown}: a query is not understood; timeouts and the like are settings of redis=RedisConfig"
        )
    if scheme == "redis+socket":
        return _socket(place, shown, username, password, master_name)
    return _tcp(place, shown, username, password, scheme == "rediss", master_name)


def _credentials(user_part: str, present: bool, shown: str) -> tuple[str, str]:
    if not present:
        return "", ""
    name, colon, secret = user_part.partition(":")
    if not colon:
        name, secret = "", name
    if name and not secret:
        raise ConfigError(f"{shown}: a user without a password; write user:password@, or password@ alone")
    try:
        return unquote(name, errors="strict"), unquote(secret, errors="strict")
    except UnicodeDecodeError:
        raise ConfigError(f"{shown}: user or password is not percent-encoded UTF-8") from None


def _database(text: str | None, shown: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal()) or len(text) > 6:
        raise ConfigError(f"{shown}: {text!r} is not the number of a database; write e.g. /0")
    return int(text)


def _socket(place: str, shown: str, username: str, password: str, master_name: str) -> RedisAddress:
    if master_name:
        raise ConfigError(f"{shown}: Sentinels (redis.master_name is {master_name!r}) are named by hosts, not a socket")
    found = _SOCKET.fullmatch(place)
    if found is None or found["path"] == "/":
        raise ConfigError(f"{shown}: write redis+socket:///path/to/file.sock, for database 1 with :/1 at the end")
    return RedisAddress(
        path=unquote(found["path"]), username=username, password=password, db=_database(found["db"], shown)
    )


def _tcp(place: str, shown: str, username: str, password: str, tls: bool, master_name: str) -> RedisAddress:
    names, slash, database = place.partition("/")
    hosts = tuple([_host(name, shown, _SENTINEL_PORT if master_name else _PORT) for name in names.split(",")])
    db = _database(database, shown)
    if len(hosts) > 1 and not master_name and slash and database:
        raise ConfigError(
            f"{shown}: several hosts are a cluster, which has no databases; leave /{database} out, or set"
            " redis.master_name if they are Sentinels"
        )
    return RedisAddress(hosts, "", username, password, db, tls, master_name)


def _host(text: str, shown: str, default_port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None:
        what = "has no host" if not text else f"{text!r} is not host or host:port (IPv6 in brackets)"
        raise ConfigError(f"{shown}: {what}; the form is {_FORMS}")
    host = found["v6"] or found["name"]
    port = found["port"]
    if port is None:
        return host, default_port
    if not (port.isascii() and port.isdecimal()) or not 0 < int(port[:9]) < 65536:
        raise ConfigError(f"{shown}: {port!r} is not a port; use 1 to 65535")
    return host, int(port)
