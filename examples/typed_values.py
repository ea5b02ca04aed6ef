"""Arguments and results of one's own types: rebuilt from the annotations, never pickled."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from vecna import Server

server = Server("memory://")


@dataclass
class Invoice:
    """What is to be paid, and until when."""

    number: str
    amount: Decimal
    due: date


@server.task
def remind(invoices: list[Invoice], today: date) -> dict[str, timedelta]:
    """Which invoices are overdue, and for how long."""
    return {invoice.number: today - invoice.due for invoice in invoices if invoice.due < today}


@server.task
def smallest_and_largest(amounts: list[Decimal]) -> tuple[Decimal, Decimal]:
    """A plain tuple is several results; `get` gives the tuple back."""
    return min(amounts), max(amounts)


def main() -> None:
    invoices = [Invoice("A-1", Decimal("12.50"), date(2026, 1, 31)), Invoice("A-2", Decimal("7"), date(2026, 3, 31))]
    with server, server.new_worker("worker", concurrency=10):
        print(remind.send(invoices, today=date(2026, 2, 2)).get(timeout=10))
        print(smallest_and_largest.send([invoice.amount for invoice in invoices]).get(timeout=10))


if __name__ == "__main__":
    main()
