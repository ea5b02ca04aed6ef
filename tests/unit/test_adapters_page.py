"""docs/adapters.md: its examples run, and its table has every method of every port, and every suite."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from vecna import ports
from vecna.testing import BackendContract, BrokerContract, ClockContract, LockContract

PAGE = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text()


def table() -> dict[tuple[str, str], str]:
    rows: dict[tuple[str, str], str] = {}
    port = ""
    for line in PAGE.splitlines():
        if match := re.fullmatch(r"\| (?:`(\w+)`)? ?\| `(\w+)` \| .+ \| (.+) \|", line):
            port = match[1] or port
            rows[port, match[2]] = match[3]
    return rows


def own_methods() -> set[tuple[str, str]]:
    """Each abstract method under the role that declares it."""
    classes = [value for value in vars(ports).values() if isinstance(value, type)]
    return {
        (role.__name__, name)
        for role in classes
        for name in getattr(role, "__abstractmethods__", ())
        if name in vars(role)
    }


def test_every_method_of_every_port_has_its_law() -> None:
    assert len(own_methods()) > 50
    assert set(table()) == own_methods()


def test_every_class_of_laws_is_named_and_every_name_is_one() -> None:
    suites = (BrokerContract, BackendContract, LockContract, ClockContract)
    holders = {
        holder.__name__
        for suite in suites
        for holder in suite.__mro__
        if any(name.startswith("test_") for name in vars(holder))
    }
    named = {name for cell in table().values() for name in re.findall(r"`(\w+)`", cell)}

    assert named == holders


@pytest.mark.slow
def test_the_adapter_of_the_page_keeps_the_laws(tmp_path: Path) -> None:
    """Its files, as they stand there, in a folder of their own."""
    for language, name, text in re.findall(r"```(\w+)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        assert language in {"python", "toml"}
        (tmp_path / name).write_text(text)
    use = tmp_path / "use.py"
    use.write_text(
        "import datetime as dt, vecna, my_adapter\n"
        "server = vecna.Server('memory://')\n"
        "adapters = my_adapter.connect('mystore://here', server.config, server.clock)\n"
        "grant = adapters.lock.acquire('a', 'me', dt.timedelta(seconds=9))\n"
        "assert adapters.broker.queues() == [] and adapters.lock.acquire('a', 'you', dt.timedelta(1)) is None\n"
    )

    for command in (["-m", "pytest", "-q", "-p", "no:cacheprovider", "."], ["use.py"]):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "skipped" not in done.stdout
