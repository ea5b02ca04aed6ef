"""The raw figures of a run, read back: medians over rounds, and ratios of what was measured in the same round."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.peers.catalogue import AT_LEAST_ONCE, BY_NAME

CEILING = "bare redis-py"
SETTINGS = ("fast", "safe")

Key = tuple[str, str, str]  # peer, setting, metric


class Figures:
    """A run's JSON, asked by peer, setting and metric.

    Args:
        report: what runner.py has written.
    """

    def __init__(self, report: Mapping[str, Any]) -> None:
        self.about = report
        self._values: dict[Key, dict[int, float]] = {}
        self.notes: dict[Key, str] = {}
        self.units: dict[str, str] = {}
        for one in report["figures"]:
            key = (one["peer"], one["setting"], one["metric"])
            if one["value"] is not None:
                self._values.setdefault(key, {})[one["round"]] = one["value"]
                self.units[one["metric"]] = one["unit"]
            if one["note"]:
                self.notes[key] = one["note"]

    def rows(self) -> list[tuple[str, str]]:
        """Peers and settings of which there is a figure, in the order of the run."""
        return list(dict.fromkeys((peer, setting) for peer, setting, _ in self._values if peer != CEILING))

    def metrics(self) -> list[str]:
        """All metrics of which there is a figure, in the order of the run."""
        return list(dict.fromkeys(metric for _, _, metric in self._values))

    def median(self, peer: str, setting: str, metric: str) -> float | None:
        """The median over the rounds; None where there is none."""
        values = self._values.get((peer, setting, metric))
        return statistics.median(values.values()) if values else None

    def note(self, peer: str, setting: str, metric: str) -> str:
        """Why there is no figure, or what to know of it; empty: nothing."""
        return self.notes.get((peer, setting, metric), "")

    def ratio(self, one: Key, other: Key) -> float | None:
        """How many times the other: the median over common rounds, else of the medians; None where one is missing."""
        ours, theirs = self._values.get(one), self._values.get(other)
        if not ours or not theirs:
            return None
        common = [ours[number] / theirs[number] for number in ours.keys() & theirs.keys() if theirs[number]]
        if common:
            return statistics.median(common)
        return statistics.median(ours.values()) / statistics.median(theirs.values())

    def best(self, metric: str, peers: Sequence[str], *, least: bool = False, only: str = "") -> Key | None:
        """Who has the highest median (`least`: the lowest) of these peers, in settings whose guarantee begins so."""
        found: list[tuple[float, Key]] = []
        for peer, setting in self._settings(peers, only):
            value = self.median(peer, setting, metric)
            if value is not None:
                found.append((value, (peer, setting, metric)))
        if not found:
            return None
        return (min if least else max)(found)[1]

    def python_at_least_once(self, metric: str) -> Key | None:
        """The fastest Python peer, other than vecna, that delivers at least once."""
        peers = [name for name, peer in BY_NAME.items() if peer.requirements and not peer.node]
        return self.best(metric, peers, only=AT_LEAST_ONCE)

    def _settings(self, peers: Sequence[str], only: str) -> Iterator[tuple[str, str]]:
        guarantees: Mapping[str, Mapping[str, str]] = self.about["guarantees"]
        for peer in peers:
            for setting, guarantee in guarantees.get(peer, {}).items():
                if guarantee.startswith(only):
                    yield peer, setting
