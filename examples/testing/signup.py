"""People sign up; the application greets them, reminds them, checks them, and reports what came of it.

A worker would run it with `vecna worker examples.testing.signup:server`; the tests beside it need none.
"""

from __future__ import annotations

import datetime as dt

import attrs

from examples.testing import outside
from vecna import Chord, Group, Server, TaskContext

server = Server("redis://localhost:6379/0")
REMINDER = dt.timedelta(days=3)


@attrs.frozen
class Person:
    """Who signs up. A task's argument may be such a class: it travels as JSON and is rebuilt by the annotation."""

    address: str
    name: str


def sign_up(person: Person) -> None:
    """What the web page calls."""
    outside.people[person.address] = "unconfirmed"
    welcome.send(person)
    remind.options(delay=REMINDER).send(person)
    server.send_chord(
        Chord(Group(check.signature(person, by) for by in ("spam list", "blocked domains")), decide.s(person.address))
    )


def confirm(address: str) -> None:
    """What the link in the mail calls."""
    outside.people[address] = "confirmed"


@server.task(queue="mail", retry_count=5)
def welcome(person: Person) -> None:
    """The mail server is away now and then: five repeats, each after a longer wait."""
    outside.send_mail(person.address, f"Welcome, {person.name}!")


@server.task(queue="mail", retry_count=5)
def remind(person: Person) -> None:
    """Three days later; only who has not confirmed needs it."""
    if outside.people[person.address] == "unconfirmed":
        outside.send_mail(person.address, f"{person.name}, you have not confirmed yet")


@server.task(timeout=10)
async def check(person: Person, by: str) -> bool:
    """Ask a service that takes its time."""
    return await outside.ask(by, person.address)


@server.task
def decide(address: str, *verdicts: bool) -> None:
    """When both services have answered. A task takes its own arguments first, then what is passed on."""
    if not all(verdicts):
        outside.people[address] = "blocked"


@server.periodic("0 7 1 * *", code="monthly-report", timezone="Europe/Berlin")
@server.task(queue="mail")
def monthly_report(ctx: TaskContext) -> None:
    """On the first of each month, at seven in the morning."""
    confirmed = sum(state == "confirmed" for state in outside.people.values())
    outside.send_mail("boss@example.org", f"{ctx.now():%Y-%m}: {confirmed} confirmed")
