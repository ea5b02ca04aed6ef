"""A test that fails says which law is broken."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


class Laws:
    """Each test of a subclass is a law: its name says what, its docstring why. A failure shows both."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for name, test in list(vars(cls).items()):
            if name.startswith("test_") and inspect.isfunction(test):
                setattr(cls, name, _naming(name, test))


def _naming(name: str, test: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(test)
    def law(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            return test(*args, **kwargs)
        except Exception as fault:
            fault.add_note(f"Broken law: {name.removeprefix('test_').replace('_', ' ')}. {inspect.getdoc(test) or ''}")
            raise

    return law
