import logging
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest

from vecna import log


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    log.set(None)


class Keywords:
    """As structlog's: fields are keywords, exc_info among them."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Any:
        def write(*args: Any, **kwargs: Any) -> None:
            self.calls.append((level, args, kwargs))

        return write


class Plain:
    """Takes a message and nothing else."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, message: str) -> None:
        self.lines.append(message)

    debug = info = warning = error = critical = write


LEVELS = ["debug", "info", "warning", "error", "critical"]


def test_the_standard_logger_has_no_handlers_of_ours() -> None:
    assert logging.getLogger("vecna").handlers == []
    assert logging.getLogger("vecna").level == logging.NOTSET


@pytest.mark.parametrize("level", LEVELS)
def test_lines_go_to_the_standard_logger_with_fields_as_attributes(
    level: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "vecna"):
        getattr(log, level)("100% done", task_uuid="u-1")

    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == ("vecna", level.upper(), "100% done")
    assert vars(record)["task_uuid"] == "u-1"


def test_the_record_names_the_line_that_logged(caplog: pytest.LogCaptureFixture) -> None:
    log.warning("here")

    assert caplog.records[0].funcName == "test_the_record_names_the_line_that_logged"


def test_the_record_names_the_line_that_logged_with_a_logger_of_ones_own(caplog: pytest.LogCaptureFixture) -> None:
    log.set(logging.getLogger("mine"))
    log.warning("here")

    assert (caplog.records[0].name, caplog.records[0].funcName) == (
        "mine",
        "test_the_record_names_the_line_that_logged_with_a_logger_of_ones_own",
    )


@pytest.mark.parametrize("name", ["name", "args", "module", "taskName", "asctime", "exc_text"])
def test_a_field_named_like_an_attribute_of_records_gets_an_underscore(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    fields: dict[str, Any] = {name: "add"}
    log.error("lost", **fields)

    assert vars(caplog.records[0])[f"{name}_"] == "add"


def test_an_exception_comes_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    log.error("lost", exc_info=ValueError("boom"))

    assert "ValueError: boom" in caplog.text


def test_a_level_that_is_off_writes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "vecna"):
        log.warning("no")

    assert caplog.records == []


def test_a_logger_with_keywords_gets_the_message_alone_and_fields_as_keywords() -> None:
    logger, fault = Keywords(), ValueError("boom")
    log.set(logger)
    log.info("100% done", task_uuid="u-1", name="add")
    log.error("lost", exc_info=fault)

    assert logger.calls == [
        ("info", ("100% done",), {"task_uuid": "u-1", "name": "add"}),
        ("error", ("lost",), {"exc_info": fault}),
    ]


def test_a_mock_can_be_asked_what_was_logged() -> None:
    logger = Mock()
    log.set(logger)
    log.critical("gone", queue="a")

    logger.critical.assert_called_once_with("gone", queue="a")


def test_a_logger_that_takes_only_a_message_gets_the_traceback_in_it() -> None:
    logger = Plain()
    log.set(logger)
    log.warning("first", queue="a")
    log.error("second", exc_info=ValueError("boom"))
    try:
        raise KeyError("k")
    except KeyError:
        log.error("third", exc_info=True)

    assert logger.lines[0] == "first"
    assert logger.lines[1].startswith("second\n")
    assert logger.lines[1].endswith("ValueError: boom")
    assert logger.lines[2].endswith("KeyError: 'k'")


def test_none_restores_the_standard_logger(caplog: pytest.LogCaptureFixture) -> None:
    logger = Plain()
    log.set(logger)
    log.set(None)
    log.warning("back")

    assert logger.lines == []
    assert [record.getMessage() for record in caplog.records] == ["back"]


def test_what_is_no_logger_is_refused_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Half:
        def debug(self, message: str) -> None: ...

        info = warning = debug

    with pytest.raises(TypeError, match="Half has no error, critical"):
        log.set(Half())  # type: ignore[arg-type]
    log.warning("still here")

    assert [record.getMessage() for record in caplog.records] == ["still here"]


def test_a_logger_that_raises_stops_nobody_and_its_line_is_not_lost(caplog: pytest.LogCaptureFixture) -> None:
    logger = Mock()
    logger.error.side_effect = RuntimeError("disk full")
    log.set(logger)
    log.error("lost", queue="a")

    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["lost", "the logger given to vecna.log.set raised RuntimeError"]
