"""Storing a schedule: what is refused, what it is called, and what a repeated or changed call does."""

import datetime as dt
from random import Random

import pytest

from tests.unit.app.doubles import FlakyBroker, logged, server_with
from tests.unit.app.schedules.rig import DAY, HOUR, MINUTE, START, Rig
from vecna.app.context import TaskContext
from vecna.app.registry import Registry
from vecna.domain.errors import (
    BrokerUnavailable,
    InvalidArgument,
    InvalidSignature,
    InvalidSpec,
    TaskAlreadyRegistered,
    TaskNotRegistered,
    UnknownSchedule,
)
from vecna.domain.schedule import MISSED
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chain, Chord, Group


@pytest.fixture
def rig() -> Rig:
    return Rig()


def tick(*args: object, **fields) -> Signature:
    return Signature("tick", args, **fields)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"spec": "0 25 * * *"}, InvalidSpec, "hour '25'"),
        ({"spec": "0 0 31 2 *"}, InvalidSpec, "never comes"),
        ({"spec": 60}, InvalidSpec, "int"),
        ({"timezone": "Europe/Berlim"}, InvalidSpec, "Europe/Berlim"),
        ({"missed": "twice"}, InvalidSpec, "'once', 'all', 'skip'"),
        ({"overlap": "no"}, InvalidArgument, "overlap"),
        ({"code": "not allowed"}, InvalidArgument, "code of a schedule"),
        ({"start": dt.datetime(2026, 1, 1)}, InvalidSpec, "start"),  # noqa: DTZ001  # that is the point
        ({"end": START}, InvalidSpec, "never comes any more"),
        ({"signature": "tick"}, InvalidSignature, "takes a Signature, not a str"),
        ({"signature": Group(tick())}, InvalidSignature, "takes a Signature, not a Group"),
        ({"signature": tick(eta=START + DAY)}, InvalidSignature, "eta"),
        ({"signature": tick(on_success=tick(eta=START + DAY))}, InvalidSignature, "eta"),
        ({"signature": tick(spec="@daily")}, InvalidSignature, "spec of task tick"),
        ({"signature": tick(group_uuid="g")}, InvalidSignature, "group_uuid of task tick"),
        ({"signature": tick("x" * 300_000)}, InvalidArgument, "max_message_size"),
        ({"signature": Signature("vecna.launch")}, InvalidSignature, "used by vecna itself"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_stored(rig, changes, error, says):
    with pytest.raises(error, match=says):
        rig.server.send_periodic_task(**{"spec": "@hourly", "signature": tick(), **changes})

    assert rig.server.schedules() == []


def test_workflows_are_checked_like_ordinary_ones(rig):
    with pytest.raises(InvalidSignature, match="takes a Chord, not a Group"):
        rig.server.send_periodic_chord("@hourly", Group(tick()))
    with pytest.raises(InvalidSignature, match="eta"):
        rig.server.send_periodic_group("@hourly", Group(tick(), tick(eta=START)))
    with pytest.raises(InvalidArgument, match="send_concurrency"):
        rig.server.send_periodic_group("@hourly", Group(tick()), -1)
    words = [Signature("tick", [Random(number).randbytes(100).hex()]) for number in range(12_000)]
    with pytest.raises(InvalidArgument, match=r"at most 1048576 can be sent as one"):
        rig.server.send_periodic_group("@hourly", Group(words))
    assert rig.server.schedules() == []


def test_an_eta_of_the_registration_is_refused_too(rig):
    rig.register("dated", eta=START + DAY)
    with pytest.raises(InvalidSignature, match="eta"):
        rig.server.send_periodic_task("@hourly", Signature("dated"))


def test_the_engines_names_cannot_be_registered(rig):
    with pytest.raises(TaskAlreadyRegistered, match="vecna itself"):
        rig.server.register_task("vecna.step", print)


def test_an_unreachable_broker_is_tried_again_and_then_named():
    server = server_with(broker=_Lost(), send_timeout=0.05)
    signature = tick()
    with pytest.raises(BrokerUnavailable, match=r"1 task.*could not be sent") as caught:
        server.send_periodic_task("@hourly", signature)
    assert caught.value.signatures == (signature,)


class _Lost(FlakyBroker):
    def __init__(self) -> None:
        super().__init__(0)

    def due_schedules(self, limit: int = 100):
        raise BrokerUnavailable("no route to host")


# -- what it is called -------------------------------------------------------------------------------------------------


def test_the_code_is_the_keywords_else_the_signatures_else_derived(rig):
    send = rig.server.send_periodic_task
    assert send("@hourly", tick(code="mine"), code="given").code == "given"
    assert send("@hourly", tick(code="mine")).code == "mine"
    derived = send("@hourly", tick(1))
    assert derived.code.startswith("tick:")
    assert rig.server.send_periodic_group("@hourly", Group(tick(), code="g")).code == "g"
    assert send("@hourly", Signature("Tâche")).code.startswith("task:")


def test_a_derived_code_follows_from_kind_spec_zone_names_and_arguments_only(rig):
    def code(spec="@hourly", signature=None, **keywords):
        return rig.server.send_periodic_task(spec, signature or tick(1, 2), **keywords).code

    same = {
        code(),
        code("0 * * * *"),
        code(signature=tick(1, 2, uuid="u", queue="other", headers={"a": 1})),
        code(missed="all", overlap=False, end=START + DAY),
    }
    assert len(same) == 1
    others = [
        code("@daily"),
        code(timezone="Europe/Berlin"),
        code(signature=tick(2, 1)),
        code(signature=tick("1", 2)),
        code(signature=Signature("tock", [1, 2])),
        code(signature=tick(kwargs={"a": 1})),
        code(signature=tick(1, 2, on_success=tick())),
        code(signature=tick(1, 2, on_error=tick())),
        rig.server.send_periodic_group("@hourly", Group(tick(1, 2))).code,
        rig.server.send_periodic_chain("@hourly", Chain(tick(1, 2))).code,
        rig.server.send_periodic_chord("@hourly", Chord([tick(1)], tick(2))).code,
        rig.server.send_periodic_chain("@hourly", Chain(tick(1), tick(2))).code,
    ]
    assert len({*same, *others}) == 1 + len(others)


# -- the same call again -----------------------------------------------------------------------------------------------


def record(rig, code="c"):
    return rig.server.broker.get_schedules([code])[0]


@pytest.mark.parametrize("kind", ["task", "group", "chain", "chord"])
def test_the_same_call_at_every_start_changes_nothing(rig, kind):
    def send():
        link = {
            "task": lambda: tick(1, on_success=tick(2)),
            "group": lambda: Group(tick(1), Chain(tick(2), tick(3))),
            "chain": lambda: Chain(tick(1), tick(2)),
            "chord": lambda: Chord([tick(1), tick(2)], tick(3)),
        }[kind]()
        return getattr(rig.server, f"send_periodic_{kind}")("@every 1h", link, timezone="Europe/Berlin")

    first = send()
    before = record(rig, first.code)
    rig.forward(90 * MINUTE)
    after = record(rig, first.code)
    again = send()

    assert record(rig, first.code) == after
    assert (after.version, after.content) == (before.version, before.content)
    assert again.next_fire_at == START + 2 * HOUR
    assert len(rig.server.schedules()) == 1


def test_new_content_replaces_the_old_in_one_step_and_keeps_rhythm_pause_and_history(rig):
    schedule = rig.server.send_periodic_task("@every 1h", tick("old"), code="c")
    rig.forward(90 * MINUTE)
    schedule.pause()

    replaced = rig.server.send_periodic_task("@every 1h", tick("new"), code="c")
    assert (replaced.paused, replaced.last_fire_at) == (True, START + HOUR)
    replaced.resume()
    rig.forward(HOUR)

    assert [(args, due) for _, args, due, _ in rig.runs] == [(("old",), START + HOUR), (("new",), START + 2 * HOUR)]


def test_a_new_spec_begins_its_rhythm_now(rig):
    rig.server.send_periodic_task("@every 1h", tick(), code="c")
    rig.forward(90 * MINUTE)
    schedule = rig.server.send_periodic_task("@every 20m", tick(), code="c")

    assert (schedule.spec, schedule.next_fire_at) == ("@every 20m", START + 110 * MINUTE)
    rig.forward(HOUR)
    assert rig.ran("tick") == [START + minutes * MINUTE for minutes in (60, 110, 130, 150)]


def test_another_kind_under_the_same_code_replaces_it(rig):
    rig.server.send_periodic_task("@hourly", tick("task"), code="c")
    rig.forward(HOUR)
    schedule = rig.server.send_periodic_group("@hourly", Group(tick(1), tick(2)), code="c")

    assert schedule.kind == "group"
    rig.forward(HOUR)
    assert [args for _, args, _, _ in rig.runs] == [("task",), (1,), (2,)]


def test_an_option_that_changes_is_a_new_content_under_the_derived_code(rig):
    first = rig.server.send_periodic_task("@hourly", tick())
    second = rig.server.send_periodic_task("@hourly", tick(queue="other"))

    assert (first.code, record(rig, first.code).version) == (second.code, 2)
    rig.clock.advance(3600)
    rig.hand.fire()
    assert [each.uuid for each in rig.server.get_pending_tasks("other")] == [f"{first.code}@1767229200000"]


def test_the_handler_before_publishing_sees_every_task_once_when_it_is_stored(rig):
    seen = []

    def handler(signature):
        seen.append(signature.name)
        return signature.replace(headers={"by": "handler"})

    rig.server.set_pre_publish_handler(handler)
    rig.server.send_periodic_chain("@hourly", Chain(tick(), Signature("tock")), code="c")
    rig.forward(2 * HOUR)

    assert seen == ["tick", "tock"]
    assert {context.signature.headers["by"] for context in rig.contexts} == {"handler"}


# -- telling workers ---------------------------------------------------------------------------------------------------


@pytest.fixture
def rung(rig, monkeypatch):
    """Queues that were rung."""
    rung: list[str] = []
    monkeypatch.setattr(rig.server.broker, "ring", rung.append, raising=False)
    return rung


def test_workers_of_the_queue_that_it_goes_to_are_told_of_one_that_is_due_soon(rig, rung):
    rig.server.send_periodic_task("@every 10s", Signature("tick"), code="a")
    rig.server.send_periodic_task("@every 60s", Signature("tick", queue="other"), code="b")
    rig.server.send_periodic_group("@every 10s", Group([Signature("tick", queue="parts")]), code="c")

    assert rung == ["vecna_tasks", "other", "parts"]


def test_nobody_is_told_of_one_that_all_find_in_time_or_that_is_paused(rig, rung):
    rig.server.send_periodic_task("@every 61s", Signature("tick"), code="late")
    schedule = rig.server.send_periodic_task("@every 10s", Signature("tick"), code="soon")
    schedule.pause()
    rig.server.send_periodic_task("@every 11s", Signature("tick", queue="other"), code="soon")
    assert rung == ["vecna_tasks"]

    schedule.resume()

    assert rung == ["vecna_tasks", "other"]


@pytest.mark.parametrize("error", [BrokerUnavailable("away"), RuntimeError("a fault of the adapter")])
def test_that_nobody_could_be_told_is_no_error(rig, monkeypatch, error):
    def ring(queue):
        raise error

    monkeypatch.setattr(rig.server.broker, "ring", ring)
    schedule = rig.server.send_periodic_task("@every 10s", Signature("tick"), code="c")

    assert not schedule.pause().resume().paused


# -- declared with the task --------------------------------------------------------------------------------------------


def test_a_declared_schedule_is_stored_when_a_worker_starts_and_not_at_import(rig):
    @rig.server.periodic("*/15 * * * *", code="report")
    @rig.server.task
    def report(ctx: TaskContext) -> None:
        rig.runs.append(("report", (), ctx.due_at, ctx.now()))

    assert rig.server.is_task_registered("report")
    assert rig.server.schedules() == []
    rig.server.store_periodic_tasks()
    rig.forward(HOUR)

    assert [schedule.code for schedule in rig.server.schedules()] == ["report"]
    assert rig.ran("report") == [START + 15 * MINUTE * number for number in (1, 2, 3, 4)]


def test_a_plain_function_is_registered_under_its_name(rig):
    @rig.server.periodic("@hourly")
    def own() -> int:
        return 3

    assert own() == 3
    assert rig.server.get_registered_task("own") is own


def test_one_task_may_have_several_and_a_new_one_under_a_code_replaces_the_old(rig):
    @rig.server.periodic("0 6 * * *")
    @rig.server.periodic("0 18 * * *")
    def twice() -> None: ...

    rig.server.periodic("@daily", code="c")(twice)
    rig.server.periodic("@hourly", code="c")(twice)
    rig.server.store_periodic_tasks()

    assert sorted(schedule.spec for schedule in rig.server.schedules()) == ["0 * * * *", "0 18 * * *", "0 6 * * *"]


def test_registries_bring_theirs_along_also_those_that_come_later(rig):
    tasks = Registry()

    @tasks.periodic("@hourly", code="before")
    def before() -> None: ...

    rig.server.include(tasks)

    @tasks.periodic("@hourly", code="later")
    def later() -> None: ...

    rig.server.store_periodic_tasks()

    assert {schedule.code for schedule in rig.server.schedules()} == {"before", "later"}


def test_what_cannot_be_declared_is_refused_at_once(rig):
    def needs(number: int) -> None: ...

    with pytest.raises(TypeError, match=r"needs\.every\(\.\.\.\)\.send"):
        rig.server.periodic("@hourly")(needs)
    with pytest.raises(InvalidSpec):
        rig.server.periodic("@never")
    other = Registry().register_task("foreign", lambda: None)
    with pytest.raises(TaskNotRegistered, match="another registry"):
        rig.server.periodic("@hourly")(other)


def test_one_that_cannot_be_stored_is_logged_and_stops_no_other(rig):
    @rig.server.periodic("@hourly", end=START - DAY)
    def past() -> None: ...

    @rig.server.periodic("@hourly", code="good")
    def good() -> None: ...

    with logged() as lines:
        rig.server.store_periodic_tasks()

    assert [schedule.code for schedule in rig.server.schedules()] == ["good"]
    assert "past" in lines.of("error")[0]


def test_a_handler_that_refuses_one_stops_no_other(rig):
    for name in ("first", "second"):
        rig.server.periodic("@hourly", code=name)(rig.register(name))

    def handler(signature):
        if signature.name == "first":
            raise RuntimeError("no")

    rig.server.set_pre_publish_handler(handler)
    with logged() as lines:
        rig.server.store_periodic_tasks()

    assert [schedule.code for schedule in rig.server.schedules()] == ["second"]
    assert "first" in lines.of("error")[0]


def test_a_worker_that_tries_again_stores_nothing_that_was_cancelled_after_its_first_attempt(rig, monkeypatch):
    @rig.server.periodic("@hourly", code="c")
    def own() -> None: ...

    put = rig.server.broker.put_schedule
    answers = iter([BrokerUnavailable("reply lost")])

    def flaky(record, began_at=None):
        stands = put(record, began_at)
        for lost in answers:
            raise lost
        return stands

    monkeypatch.setattr(rig.server.broker, "put_schedule", flaky)
    store = rig.server.storing_periodic_tasks()
    with pytest.raises(BrokerUnavailable):
        store()
    rig.clock.advance(1)
    assert rig.server.cancel_periodic_task("c").schedules == ("c",)
    rig.clock.advance(1)

    store()

    assert rig.server.schedules() == []
    rig.server.store_periodic_tasks()  # a call that begins after the cancel
    assert [schedule.code for schedule in rig.server.schedules()] == ["c"]


def test_a_call_that_tries_again_stores_nothing_that_was_cancelled_meanwhile(rig, monkeypatch):
    rig.server.periodic("@hourly", code="c")(rig.register("own"))
    put = rig.server.broker.put_schedule
    calls: list[str] = []

    def flaky(record, began_at=None):
        stands = put(record, began_at)
        calls.append(record.code)
        if len(calls) == 1:
            rig.server.cancel_periodic_task("c")
            raise BrokerUnavailable("reply lost")
        return stands

    monkeypatch.setattr(rig.server.broker, "put_schedule", flaky)
    rig.server.store_periodic_tasks()

    assert (rig.server.schedules(), len(calls)) == ([], 2)


# -- through the task --------------------------------------------------------------------------------------------------


def test_every_is_typed_as_the_task_and_takes_all_keywords(rig):
    @rig.server.task(queue="own")
    def add(a: int, b: int = 2) -> int:
        return a + b

    schedule = (
        add.options(priority=4)
        .every(
            "0 6 * * ?",
            code="daily-add",
            timezone="Europe/Berlin",
            missed="skip",
            overlap=False,
            start=START,
            end=START + DAY,
        )
        .send(1)
    )

    stored = record(rig, "daily-add")
    assert (schedule.code, schedule.spec, schedule.timezone) == ("daily-add", "0 6 * * *", "Europe/Berlin")
    assert (schedule.missed, schedule.overlap, schedule.start, schedule.end) == ("skip", False, START, START + DAY)
    assert b'"RoutingKey":"own"' in stored.content
    assert b'"Priority":4' in stored.content
    rig.forward(5 * HOUR)
    assert rig.server.result("daily-add@1767243600000").get() == 3
    with pytest.raises(TypeError):
        add.every("@hourly").send()
    with pytest.raises(InvalidSpec):
        add.every("@hourly", missed="never")


def test_a_timedelta_is_an_interval(rig):
    task = rig.register("timed")
    schedule = task.every(dt.timedelta(minutes=90)).send()

    assert schedule.spec == "@every 1h30m"


async def test_twins_do_the_same(rig):
    task = rig.register("timed")
    schedule = await task.every("@every 1h", code="a").send_async()
    assert (await rig.server.get_schedule_async("a")).next_fire_at == schedule.next_fire_at
    assert (await rig.server.send_periodic_task_async("@hourly", tick(), code="b")).code == "b"
    await rig.server.send_periodic_group_async("@hourly", Group(tick()), code="g")
    await rig.server.send_periodic_chain_async("@hourly", Chain(tick()), code="ch")
    await rig.server.send_periodic_chord_async("@hourly", Chord([tick()], tick()), code="co")
    await rig.server.store_periodic_tasks_async()
    assert {each.code for each in await rig.server.schedules_async()} == {"a", "b", "g", "ch", "co"}
    await schedule.pause_async()
    await schedule.resume_async()
    assert not (await schedule.refresh_async()).paused
    result = await schedule.trigger_async()
    assert (await schedule.last_result_async()).uuid == result.uuid
    assert (await schedule.cancel_async()).canceled == (result.uuid,)
    assert (await rig.server.cancel_async("b")).schedules == ("b",)
    assert (await rig.server.cancel_periodic_task_async("g")).schedules == ("g",)
    with pytest.raises(UnknownSchedule):
        await rig.server.get_schedule_async("a")


def test_every_way_to_miss_is_accepted(rig):
    for missed in MISSED:
        assert rig.server.send_periodic_task("@hourly", tick(), code=missed, missed=missed).missed == missed
