"""The worlds that histories are played in: what each is made of."""

from __future__ import annotations

from typing import Any

#: What happens to calls, by its number in `World.disturbed`.
PAUSE = 8  # before the call
LATER = 7  # it comes a second time
LOST = 4  # its reply
WORKFLOWS = ["chain", "chain_of_group", "chord_of_chain", "chord", "wide_chord", "callbacks"]
CROSSING = ["chain", "callbacks", "wide_chord", "chain_of_group", "chord_of_chain", "called_back_member"]
STAGED = ["wide_group", "wide_chord", "coded_chord"]
CODED = ["coded_chain", "coded_chain", "coded_chord", "chain", "chord", "callbacks", "single", "batch"]
TINY = ["single", "single", "single", "single", "delay", "pair", "led", "lone_chord", "group", "expires", "raw"]
LEADING = ["single", "callbacks", "chain", "chord", "called_back_member"]
#: What a history is made of, by the name of its world: how much is sent, of what, by whom, and for how many steps.
WORLDS: dict[str, dict[str, Any]] = {
    # One thing is sent as a rule, two workers, few steps: the fastest.
    "small": {"sends": (1, 2), "workers": 2, "steps": (6, 16), "cancels": 2},
    # One task, or a workflow of two.
    "tiny": {"sends": (1, 1), "workers": 1, "steps": (3, 9), "names": TINY, "cancels": 1},
    # More of everything.
    "wide": {"sends": (2, 5), "workers": 3, "steps": (16, 36), "cancels": 2},
    # Nothing goes wrong but the clock.
    "calm": {"sends": (1, 3), "workers": 2, "steps": (6, 14), "faults": 0},
    # One crash is too many.
    "frail": {"sends": (1, 2), "workers": 2, "steps": (6, 16), "max_deliveries": 1},
    # Tasks that kill whoever runs them.
    "poison": {"sends": (1, 2), "workers": 2, "steps": (6, 16), "poison": True},
    # Results expire soon.
    "short": {"sends": (1, 2), "workers": 2, "steps": (6, 16), "keep": 14.0, "names": WORKFLOWS},
    # Schedules are fired, and tampered with.
    "schedules": {"sends": (0, 1), "workers": 2, "steps": (12, 24), "periodic": True},
    # The same, mostly tampered with.
    "keepers": {"sends": (0, 0), "workers": 1, "steps": (10, 22), "periodic": True, "keepers": True, "faults": 5},
    # From queue to queue.
    "crossing": {"sends": (1, 1), "workers": 2, "steps": (8, 16), "names": CROSSING, "faults": 4},
    # Workflows that are sent in parts.
    "senders": {"sends": (1, 1), "workers": 1, "steps": (6, 14), "names": STAGED, "faults": 4},
    # Somebody cancels, always.
    "canceling": {
        "sends": (1, 1),
        "workers": 2,
        "steps": (8, 18),
        "names": CODED,
        "cancels": 2,
        "always": True,
        "faults": 4,
    },
    # Runs that end differently each time, and workers that lose their leases in the middle.
    "racing": {
        "sends": (1, 1),
        "workers": 2,
        "steps": (8, 16),
        "names": LEADING,
        "racing": True,
        "faults": 4,
        "retries": 0,
    },
    # The same, and who loses its lease records its end while another one has run.
    "contending": {
        "sends": (1, 1),
        "workers": 2,
        "steps": (10, 20),
        "names": LEADING,
        "racing": True,
        "halves": True,
        "strikes": {"put_states": PAUSE},
        "faults": 6,
        "retries": 0,
    },
    # A chain runs from queue to queue, while somebody walks through them to cancel it.
    "walking": {
        "sends": (1, 1),
        "workers": 1,
        "steps": (6, 10),
        "names": ["coded_long"],
        "cancels": 1,
        "always": True,
        "good": True,
        "by_code": True,
        "turns": True,
        "strikes": {"cancel_code": PAUSE},
        "only": "shared",
        "faults": 6,
    },
    # Workers are told to lease for longer, or not so long.
    "reloaded": {
        "sends": (1, 1),
        "workers": 2,
        "steps": (12, 24),
        "names": ["single"],
        "leases": (10.0, 20.0),
        "halves": True,
        "strikes": {"extend": LATER},
        "faults": 6,
    },
    # Callbacks that come with one lease are passed results, and the store goes away between two of them.
    "passing": {
        "sends": (1, 1),
        "workers": 1,
        "steps": (8, 16),
        "names": ["two_chords"],
        "good": True,
        "strikes": {"get_tasks": LOST},
        "faults": 6,
    },
    # A schedule is removed, registered anew and triggered, all at once.
    "triggers": {
        "sends": (0, 0),
        "workers": 1,
        "steps": (8, 16),
        "periodic": True,
        "triggers": True,
        "strikes": {"fire": PAUSE},
        "faults": 6,
    },
}
MIX = [
    "small",
    "small",
    "small",
    "small",
    "small",
    "small",
    "frail",
    "wide",
    "calm",
    "poison",
    "short",
    "schedules",
    "schedules",
    "keepers",
    "crossing",
    "senders",
    "canceling",
    "canceling",
    "racing",
]
#: Worlds in which everything is disturbed in the one place where two processes can get in each other's way.
AIMED = ["contending", "walking", "reloaded", "passing", "triggers"]
