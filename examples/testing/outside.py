"""What the application uses, as far as it matters here: people, a mail server, services to ask."""

from __future__ import annotations

import asyncio

#: Who has signed up, and how that stands.
people: dict[str, str] = {}
#: What the mail server was given.
mails: list[tuple[str, str]] = []
#: What the services know.
bad: set[tuple[str, str]] = set()


def send_mail(address: str, text: str) -> None:
    """Hand a mail to the mail server."""
    mails.append((address, text))


async def ask(service: str, address: str) -> bool:
    """Ask a service whether it thinks well of an address. It takes two seconds."""
    await asyncio.sleep(2)  # noqa: TID251  # under the harness the virtual clock moves instead
    return (service, address) not in bad


def forget() -> None:
    """Begin anew."""
    people.clear()
    mails.clear()
    bad.clear()
