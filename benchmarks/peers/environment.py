"""An environment a peer, made when it is first needed, in .bench/ of the checkout (BENCH_CACHE names another place)."""

import compileall
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.catalogue import Peer

ROOT = Path(__file__).parents[2]
NODE_MAJOR = 18  # what BullMQ asks for
INSTALLING = 600.0  # seconds


class NotInstalled(Exception):
    """A peer cannot be measured here; the message says why."""


def command(peer: Peer) -> list[str]:
    """How its driver is started, after making its environment if need be.

    Raises:
        NotInstalled: no network, no Node, no such version.
    """
    if peer.node:
        return [_node(), str(ROOT / "benchmarks" / "peers" / peer.driver / "driver.mjs"), str(_npm(peer))]
    python = _ours(peer) if peer.is_ours else _python(peer, peer.requirements)
    return [python, "-m", "benchmarks.peers.drivers", peer.driver]


def _cache() -> Path:
    return Path(os.environ.get("BENCH_CACHE") or ROOT / ".bench")


def _ours(peer: Peer) -> str:
    """What the peers have: nothing but what it asks for, in the versions that are here, and its bytecode.

    With the tests' packages a start takes 10 to 20 % more: redis-py loads opentelemetry's SDK where there is one. And
    where Python is told to write no bytecode, what pip has installed has it, a checkout not.
    """
    compileall.compile_dir(ROOT / "vecna", quiet=1)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[^\w-]", asked, maxsplit=1)[0] for asked in project["dependencies"]]
    try:
        return _python(peer, [f"{name}=={version(name)}" for name in names])
    except NotInstalled as reason:
        print(f"  {peer.name} is measured with the packages of its tests: {reason}", file=sys.stderr, flush=True)
        return sys.executable


def _python(peer: Peer, requirements: Sequence[str]) -> str:
    folder = _cache() / peer.driver  # two peers may share a driver
    python = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    wanted = "\n".join((f"python {sys.version_info.major}.{sys.version_info.minor}", *requirements))
    if stamp.exists() and stamp.read_text() == wanted:
        return str(python)
    shutil.rmtree(folder, ignore_errors=True)
    _install(peer, [sys.executable, "-m", "venv", "--without-pip", str(folder)])
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "--quiet"]
    _install(peer, [*pip, *requirements])
    stamp.write_text(wanted)
    return str(python)


def _npm(peer: Peer) -> Path:
    """The folder that holds its node_modules."""
    npm = shutil.which("npm")
    if not npm:
        raise NotInstalled("npm was not found")
    package = (ROOT / "benchmarks" / "peers" / peer.driver / "package.json").read_text()
    folder = _cache() / peer.name
    stamp = folder / "installed.txt"
    if not (stamp.exists() and stamp.read_text() == package):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text(package)
        _install(peer, [npm, "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(folder)])
        stamp.write_text(package)
    return folder


def _node() -> str:
    node = shutil.which("node")
    if not node:
        raise NotInstalled("node was not found")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    if int(version.strip().lstrip("v").split(".")[0]) < NODE_MAJOR:
        raise NotInstalled(f"node {version.strip()} is older than {NODE_MAJOR}")
    return node


def _install(peer: Peer, step: list[str]) -> None:
    print(f"  making the environment of {peer.name}", file=sys.stderr, flush=True)
    try:
        subprocess.run(step, check=True, timeout=INSTALLING, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except subprocess.CalledProcessError as failed:
        lines = (failed.stderr or failed.stdout).strip().splitlines()
        raise NotInstalled(lines[-1] if lines else f"exit code {failed.returncode}") from None
    except (OSError, subprocess.TimeoutExpired) as failed:
        raise NotInstalled(str(failed)) from None
