"""`make bench-peers`, on sizes that measure nothing and without peers from the network."""

import json
import os
import subprocess
import sys
from pathlib import Path

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
    sizes = ("--scale", "0.002", "--rounds", "1", "--settings", "safe", "--json", str(raw))
    cut_off = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "BENCH_CACHE": str(tmp_path / "cache")}
    done = bench_peers(*sizes, "--peers", "vecna,huey", "--scenarios", "core,latency", **cut_off)
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
    assert all(value > 0 for (_, metric), value in measured.items() if metric not in ("bytes", "cpu"))
    assert "| drain, as a share of the bare loop | ≥ 0.6 × | " in done.stdout

    page = tmp_path / "performance.md"
    page.write_text(PAGE)
    again = bench_peers("--report", str(raw), "--docs", str(tmp_path))
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == done.stdout
    written = page.read_text()
    assert written.startswith("# Performance\n\n<!-- measured: begin -->\n\nMeasured ")
    assert written.endswith(
        "![send](performance/send.svg)\n![latency](performance/latency.svg)\n\n<!-- measured: end -->\n\nThe end.\n"
    )
    assert (tmp_path / "performance" / "drain.svg").read_text().startswith("<svg")
