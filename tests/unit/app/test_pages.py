"""The examples on the pages about tasks and results run as they stand there."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.app.doubles import logged

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("page", ["tasks.md", "results.md"])
def test_the_examples_of_a_page_run(page: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) > 3
    names: dict[str, Any] = {"__name__": page, "print": lambda *_: None}

    with logged():
        for block in blocks:
            exec(compile(block, page, "exec", dont_inherit=True), names)
        server = names["server"]
        with server, server.new_worker("w", 4, queues=["vecna_tasks", "mail"]):
            if page == "tasks.md":
                assert asyncio.run(names["in_a_coroutine"]()) == 3
                assert names["result"].get(timeout=30) == 3
                assert names["crunch"].send(10).get(timeout=30) == 10
                assert names["crunch"](10) == 10
            else:
                assert names["result"].get_state().is_canceled or names["again"].cancel().canceled


def test_every_option_is_on_the_page() -> None:
    from vecna.domain.options import NAMES

    page = (DOCS / "tasks.md").read_text(encoding="utf-8")

    assert [name for name in NAMES if f"`{name}" not in page] == []


def test_the_example_of_the_page_on_event_loops_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "asyncio.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "asyncio.md"}
    exec(compile(block, "asyncio.md", "exec", dont_inherit=True), names)

    assert asyncio.run(names["main"]()) == [2 * number for number in range(100)]
