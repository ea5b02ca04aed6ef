"""The password that is looked for everywhere would be found."""

import logging
import subprocess
import sys

import pytest

from tests.canary import PASSWORD, Watch, watch
from vecna import BrokerUnavailable, Config, Server


def test_it_is_found_wherever_it_is_put_out():
    own = Watch()
    own.look(f"AUTH {PASSWORD}", "a text")
    own.look(PASSWORD.encode(), "bytes")
    record = logging.LogRecord("vecna", logging.INFO, "x.py", 1, "connected", None, None)
    record.url = f"redis://:{PASSWORD}@host"
    own.emit(record)

    found = own.found()

    assert [each.partition(":")[0] for each in found] == ["a text", "bytes", "log line of vecna"]
    assert not any(PASSWORD in each for each in found)
    assert own.found() == []


def test_processes_errors_and_log_lines_are_looked_through():
    subprocess.run([sys.executable, "-c", f"print('{PASSWORD}')"], check=True, capture_output=True)
    BrokerUnavailable(f"no answer of redis://:{PASSWORD}@host", ())

    assert len(watch.found()) == 2
    assert watch in logging.getLogger().handlers


@pytest.mark.parametrize("shown", [repr, str])
def test_what_stands_in_settings_is_not_put_out(shown):
    url = f"redis://tests:{PASSWORD}@127.0.0.1:1/0"
    for thing in (Config(broker=url), Server(url), Server(url).config):
        watch.look(shown(thing), type(thing).__name__)
