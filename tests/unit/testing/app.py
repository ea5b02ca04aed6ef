"""A small application for the tests of the harness."""

from __future__ import annotations

import datetime as dt
from typing import Any

import attrs

from vecna import Config, RetryTaskLater, Server, TaskContext

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@attrs.frozen
class Order:
    number: int
    total: float = 0.0


class Shop:
    """A server that would be on Redis, its tasks, and what they have done."""

    def __init__(self, **settings: Any) -> None:
        self.server = Server(Config(broker="redis://nowhere.invalid:1/0", **settings))
        self.calls: list[Any] = []
        server = self.server

        @server.task
        def note(what: str) -> str:
            self.calls.append(what)
            return f"noted {what}"

        @server.task(retry_count=2)
        def add(a: int, b: int) -> int:
            self.calls.append((a, b))
            return a + b

        @server.task(queue="mail")
        def mail(ctx: TaskContext, to: str, subject: str = "hello", **headers: str) -> str:
            self.calls.append((to, subject, ctx.attempt, ctx.delivery))
            return to

        @server.task
        def order(order: Order) -> Order:
            self.calls.append(order)
            return order

        @server.task
        def fail(text: str) -> None:
            self.calls.append(text)
            raise ValueError(text)

        @server.task
        def later(ctx: TaskContext, times: int) -> int:
            if ctx.attempt <= times:
                raise RetryTaskLater("not yet", 60)
            return ctx.attempt

        @server.task
        def total(*parts: int) -> int:
            self.calls.append(parts)
            return sum(parts)

        self.note, self.add, self.order = note, add, order
        self.mail: Any = mail
        self.fail, self.later, self.total = fail, later, total
