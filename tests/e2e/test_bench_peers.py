"""`make bench-peers`, on sizes that measure nothing and without peers from the network."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import targets
from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.figures import CEILING, Figures

ROOT = Path(__file__).parents[2]
PAGE = "# Performance\n\n<!-- measured: begin -->\nold\n<!-- measured: end -->\n\nThe end.\n"


def bench_peers(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.peers", *args],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_vecna_is_measured_beside_the_bare_loop_and_a_peer_that_cannot_be_installed_is_skipped(tmp_path: Path) -> None:
    raw = tmp_path / "raw.json"
    sizes = ("--quick", "--scale", "0.01", "--json", str(raw))
    cut_off = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "BENCH_CACHE": str(tmp_path / "cache")}
    done = bench_peers(*sizes, "--peers", "vecna,huey", "--scenarios", "core,latency,cancel,import", **cut_off)
    assert done.returncode == 0, done.stderr
    report = json.loads(raw.read_text())
    assert list(report["skipped"]) == ["huey"]
    assert "huey is skipped, it cannot be installed: " in done.stderr
    measured = {(figure["peer"], figure["metric"]): figure["value"] for figure in report["figures"]}
    assert {metric for peer, metric in measured if peer == "vecna"} >= {
        "send",
        "bulk",
        "drain",
        "memory",
        "latency-p99",
    }
    assert all(value > 0 for (_, metric), value in measured.items() if metric != "cpu")
    assert "| drain, as a share of the bare loop | ≥ 0.6 × | " in done.stdout

    page = tmp_path / "performance.md"
    page.write_text(PAGE)
    again = bench_peers("--report", str(raw), "--docs", str(tmp_path))
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == done.stdout
    written = page.read_text()
    assert written.startswith("# Performance\n\n<!-- measured: begin -->\n\nMeasured ")
    assert written.endswith(
        "![bulk](performance/bulk.svg)\n![latency](performance/latency.svg)\n\n<!-- measured: end -->\n\nThe end.\n"
    )
    assert (tmp_path / "performance" / "drain.svg").read_text().startswith("<svg")


def run_of(*figures: tuple[str, str, str, int, float]) -> Figures:
    """A run's file with those figures: peer, setting, metric, round, value."""
    names = ("peer", "setting", "metric", "round", "value")
    rows: list[dict[str, Any]] = [
        {**dict(zip(names, figure, strict=True)), "unit": "/s", "note": ""} for figure in figures
    ]
    return Figures({"figures": rows, "guarantees": {peer.name: peer.settings for peer in PEERS}})


def test_ratios_are_taken_within_a_round_and_peers_by_their_guarantee() -> None:
    figures = run_of(
        ("vecna", "safe", "drain", 1, 1000.0),
        ("vecna", "safe", "drain", 2, 3000.0),  # the machine was faster
        ("vecna", "safe", "drain", 3, 2000.0),
        (CEILING, "", "drain", 1, 2000.0),
        (CEILING, "", "drain", 2, 6000.0),
        (CEILING, "", "drain", 3, 1000.0),
        ("huey", "fast", "drain", 1, 5000.0),  # at most once
        ("dramatiq", "fast", "drain", 1, 100.0),
        ("dramatiq", "safe", "drain", 1, 40.0),
        ("bullmq", "fast", "drain", 1, 900.0),  # no Python
    )
    verdicts = {what: (measured, verdict) for what, _, measured, verdict in targets.lines(figures)}
    assert verdicts["drain, as a share of the bare loop"] == ("0.5 ×", "missed by 17%")
    assert verdicts["drain, to the best at-least-once Python peer"] == ("10 ×", "met")
    assert verdicts["drain, to BullMQ"] == ("1.11 ×", "missed by 63%")
    assert verdicts["drain, to Celery"] == ("", "not measured")


def test_every_peer_is_pinned_and_has_its_driver() -> None:
    folder = ROOT / "benchmarks" / "peers"
    for peer in PEERS:
        assert all("==" in package for package in peer.requirements)
        if not peer.node:
            assert (folder / "drivers" / f"{peer.driver}.py").exists()
            continue
        assert (folder / peer.driver / "driver.mjs").exists()
        packages = json.loads((folder / peer.driver / "package.json").read_text())["dependencies"]
        assert [f"{name}=={version}" for name, version in packages.items()] == list(peer.requirements)
