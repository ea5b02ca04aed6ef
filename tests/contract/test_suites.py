"""The suites themselves: every law is run, and says what it is."""

import subprocess
import sys

import pytest

from vecna.testing import BackendContract, BrokerContract, ClockContract, LockContract

SUITES = [BrokerContract, BackendContract, LockContract, ClockContract]


def laws(suite):
    return {
        (name, holder): value
        for holder in suite.__mro__
        for name, value in vars(holder).items()
        if name.startswith("test_")
    }


@pytest.mark.parametrize("suite", SUITES)
def test_no_law_hides_another(suite):
    """Two of one name in the classes of a suite would be one test."""
    found = [name for name, _ in laws(suite)]

    assert len(found) > 5
    assert sorted(set(found)) == sorted(found)


@pytest.mark.parametrize("suite", SUITES)
def test_every_law_says_what_it_is_and_why(suite):
    assert [name for (name, _), law in laws(suite).items() if len(law.__doc__ or "") < 15] == []


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_is_bound_before_it_is_run(suite):
    """Its name keeps pytest from collecting it where it is imported; unbound it says what to do."""
    assert not suite.__name__.startswith("Test")
    with pytest.raises(NotImplementedError, match="bound"):
        suite().make(*([None] if suite is not ClockContract else []))


def test_vecna_does_not_need_pytest():
    """Only who tests with the suites has to have it."""
    code = "import sys, vecna, vecna.adapters.memory, vecna.adapters.clock; sys.exit('pytest' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_broken_law_shows_what_was_compared(tmp_path):
    """The asserts of the suites are rewritten for whoever imports `vecna.testing`."""
    code = (
        "import pytest, pathlib, sys\n"
        "test = pathlib.Path(sys.argv[1]) / 'test_broken.py'\n"
        "test.write_text('''\n"
        "from vecna.testing import ClockContract\n"
        "from vecna.adapters.clock import ManualClock\n"
        "import datetime as dt\n"
        "class Broken(ManualClock):\n"
        "    def now(self): return super().now().replace(tzinfo=dt.timezone(dt.timedelta(hours=1)))\n"
        "class TestBroken(ClockContract):\n"
        "    def make(self): return Broken()\n"
        "''')\n"
        "sys.exit(pytest.main(['-p', 'no:cacheprovider', '-q', '-k', 'utc', str(test)]))\n"
    )

    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, capture_output=True, text=True)

    assert result.returncode == 1, result.stderr
    assert "datetime.timedelta(seconds=3600) == datetime.timedelta(0)" in result.stdout
    assert "Broken law: now is an instant in utc. A naive one would be read in the zone of whoever" in result.stdout
