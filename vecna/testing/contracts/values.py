"""What the laws are tried with."""

from __future__ import annotations

import datetime as dt
from typing import Final

NOTHING: Final = dt.timedelta(0)
MILLISECOND: Final = dt.timedelta(milliseconds=1)
SECOND: Final = dt.timedelta(seconds=1)
#: How long leases last in these tests.
LEASE: Final = dt.timedelta(seconds=30)
#: Longest real wait for what must happen (seconds). Only a broken adapter is waited for so long.
PATIENCE: Final = 20.0

#: Ids that no store may see: they would leave a key, split a hash tag, match a pattern, end a line.
HOSTILE: Final = (
    "",
    " ",
    "a b",
    "a\n",
    "a\r\nb",
    "a\x00b",
    "{a}",
    "a}b",
    "a*",
    "a?b",
    "-a",
    ".a",
    "é",
    "a\udc80",
    "a" * 201,
    'a"b',
)
#: Bytes that only a store of bytes keeps.
BODIES: Final = (
    b"",
    b"{}",
    b"\x00\xff\xfe\r\n",
    "ü€😀".encode(),
    bytes(range(256)) * 64,
)
