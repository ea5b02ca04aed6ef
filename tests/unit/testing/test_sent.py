"""What a test can ask and claim about what was sent and run."""

import datetime as dt
from unittest.mock import ANY

import pytest

from tests.unit.testing.app import Order, Shop
from vecna import InvalidArgument, Signature
from vecna.domain.workflow import Chain, Chord, Group
from vecna.testing import Harness


def test_runs_are_counted(shop: Shop, harness: Harness) -> None:
    assert harness.executed("add") == 0
    harness.fail_next("add", OSError())
    shop.add.send(1, 1)
    shop.note.send("a")
    harness.advance(minutes=1)
    assert harness.executed("add") == harness.executed(shop.add) == 2
    assert harness.executed("note") == 1


def test_what_was_sent_is_kept_in_order_whoever_sent_it(shop: Shop, harness: Harness) -> None:
    @shop.server.task
    def outer() -> None:
        shop.note.send("inner")

    outer.send()
    shop.server.send_tasks([shop.note.signature("bulk")])
    shop.note.every("@every 1h", code="hourly").send("hourly")
    shop.server.send_chain(Chain(shop.add.s(1, 1), shop.add.options(queue="slow").s(2)))
    shop.server.send_group(Group(shop.note.s(str(i)) for i in range(2)))
    assert [signature.name for signature in harness.sent()] == ["outer", "note", "add", "note", "note"]
    harness.run()
    assert [arg.value for arg in harness.sent("add")[1].args] == [2, 2]  # sent when its turn came, with what was passed
    harness.advance(hours=2)
    assert [signature.args[0].value for signature in harness.sent(shop.note)] == [
        *["bulk", "0", "1", "inner", "hourly", "hourly"]
    ]


def test_what_was_sent_twice_counts_once(shop: Shop, harness: Harness) -> None:
    signature = shop.note.signature("a")
    shop.server.send_task(signature)
    shop.server.send_task(signature)
    assert len(harness.sent("note")) == 1


def test_what_is_repeated_because_a_reply_was_lost_counts_once(shop: Shop, harness: Harness) -> None:
    harness.drop_next_reply("settle")
    shop.server.send_chain(Chain(shop.add.s(1, 1), shop.add.s(2)))
    harness.run()
    assert len(harness.sent("add")) == 2
    schedule = shop.note.every("@hourly").send("a")
    harness.drop_next_reply("fire")
    schedule.trigger()  # its first attempt had its effect
    assert len(harness.sent("note")) == 1


def test_what_only_vecna_sends_is_not_shown(shop: Shop, harness: Harness) -> None:
    shop.server.send_periodic_group("@every 1h", Group(shop.note.s("a"), shop.note.s("b")), code="both")
    harness.advance(hours=1)
    assert [signature.name for signature in harness.sent()] == ["note", "note"]


def test_arguments_match_by_name_however_they_were_passed(shop: Shop, harness: Harness) -> None:
    shop.mail.send("ada")
    shop.mail.send(to="bob", subject="bye", urgent="yes")
    assert harness.assert_sent("mail", to="ada", subject="hello").args[0].value == "ada"
    harness.assert_sent("mail", to="bob")
    harness.assert_sent("mail", urgent="yes")
    harness.assert_sent("mail", subject=ANY)
    with pytest.raises(
        AssertionError, match=r"mail\(to='eve'\) was not sent. Of mail were sent: \n  mail\(to='ada', subj"
    ):
        harness.assert_sent("mail", to="eve")


def test_arguments_match_as_the_function_gets_them(shop: Shop, harness: Harness) -> None:
    shop.order.send(Order(7, 1.5))
    harness.assert_sent("order", order=Order(7, 1.5))
    harness.assert_not_sent("order", order=Order(8))


def test_a_chord_callback_has_its_results(shop: Shop, harness: Harness) -> None:
    shop.server.send_chord(Chord(Group(shop.add.s(1, 1), shop.add.s(2, 2)), shop.total.s()))
    harness.run()
    harness.assert_sent("total", parts=(2, 4))


def test_options_match_too(shop: Shop, harness: Harness) -> None:
    shop.mail.options(delay=60, priority=3).send("ada")
    harness.assert_sent("mail", queue="mail", delay=dt.timedelta(minutes=1), priority=3)
    with pytest.raises(AssertionError, match=r"mail\(.*\) with priority=3"):
        harness.assert_sent("mail", priority=4)


def test_a_parameter_may_be_called_as_anything(shop: Shop, harness: Harness) -> None:
    @shop.server.task
    def odd(name: str, self: int, queue: str) -> None: ...

    odd.send("n", 1, "q")
    harness.assert_sent("odd", name="n", self=1, queue="q")


def test_nothing_of_a_name_says_what_else_there_is(shop: Shop, harness: Harness) -> None:
    with pytest.raises(AssertionError, match=r"note\(\) was not sent: no note was. Sent were: no tasks at all"):
        harness.assert_sent("note")
    shop.mail.send("ada")
    with pytest.raises(AssertionError, match="Sent were: mail"):
        harness.assert_sent("note")


def test_what_should_not_be_sent(shop: Shop, harness: Harness) -> None:
    harness.assert_not_sent("note")
    for number in range(12):
        shop.note.send(str(number))
    with pytest.raises(AssertionError, match=r"note was sent 12 times: \n  note\(what='0'\)(.|\n)*and 2 more"):
        harness.assert_not_sent("note")
    harness.assert_not_sent(shop.note, what="twelve")


def test_misspelt_names_are_noticed(shop: Shop, harness: Harness) -> None:
    """They would never be sent, and the test would prove nothing."""
    for call in (harness.executed, harness.sent, harness.assert_sent, harness.assert_not_sent):
        with pytest.raises(InvalidArgument, match="no task is called 'noet': did you mean 'note'"):
            call("noet")
    with pytest.raises(
        InvalidArgument, match="task add has no parameter 'bb', nor has its signature: did you mean 'b'"
    ):
        harness.assert_not_sent("add", bb=1)
    with pytest.raises(InvalidArgument, match="takes a task or the name of one, not int"):
        harness.sent(7)  # type: ignore[arg-type]  # the mistake


def test_tasks_of_other_services_are_seen_too(shop: Shop, harness: Harness) -> None:
    harness.assert_not_sent("xyzzy")
    shop.server.send_task(Signature("xyzzy", [1], kwargs={"b": 2}))
    harness.run()
    harness.assert_sent("xyzzy", b=2)
    assert harness.executed("xyzzy") == 0
