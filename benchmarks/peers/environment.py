"""An environment a peer, made when it is first needed, in .bench/ of the checkout (BENCH_CACHE names another place)."""

import os
import shutil
import subprocess
import sys
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
    python = _python(peer) if peer.requirements else sys.executable
    return [python, "-m", "benchmarks.peers.drivers", peer.driver]


def _cache() -> Path:
    return Path(os.environ.get("BENCH_CACHE") or ROOT / ".bench")


def _python(peer: Peer) -> str:
    folder = _cache() / peer.driver  # two peers may share a driver
    python = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    wanted = "\n".join((f"python {sys.version_info.major}.{sys.version_info.minor}", *peer.requirements))
    if stamp.exists() and stamp.read_text() == wanted:
        return str(python)
    shutil.rmtree(folder, ignore_errors=True)
    _install(peer, [sys.executable, "-m", "venv", "--without-pip", str(folder)])
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "--quiet"]
    _install(peer, [*pip, *peer.requirements])
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
