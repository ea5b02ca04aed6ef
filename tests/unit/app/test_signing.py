"""With keys, a worker runs nothing that no holder of a key has sent: not as a message, not in a plan or schedule."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given

from tests.unit.app.worker.wiring import run_all
from tests.unit.domain.strategies import signatures
from vecna import Chain, Chord, Config, ConfigError, Group, Server, Signature, State, TaskFailed
from vecna.adapters.clock import ManualClock
from vecna.adapters.memory import connect
from vecna.app.delivery import Deliveries
from vecna.app.firing import Firer
from vecna.app.launchers import MOST_AT_ONCE
from vecna.domain.errors import InvalidSignature
from vecna.domain.message import Message
from vecna.domain.plan import Step
from vecna.domain.signing import HEADER, SEAL, is_sealed, seal, sign, verified
from vecna.ports.values import Lease

OLD, NEW, OTHER = "the-old-key-of-2025", "the-new-key-of-2026", "somebody-else's-key"
QUEUE = "vecna_tasks"


class Shop:
    """Servers over one store, each with its own keys, and what has run."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.adapters = connect("memory://", Config(broker="memory://"), self.clock)
        self.ran: list[Any] = []

    def server(self, *keys: str) -> Server:
        ports = attrs.asdict(self.adapters, recurse=False)
        server = Server(Config(broker="memory://", signing_keys=keys), **ports)
        server.register_task("note", self._note)
        return server

    def _note(self, *args: Any) -> int:
        self.ran.append(args)
        return len(self.ran)

    def work(self, server: Server) -> None:
        """A worker's steps, until nothing is left."""
        deliveries, firer = Deliveries(server, "w"), Firer(server)
        while True:
            firer.step()
            runnable, ended = deliveries.admit(deliveries.lease(QUEUE, 100))
            items = [*run_all(deliveries, runnable), *ended]
            deliveries.finish(items)
            if not items:
                return


@pytest.fixture
def shop() -> Shop:
    return Shop()


# -- marks -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(signatures())
def test_a_mark_survives_the_way_and_leaves_nothing(signature):
    way = Signature.from_json(sign(signature, [NEW, OLD]).to_json())

    assert verified(way, [OTHER, NEW]) == signature
    with pytest.raises(InvalidSignature, match="not signed by any"):
        verified(way, [OLD])
    with pytest.raises(InvalidSignature, match="is not signed"):
        verified(signature, [NEW])


@pytest.mark.parametrize(
    "change",
    [
        {"name": "delete_all"}, {"args": [2]}, {"kwargs": {"a": 1}}, {"uuid": "another"}, {"queue": "elsewhere"},
        {"on_success": [Signature("note")]}, {"on_error": [Signature("note")]}, {"headers": {"x": 1}}, {"priority": 9},
        {"eta": None, "delay": 5}, {"code": "c"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_whatever_is_changed_breaks_the_mark(change):
    signed = sign(Signature("note", [1], uuid="t1"), [NEW])
    if "headers" in change:
        change = {"headers": {**signed.headers, **change["headers"]}}

    with pytest.raises(InvalidSignature, match="was changed since"):
        verified(signed.replace(**change), [NEW])


def test_without_keys_nothing_is_signed_and_nothing_asked_for():
    signature = Signature("note")
    assert sign(signature, ()) is signature
    assert verified(signature, ()) is signature
    assert is_sealed(b"{}", "c", ())


def test_the_seal_of_a_schedule_holds_for_its_code_and_content():
    content = seal(b'{"task":{}}', "c", [NEW])

    assert json.loads(content)[SEAL]
    assert is_sealed(content, "c", [OLD, NEW])
    assert not is_sealed(content, "d", [NEW])
    assert not is_sealed(content.replace(b"task", b"bask"), "c", [NEW])
    assert not is_sealed(b'{"task":{}}', "c", [NEW])
    assert not is_sealed(b"", "c", [NEW])


# -- messages ----------------------------------------------------------------------------------------------------------


def test_what_is_signed_runs_and_shows_no_mark(shop):
    server = shop.server(NEW)
    handle = server.send_task(Signature("note", [1], on_success=[Signature("note", [2])]))
    shop.work(server)

    assert shop.ran == [(1,), (2, 1)]
    assert handle.get() == 1


def test_keys_are_rotated_without_a_pause(shop):
    old_sender, new_sender, worker = shop.server(OLD), shop.server(NEW, OLD), shop.server(NEW, OLD)
    handles = [each.send_task(Signature("note")) for each in (old_sender, new_sender)]
    shop.work(worker)
    assert [handle.get_state().state for handle in handles] == [State.SUCCESS] * 2

    late = old_sender.send_task(Signature("note"))
    shop.work(shop.server(NEW))  # the old key was taken away everywhere
    with pytest.raises(TaskFailed, match="not signed by any"):
        late.get()


@pytest.mark.parametrize("keys", [(), (OTHER,)], ids=["not signed", "another key"])
def test_what_no_holder_of_a_key_has_sent_fails_and_runs_nothing(shop, keys):
    """Its callbacks neither: they are as forged as the rest."""
    forged = Signature("note", [1], on_success=[Signature("note", [2])], on_error=[Signature("note", [3])])
    shop.server(*keys).send_task(forged)
    worker = shop.server(NEW)
    shop.work(worker)

    assert shop.ran == []
    state = worker.result(forged.uuid).get_state()
    assert (state.state, "signed" in state.error) == (State.FAILURE, True)
    (letter,) = worker.get_dead_tasks()
    assert letter.uuid == forged.uuid


def test_a_body_that_was_changed_in_the_store_fails(shop):
    server = shop.server(NEW)
    sent = Signature("note", ["harmless"])
    body = Message.of(sign(sent, [NEW]), QUEUE).body.replace(b"harmless", b"harmful!")
    server.broker.enqueue([Message(sent.uuid, QUEUE, body)])
    shop.work(server)

    assert shop.ran == []
    with pytest.raises(TaskFailed, match="was changed since"):
        server.result(sent.uuid).get()


def test_a_forged_member_fails_its_chord(shop, monkeypatch):
    server = shop.server(NEW)
    chord = server.send_chord(Chord(Group(Signature("note", [0]), Signature("note", [1])), Signature("note", ["back"])))
    lease = shop.adapters.broker.lease

    def forged(*args: Any, **kwargs: Any) -> Lease:
        leased = lease(*args, **kwargs)
        bodies = [delivery.body.replace(b'"Value":0', b'"Value":7') for delivery in leased.deliveries]
        changed = [attrs.evolve(each, body=body) for each, body in zip(leased.deliveries, bodies, strict=True)]
        return attrs.evolve(leased, deliveries=tuple(changed))

    monkeypatch.setattr(shop.adapters.broker, "lease", forged)
    shop.work(server)

    assert shop.ran == [(1,)]
    with pytest.raises(TaskFailed, match="was changed since"):
        chord.get()


# -- what is stored to be sent later -----------------------------------------------------------------------------------


def test_later_links_are_signed_as_well(shop):
    server = shop.server(NEW)
    chain = server.send_chain(Chain([Signature("note", [n], uuid=f"t{n}") for n in range(3)]))
    shop.work(server)

    assert shop.ran == [(0,), (1, 1), (2, 2)]
    assert chain.get() == 3


@pytest.mark.parametrize("forge", ["no mark", "changed"])
def test_a_forged_link_fails_and_is_not_signed_by_the_worker_that_goes_on_with_it(shop, monkeypatch, forge):
    server = shop.server(NEW)
    chain = server.send_chain(Chain([Signature("note", [n], uuid=f"t{n}") for n in range(3)]))
    get_step = shop.adapters.backend.get_step

    def forged(node: str, index: int) -> Step | None:
        step = get_step(node, index)
        if step is None or index != 1:
            return step
        (link,) = step.first
        headers = {} if forge == "no mark" else link.headers
        bad = link.replace(args=["forged"], headers=headers, on_error=[Signature("note", ["forged, too"])])
        return attrs.evolve(step, first=(bad.evolve(position=link.position),))

    monkeypatch.setattr(shop.adapters.backend, "get_step", forged)
    shop.work(server)

    assert shop.ran == [(0,)]
    with pytest.raises(TaskFailed, match="signed"):
        chain.get()


@pytest.mark.parametrize("kind", ["task", "group"])
def test_schedules_are_signed_and_forged_ones_fail(shop, kind):
    owner, forger, worker = shop.server(NEW), shop.server(), shop.server(NEW)
    for server, what in ((owner, "right"), (forger, "forged")):
        if kind == "task":
            server.send_periodic_task("@every 1m", Signature("note", [what]), code=what)
        else:
            server.send_periodic_group("@every 1m", Group(Signature("note", [what])), code=what)
    shop.clock.advance(61)
    shop.work(worker)

    assert shop.ran == [("right",)]
    letters = worker.get_dead_tasks()
    assert len(letters) == 1
    assert "is not signed" in letters[0].reason


def test_wide_steps_and_wide_occurrences_are_launched_signed(shop):
    server = shop.server(NEW, OLD)
    wide = [Signature("note", [number]) for number in range(MOST_AT_ONCE + 5)]
    chain = server.send_chain(Chain(Signature("note", ["first"]), Group(wide), Signature("note", ["last"])))
    schedule = Group([each.clone() for each in wide])
    server.send_periodic_group("@every 1h", schedule, code="wide").trigger()
    shop.work(server)
    shop.work(server)  # what was held back by then

    assert len(shop.ran) == 2 * len(wide) + 2
    assert chain.get() is not None
    assert server.get_dead_tasks() == []


def test_what_was_read_shows_no_mark_and_is_signed_anew_by_whoever_sends_it(shop):
    server = shop.server(NEW)
    server.send_task(Signature("note", [1], delay=60))
    (waiting,) = server.get_delayed_tasks()
    assert HEADER not in waiting.headers
    server.send_task(sign(waiting, [OTHER]).clone(args=[2], delay=None, eta=None))
    shop.work(server)

    assert shop.ran == [(2,)]


# -- the setting -------------------------------------------------------------------------------------------------------


def test_keys_are_read_from_everywhere_and_shown_nowhere(tmp_path):
    file = tmp_path / "config.yml"
    file.write_text(f'broker: memory://\nsigning_keys: "{NEW}, {OLD}"\n')
    environment = {"VECNA_BROKER": "memory://", "VECNA_SIGNING_KEYS": f"{NEW},{OLD}"}
    configs = [
        Config(broker="memory://", signing_keys=[NEW, OLD]),
        Config.from_yaml(file),
        Config.from_env(environment=environment),
    ]

    assert [config.signing_keys for config in configs] == [(NEW, OLD)] * 3
    for shown in [repr(config) for config in configs]:
        assert NEW not in shown
        assert "signing_keys=***" in shown


@pytest.mark.parametrize("keys", ["short", ["short"], [b"bytes-are-no-text-here"], 12345678901234567, f"{NEW},,"])
def test_what_is_no_secret_is_refused_without_being_shown(keys):
    with pytest.raises(ConfigError, match="signing_keys must be secrets of at least 16") as caught:
        Config(broker="memory://", signing_keys=keys)
    assert "short" not in str(caught.value)
    assert NEW not in str(caught.value)


def test_a_bad_key_in_a_file_is_not_shown_either(tmp_path):
    file = tmp_path / "config.yml"
    file.write_text("broker: memory://\nsigning_keys: tooshort\n")
    with pytest.raises(ConfigError, match="line 2") as caught:
        Config.from_yaml(file)
    assert "tooshort" not in str(caught.value)
