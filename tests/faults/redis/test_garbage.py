"""Garbage in every key that we own, and messages of every bad kind: errors in words, visible ends, never a halt."""

import datetime as dt
from contextlib import suppress
from functools import partial

import pytest

from tests.faults.redis.load import Load
from tests.faults.redis.servers import eventually
from vecna import Chord, Config, Group, Server, Signature, State
from vecna.domain.errors import VecnaError
from vecna.domain.message import Message
from vecna.domain.signing import sign

PATIENCE = 30
GARBAGE = ["", "-1", "nil", "9" * 400, "\x00\xff\n{}[]", "a b c d e f g", '{"UUID":'.ljust(5000, "["), "1 2 - {}"]


@pytest.fixture
def opened(redis_server, namespace):
    options = {"namespace": namespace, "send_timeout": 0.01, "lease": 8, "poll_interval": 0.1, "results_expire_in": 60}
    with Server(Config(broker=redis_server.url, **options)) as server:
        server.register_task("one", lambda *_: 1)
        server.register_task("bad", _fail)
        yield server


def _fail() -> None:
    raise RuntimeError("boom")


def _fill(server: Server) -> None:
    """Something in every kind of key: pending, delayed, leased, ending, held, plans, schedules, locks."""
    broker, second = server.broker, dt.timedelta(seconds=30)
    for number in range(6):
        server.send_task(Signature("one", [number], uuid=f"t{number}", priority=number % 3, code="shared"))
    server.send_task(Signature("one", uuid="later", delay=3600))
    lease = broker.lease("vecna_tasks", 2, worker="x", call=1, duration=second, max_deliveries=5)
    assert len(lease.deliveries) == 2
    server.cancel("t1")
    server.send_chord(Chord(Group([Signature("one", queue=queue) for queue in ("a", "b")]), Signature("one")))
    broker.stage("hold", [Message("held", "a", b"{}")])
    server.send_periodic_task("@every 1h", Signature("one"), code="hourly")
    server.send_periodic_task("@every 1h", Signature("one"), code="paused").pause()
    server.lock.acquire("l", "owner", second)


def _use(server: Server) -> None:
    """Every kind of call; each may only fail in words."""
    broker, backend, second = server.broker, server.backend, dt.timedelta(seconds=30)
    for call in (
        lambda: server.send_task(Signature("one")),
        lambda: server.send_chord(Chord(Group(Signature("one"), Signature("one", queue="a")), Signature("one"))),
        lambda: broker.lease("vecna_tasks", 3, worker="y", call=_call(), duration=second, max_deliveries=5),
        lambda: broker.extend("vecna_tasks", ["1:x:1"], second),
        lambda: server.cancel("t0"),
        lambda: server.cancel("shared"),
        lambda: broker.relay("vecna_tasks"),
        lambda: broker.unstage("a", "hold"),
        server.queue_counts,
        server.get_pending_tasks,
        server.get_delayed_tasks,
        server.get_dead_tasks,
        lambda: broker.locate(["t0", "t1", "later", "held"]),
        lambda: backend.get_states(["t0", "t1"]),
        lambda: backend.unreleased(dt.timedelta(0), 10),
        lambda: backend.uncommitted(dt.timedelta(0), 10),
        server.schedules,
        lambda: broker.due_schedules(10),
        broker.relay_schedules,
        lambda: server.send_periodic_task("@every 1h", Signature("one"), code="hourly"),
        lambda: server.lock.acquire("l", "owner", second),
    ):
        with suppress(VecnaError):
            call()


_calls = iter(range(2, 10_000_000))


def _call() -> int:
    return next(_calls)


def _spoil(client, key: bytes, garbage: str, kind: str) -> None:
    """Put garbage into a key, of its own type or of another."""
    if kind == "another type":
        of = client.type(key)
        client.delete(key)
        (client.hset(key, "x", garbage) if of == b"string" else client.set(key, garbage))
        return
    match client.type(key):
        case b"string":
            client.set(key, garbage)
        case b"hash":
            client.hset(key, mapping={**dict.fromkeys(client.hkeys(key), garbage), "stranger": garbage})
        case b"list":
            client.rpush(key, garbage)
            client.lset(key, 0, garbage)
        case b"zset":
            client.zadd(key, {garbage: 1.0, "stranger": float("inf")})
        case b"set":
            client.sadd(key, garbage)


@pytest.mark.parametrize(
    "kind", ["in turn", *[pytest.param(kind, marks=pytest.mark.long) for kind in ("its own type", "another type")]]
)
def test_garbage_in_any_key_is_an_error_in_words_and_stops_no_other_queue(opened, redis_server, namespace, kind):
    with redis_server.client() as client:
        _fill(opened)
        names = sorted(client.scan_iter(f"{namespace}:*", count=1000))
        assert len({name.split(b":")[1] for name in names}) >= 5  # q, r, s, w, l, queues
        kept = {name: client.dump(name) for name in names}
        for number, key in enumerate(names):
            of = kind if kind != "in turn" else ("its own type", "another type")[number % 2]
            _spoil(client, key, GARBAGE[number % len(GARBAGE)], of)
            _use(opened)
            elsewhere = f"t-{number}"
            if key != f"{namespace}:queues".encode():
                assert opened.broker.enqueue([Message(elsewhere, "elsewhere", b"{}")]) == [True]
            for name in client.scan_iter(f"{namespace}:*", count=1000):
                client.delete(name)
            for name, dump in kept.items():
                client.restore(name, 0, dump)


# -- messages ----------------------------------------------------------------------------------------------------------

DEEP = b'{"UUID":"%s","Name":"one","Args":[' + b'{"Type":"json","Value":' + b"[" * 10_000 + b"]" * 10_000 + b"}]}"
BODIES = [
    b"", b"\x00", b"{", b"null", b"[]", b'"text"', b"\xff\xfe{}", b'{"UUID":"%s"}', b'{"UUID":"%s","Name":"one"',
    b'{"UUID":"%s","Name":null}', b'{"UUID":"%s","Name":["one"]}', b'{"UUID":"%s","Name":"one","Args":{}}',
    b'{"UUID":"%s","Name":"one","Args":[{"Type":"int64","Value":9223372036854775808}]}',
    b'{"UUID":"%s","Name":"one","Args":[{"Type":"float64","Value":NaN}]}',
    b'{"UUID":"%s","Name":"one","Args":[{"Type":"string","Value":"\\ud800"}]}',
    b'{"UUID":"%s","Name":"one","Args":[{"Type":"__import__","Value":"os"}]}',
    b'{"UUID":"%s","Name":"one","Priority":"9"}', b'{"UUID":"%s","Name":"one","ETA":"yesterday"}',
    b'{"UUID":"another","Name":"one"}', b'{"UUID":"a{b}c","Name":"one"}', b'{"UUID":"a\\nb","Name":"one"}',
    b'{"UUID":"%s","Name":"o\\u0000ne"}', b'{"UUID":"%s","Name":"one","OnSuccess":[{"UUID":"../x","Name":"one"}]}',
    DEEP, b'{"UUID":"%s","Name":"one","Args":[{"Type":"string","Value":"' + b"x" * 3_000_000 + b'"}]}',
    b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.",
]  # fmt: skip


def test_no_message_of_any_kind_stops_a_worker(opened):
    """Each ends as FAILURE with a reason, as a dead letter, and what comes behind it runs."""
    uuids = [f"bad-{number}" for number in range(len(BODIES))]
    bodies = [body.replace(b"%s", uuid.encode()) for uuid, body in zip(uuids, BODIES, strict=True)]
    for uuid, body in zip(uuids, bodies, strict=True):
        opened.broker.enqueue([Message(uuid, "vecna_tasks", body)])
    good = opened.send_task(Signature("one"))
    with opened.new_worker("w", 2):
        assert good.get(timeout=PATIENCE) == 1
        for uuid in uuids:
            eventually(partial(opened.backend.get_state, uuid), "its end")
    for uuid, body in zip(uuids, bodies, strict=True):
        state = opened.backend.get_state(uuid)
        assert (state.state, bool(state.error)) == (State.FAILURE, True), body[:80]
        assert len(state.error) < 5000
    assert {letter.uuid for letter in opened.get_dead_tasks()} == set(uuids)


def test_a_message_that_somebody_has_changed_in_redis_is_not_run(redis_server, namespace):
    ran: list[object] = []
    config = Config(broker=redis_server.url, namespace=namespace, signing_keys=["a-secret-of-16-characters"])
    with Server(config) as server, redis_server.client() as client:
        server.register_task("note", lambda what: ran.append(what))  # noqa: PLW0108  # what Python can look into
        handle = server.send_task(Signature("note", ["harmless"]))
        forged = Signature("note", ["forged"], uuid="forged")
        server.broker.enqueue([Message.of(sign(forged, ["another-secret-of-somebody"]), "vecna_tasks")])
        (key,) = [
            key for key in client.scan_iter(f"{namespace}:q:*:m:*", count=1000) if client.hexists(key, handle.uuid)
        ]
        client.hset(key, handle.uuid, client.hget(key, handle.uuid).replace(b"harmless", b"harmful!"))
        with server.new_worker("w", 1):
            server.send_task(Signature("note", ["in order"])).get(timeout=PATIENCE)
            for uuid in (handle.uuid, "forged"):
                eventually(partial(server.backend.get_state, uuid), "its end")
                state = server.backend.get_state(uuid)
                assert state is not None
                assert "not signed by any of signing_keys" in state.error
    assert ran == ["in order"]


def test_signed_work_of_all_kinds_runs(redis_server, namespace):
    with Load(redis_server.url, namespace, signing_keys=["the-key-of-this-year", "the-key-of-last-year"]) as load:
        load.until_more(40)
        load.finish()
