"""What is passed to tasks stands in no log line, however much is logged and whatever goes wrong."""

import logging
import threading
from contextlib import suppress

import pytest

from tests.faults.redis.proxy import Proxy
from vecna import Chord, Config, Group, Server, Signature
from vecna.domain.errors import TaskCanceled, TaskFailed

SECRET = "argument-canary-41c7"
PATIENCE = 30


def test_arguments_and_results_are_not_logged(redis_server, namespace, caplog):
    """At the most talkative level: runs, retries, failures, misfits, unknown names, cancels, an outage."""
    caplog.set_level(logging.DEBUG)
    begun = threading.Event()

    def keep(secret: str) -> str:
        begun.set()
        return secret

    with Proxy(redis_server.port) as proxy:
        options = {"lease": 2, "poll_interval": 0.2, "send_timeout": 5, "park_limit": 0}
        with Server(Config(broker=proxy.url, namespace=namespace, **options)) as server:  # type: ignore[arg-type]  # of any kind
            server.register_task("keep", keep)
            server.register_task("fail", _fail, retry_count=1)
            server.register_task("number", lambda number: number)
            sent = [
                server.send_task(Signature("keep", [SECRET], on_success=[Signature("keep", [SECRET])])),
                server.send_task(Signature("fail", [SECRET], on_error=[Signature("keep")])),
                server.send_task(Signature("keep", [SECRET, SECRET])),
                server.send_task(Signature("nobody-knows", [SECRET])),
                server.send_chord(
                    Chord(Group(Signature("keep", [SECRET]), Signature("fail", [SECRET])), Signature("keep"))
                ),
                server.send_periodic_task("@every 1s", Signature("keep", [SECRET]), code="secret").trigger(),
            ]
            server.cancel(server.send_task(Signature("keep", [SECRET], delay=60)))
            with server.new_worker("w", 2):
                assert begun.wait(PATIENCE)
                proxy.cut()
                for handle in sent:
                    with suppress(TaskFailed, TaskCanceled):
                        handle.get(timeout=PATIENCE)
            server.cancel("secret")
    assert len(caplog.records) >= 5
    formatter = logging.Formatter()
    assert not [line for record in caplog.records if SECRET in (line := f"{formatter.format(record)} {vars(record)}")]


def _fail(secret: str) -> None:
    assert secret
    raise RuntimeError("boom")


@pytest.mark.parametrize("shown", [repr, str])
def test_what_carries_arguments_does_not_show_them(shown):
    signature = Signature("keep", [SECRET], kwargs={"a": SECRET})
    with Server("memory://") as server:
        for thing in (signature, Chord(Group(signature), Signature("x")), server.send_task(signature.clone())):
            assert SECRET not in shown(thing)
