"""The Lua scripts: read from lua/, put together, run by their hash."""

from __future__ import annotations

import functools
import hashlib
import pkgutil
import re
from typing import Final

_HEADER: Final = re.compile(r"^-- (include|flags): *(.*)$", re.MULTILINE)


class Script:
    """One script as the server gets it. It is put together when it is first used: a process uses few of them.

    Args:
        name: its file, without the suffix.
        source: its whole text, where it is not that of the file.
    """

    def __init__(self, name: str, source: str | None = None) -> None:
        self.name = name
        self._source = source

    def __repr__(self) -> str:
        return f"<Script {self.name}>"

    @functools.cached_property
    def source(self) -> str:
        """Its whole text."""
        return _put_together(self.name) if self._source is None else self._source

    @functools.cached_property
    def sha(self) -> str:
        """Hash by which the server knows it once it has seen it."""
        # The server's name for a script, not a matter of security.
        return hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def guarded(self) -> Script:
        """The same for a cluster: it is given `guard` as a further key, and drops it."""
        first, _, rest = self.source.partition("\n")
        return Script(self.name, f"{first}\nKEYS[#KEYS] = nil\n{rest}")


def guard(key: str) -> str:
    """A key in the slot of `key` that never exists, since no id has such a name.

    While a slot moves, a cluster looks only at the keys that a script was given: with a single one that is not there it
    would run the script at the new node, on a part of the keys, and again at the old one on the others. With a further
    one that is never there it has both nodes refuse all scripts of the slot (TRYAGAIN) until it has moved.
    """
    return f"{key}:*"


@functools.cache
def _texts() -> dict[str, str]:
    """All scripts and what they include. All at once: the package may be replaced under a process that runs."""
    names, texts = [script.name for script in ALL], dict[str, str]()
    while names:
        name = names.pop()
        if name not in texts:
            texts[name] = _read(name)
            names += _header(texts[name]).get("include", "").split()
    return texts


def _header(text: str) -> dict[str, str]:
    return dict(_HEADER.findall(text))


def _read(name: str) -> str:
    # importlib.resources loads much more than this. With Windows' line ends a script would have another hash.
    text = pkgutil.get_data(__package__, f"lua/{name}.lua")
    assert text is not None  # its files lie beside this module, wherever that is
    return text.decode().replace("\r\n", "\n")


@functools.cache
def _without_comments(text: str) -> str:
    """Lines that only say something to people are not sent."""
    return "".join([line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("--")])


def _put_together(name: str) -> str:
    """The flags that a script's header names, the files that it includes, itself."""
    text = _texts()[name]
    header = _header(text)
    flags = header.get("flags", "").replace(" ", ",")
    first = f"#!lua flags={flags}\n" if flags else "#!lua\n"
    parts = [_texts()[part] for part in header.get("include", "").split()]
    return first + "".join(map(_without_comments, (*parts, text)))


ACCEPT: Final = Script("accept")
NOTE_WORKER: Final = Script("note_worker")
CANCEL: Final = Script("cancel")
CANCEL_CODE: Final = Script("cancel_code")
COUNTS: Final = Script("counts")
DROP_DEAD: Final = Script("drop_dead")
ENQUEUE: Final = Script("enqueue")
EXTEND: Final = Script("extend")
FORFEIT: Final = Script("forfeit")
FORGET_STATES: Final = Script("forget_states")
LEASE: Final = Script("lease")
LOCATE: Final = Script("locate")
LOCK_ACQUIRE: Final = Script("lock_acquire")
LOCK_RENEW: Final = Script("lock_renew")
OUTBOX_DROP: Final = Script("outbox_drop")
OUTBOX_READ: Final = Script("outbox_read")
PAGE: Final = Script("page")
PLAN_COMMIT: Final = Script("plan_commit")
PLAN_READ: Final = Script("plan_read")
PLAN_RELEASE: Final = Script("plan_release")
PLAN_REPORT: Final = Script("plan_report")
PLAN_STORE: Final = Script("plan_store")
PURGE: Final = Script("purge")
PUT_STATES: Final = Script("put_states")
RELEASE: Final = Script("release")
RIGHTS: Final = Script("rights")
RING: Final = Script("ring")
SCHEDULE_DUE: Final = Script("schedule_due")
SCHEDULE_FIRE: Final = Script("schedule_fire")
SCHEDULE_GET: Final = Script("schedule_get")
SCHEDULE_LIST: Final = Script("schedule_list")
SCHEDULE_PAUSE: Final = Script("schedule_pause")
SCHEDULE_PUT: Final = Script("schedule_put")
SCHEDULE_REMOVE: Final = Script("schedule_remove")
SETTLE: Final = Script("settle")
STAGE: Final = Script("stage")
STAGED: Final = Script("staged")
UNRELEASED: Final = Script("unreleased")
UNSTAGE: Final = Script("unstage")
WORKERS: Final = Script("workers")

ALL: Final = tuple([script for script in tuple(globals().values()) if isinstance(script, Script)])


@functools.cache
def guarded(script: Script) -> Script:
    """The script as it is run in a cluster."""
    return script.guarded()


#: What any script may run on keys, beside TIME and PUBLISH. Written down, so that not all are read to find it out.
COMMANDS: Final[tuple[str, ...]] = (
    *("BITCOUNT", "DEL", "EXISTS", "GET", "GETBIT", "GETRANGE", "HDEL", "HEXISTS", "HGET", "HINCRBY", "HLEN"),
    *("HMGET", "HSET", "HSETNX", "INCR", "LINDEX", "LLEN", "LPOP", "LPUSH", "LRANGE", "LREM", "LTRIM", "PEXPIREAT"),
    *("RPUSH", "SADD", "SET", "SETBIT", "SETRANGE", "SISMEMBER", "SMEMBERS", "SMISMEMBER", "SRANDMEMBER", "SREM"),
    *("SSCAN", "TYPE", "UNLINK", "ZADD", "ZCARD", "ZPOPMIN", "ZRANGE", "ZREM", "ZREMRANGEBYRANK", "ZSCORE"),
)
