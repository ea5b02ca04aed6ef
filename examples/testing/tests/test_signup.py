"""The suite of the sign-up application. It takes no Redis, no worker, and no time."""

import datetime as dt

import pytest

from examples.testing import outside, signup
from examples.testing.signup import Person, check, decide, welcome
from vecna import State
from vecna.testing import CrashPoint, Harness

ADA = Person("ada@example.org", "Ada")


def texts(address: str = ADA.address) -> list[str]:
    return [text for to, text in outside.mails if to == address]


def test_who_signs_up_is_welcomed(harness: Harness) -> None:
    signup.sign_up(ADA)
    harness.assert_sent("welcome", person=ADA, queue="mail")
    assert texts() == []  # nothing has run yet
    harness.run()
    assert texts() == ["Welcome, Ada!"]


def test_who_does_not_confirm_is_reminded_after_three_days(harness: Harness) -> None:
    signup.sign_up(ADA)
    harness.advance(days=2, hours=23)
    assert texts() == ["Welcome, Ada!"]
    harness.advance(hours=1)
    assert texts()[1:] == ["Ada, you have not confirmed yet"]


def test_who_has_confirmed_is_not(harness: Harness) -> None:
    signup.sign_up(ADA)
    harness.run()
    signup.confirm(ADA.address)
    harness.advance(days=30)
    assert len(texts()) == 1


def test_the_mail_server_may_be_away_for_a_while(harness: Harness) -> None:
    harness.fail_next(welcome, ConnectionError("the mail server is away"), times=3)
    signup.sign_up(ADA)
    harness.run()
    assert texts() == []
    harness.advance(minutes=1)
    assert texts() == ["Welcome, Ada!"]
    assert harness.executed(welcome) == 4


def test_but_not_for_ever(harness: Harness) -> None:
    harness.fail_next(welcome, ConnectionError("the mail server is away"), times=6)
    signup.sign_up(ADA)
    with pytest.raises(ConnectionError, match="away"):
        harness.advance(hours=1)


@pytest.mark.parametrize(("bad", "state"), [(False, "unconfirmed"), (True, "blocked")])
def test_both_services_are_asked_before_it_is_decided(harness: Harness, bad: bool, state: str) -> None:
    if bad:
        outside.bad.add(("spam list", ADA.address))
    signup.sign_up(ADA)
    harness.run()
    assert harness.executed(check) == 2
    harness.assert_sent(decide, address=ADA.address, verdicts=(not bad, True))
    assert outside.people[ADA.address] == state


def test_a_service_that_fails_blocks_nobody(harness: Harness) -> None:
    harness.fail_next(check, ConnectionError("no answer"))
    signup.sign_up(ADA)
    with pytest.raises(ConnectionError, match="no answer"):
        harness.run()
    harness.run()
    harness.assert_not_sent(decide)
    assert outside.people[ADA.address] == "unconfirmed"


def test_a_year_of_reports(harness: Harness) -> None:
    signup.sign_up(ADA)
    signup.confirm(ADA.address)
    harness.advance(days=365)
    reports = texts("boss@example.org")
    assert len(reports) == 12
    assert reports[0] == "2026-01: 1 confirmed"  # the first of January, 07:00 in Berlin
    assert harness.executed("monthly_report") == 12


@pytest.mark.vecna(now=dt.datetime(2026, 3, 28, tzinfo=dt.UTC))
def test_the_report_comes_at_seven_also_in_summer(harness: Harness) -> None:
    harness.run()
    due = signup.server.get_schedule("monthly-report").next_fire_at
    assert due == dt.datetime(2026, 4, 1, 5, tzinfo=dt.UTC)


@pytest.mark.parametrize("point", list(CrashPoint)[:6])
def test_wherever_a_worker_dies_the_decision_is_made_once(harness: Harness, point: CrashPoint) -> None:
    harness.crash_next(point)
    signup.sign_up(ADA)
    harness.advance(minutes=5)
    assert harness.crashes == 1
    assert len(harness.sent(decide)) == 1
    assert "Welcome, Ada!" in texts()  # at least once: that is what a queue can promise


@pytest.mark.vecna(raise_errors=False)
def test_a_state_can_be_looked_at(harness: Harness) -> None:
    harness.fail_next(welcome, ValueError("no such address"), times=6)
    handle = welcome.send(ADA)
    harness.advance(minutes=5)
    state = handle.get_state()
    assert state.state is State.FAILURE
    assert state.error == "ValueError: no such address"


async def test_it_works_in_async_tests_too(harness: Harness) -> None:
    answer = await check.send_async(ADA, "spam list")
    harness.run()  # run_async() would use this test's own event loop, whose sleeps are real
    assert await answer is True
