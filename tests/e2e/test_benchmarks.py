"""`make bench`, on a scale that measures nothing: it runs, says what it promises, and leaves nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.servers import RedisServer

ROOT = Path(__file__).parents[2]


def bench(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "--scale", "0.01", *args],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_the_benchmark_measures_both_adapters_and_cleans_up(redis_server: RedisServer, tmp_path: Path) -> None:
    done = bench("--json", str(tmp_path / "figures.json"), BENCH_REDIS=redis_server.url)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    report = json.loads((tmp_path / "figures.json").read_text())
    figures = {(figure["adapter"], figure["name"]): figure for figure in report["figures"]}
    assert len(figures) == 16
    assert all(figure["value"] > 0 for figure in figures.values())
    compared = {key: figure for key, figure in figures.items() if figure["unit"] != "times"}
    assert len(compared) == 14
    assert all((figure["ratio"] is None) == (adapter == "memory") for (adapter, _), figure in compared.items())
    assert report["machine"]["server"].startswith("redis 8")
    assert "redis: drain, coroutines" in done.stdout
    with redis_server.client() as client:
        assert not client.keys("*vecna-bench*")


def test_a_server_that_does_not_answer_is_said_in_one_line() -> None:
    done = bench("--only", "redis", BENCH_REDIS="redis://:hush-hush@127.0.0.1:1/0")
    assert done.returncode == 1
    assert done.stderr.startswith("BENCH_REDIS cannot be used: ")
    assert done.stderr.count("\n") == 1
    assert "hush-hush" not in done.stderr


def test_the_ways_of_coroutines_are_measured_beside_each_other(redis_server: RedisServer) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.coroutines", "--scale", "0.01"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "BENCH_REDIS": redis_server.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert [line.split(",")[0] for line in done.stdout.splitlines()] == ["send", *["100 coroutines"] * 3]
    with redis_server.client() as client:
        assert not client.keys("*vecna-bench*")
