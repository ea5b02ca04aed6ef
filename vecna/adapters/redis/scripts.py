"""The Lua scripts: read from lua/, put together, run by their hash."""

from __future__ import annotations

import functools
import hashlib
import re
from importlib import resources
from typing import Final

import attrs

_HEADER: Final = re.compile(r"^-- (include|flags): *(.*)$", re.MULTILINE)
_COMMAND: Final = re.compile(r"\b(?:call|push|push_head)\('([A-Z]+)'")


@attrs.frozen
class Script:
    """One script as the server gets it.

    Attributes:
        name: its file, without the suffix.
        source: its whole text.
        sha: hash by which the server knows it once it has seen it.
    """

    name: str
    source: str = attrs.field(repr=False)
    sha: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # The server's name for a script, not a matter of security.
        object.__setattr__(self, "sha", hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest())

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


@functools.cache  # some are part of nearly all
def _read(name: str) -> str:
    return resources.files(__package__).joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


@functools.cache
def _without_comments(text: str) -> str:
    """Lines that only say something to people are not sent."""
    return "".join([line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("--")])


def load(name: str) -> Script:
    """Put a script together: the flags that its header names, the files that it includes, itself."""
    text = _read(name)
    header = dict(_HEADER.findall(text))
    flags = header.get("flags", "").replace(" ", ",")
    first = f"#!lua flags={flags}\n" if flags else "#!lua\n"
    parts = [_read(part) for part in header.get("include", "").split()]
    return Script(name, first + "".join(map(_without_comments, (*parts, text))))


ACCEPT: Final = load("accept")
NOTE_WORKER: Final = load("note_worker")
CANCEL: Final = load("cancel")
CANCEL_CODE: Final = load("cancel_code")
COUNTS: Final = load("counts")
DROP_DEAD: Final = load("drop_dead")
ENQUEUE: Final = load("enqueue")
EXTEND: Final = load("extend")
FORFEIT: Final = load("forfeit")
FORGET_STATES: Final = load("forget_states")
LEASE: Final = load("lease")
LOCATE: Final = load("locate")
LOCK_ACQUIRE: Final = load("lock_acquire")
LOCK_RENEW: Final = load("lock_renew")
OUTBOX_DROP: Final = load("outbox_drop")
OUTBOX_READ: Final = load("outbox_read")
PAGE: Final = load("page")
PLAN_COMMIT: Final = load("plan_commit")
PLAN_READ: Final = load("plan_read")
PLAN_RELEASE: Final = load("plan_release")
PLAN_REPORT: Final = load("plan_report")
PLAN_STORE: Final = load("plan_store")
PURGE: Final = load("purge")
PUT_STATES: Final = load("put_states")
RELEASE: Final = load("release")
RIGHTS: Final = load("rights")
RING: Final = load("ring")
SCHEDULE_DUE: Final = load("schedule_due")
SCHEDULE_FIRE: Final = load("schedule_fire")
SCHEDULE_GET: Final = load("schedule_get")
SCHEDULE_LIST: Final = load("schedule_list")
SCHEDULE_PAUSE: Final = load("schedule_pause")
SCHEDULE_PUT: Final = load("schedule_put")
SCHEDULE_REMOVE: Final = load("schedule_remove")
SETTLE: Final = load("settle")
STAGE: Final = load("stage")
STAGED: Final = load("staged")
UNRELEASED: Final = load("unreleased")
UNSTAGE: Final = load("unstage")
WORKERS: Final = load("workers")

ALL: Final = tuple([script for script in tuple(globals().values()) if isinstance(script, Script)])


@functools.cache
def guarded(script: Script) -> Script:
    """The script as it is run in a cluster."""
    return script.guarded()


def commands() -> list[str]:
    """What any script may run on keys, beside TIME and PUBLISH."""
    found = {command for script in ALL for command in _COMMAND.findall(script.source)}
    return sorted(found - {"TIME", "PUBLISH"})
