"""Parts that adapters are built from. Take those that fit; none is needed by who implements the ports in another way.

`rules` are the decisions that every adapter makes in the same way. `checked` refuses what a port refuses. `Kept` is a
message as a broker keeps it. On a store that is a `DocumentStore`, the backend, the lock, the schedules and all waiting
are there already: `DocumentBackend`, `DocumentLock`, `DocumentSchedules`, `DocumentPresence`,
`PollingWaiter`.
"""

from vecna.kit import rules
from vecna.kit.backends import DocumentBackend
from vecna.kit.checks import checked
from vecna.kit.documents import LAST, Document, Documents, DocumentStore
from vecna.kit.kept import Kept
from vecna.kit.locks import DocumentLock
from vecna.kit.polling import PollingListener, PollingWaiter, ring, silence, tell
from vecna.kit.presence import DocumentPresence
from vecna.kit.schedules import DocumentSchedules

__all__ = [
    "LAST",
    "Document",
    "DocumentBackend",
    "DocumentLock",
    "DocumentPresence",
    "DocumentSchedules",
    "DocumentStore",
    "Documents",
    "Kept",
    "PollingListener",
    "PollingWaiter",
    "checked",
    "ring",
    "rules",
    "silence",
    "tell",
]
