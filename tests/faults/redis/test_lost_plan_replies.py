"""The reply to a call about workflows is lost, and the call is made again by itself: each script in turn."""

import datetime as dt

import pytest

from tests.faults.redis.conftest import LEASE, uuids_of
from vecna.adapters.redis import scripts
from vecna.domain.message import Message
from vecna.domain.plan import plan
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chord, Group
from vecna.ports.plans import Following, Report
from vecna.ports.values import QueueCounts

NOW = dt.timedelta(0)


@pytest.fixture
def driven(proxy, drive, namespace):
    return drive(proxy.url, namespace=namespace)


def test_a_workflow(driven, losing):
    group = Group(Signature("a"), Signature("b"))
    complete = plan(Chord(group, Signature("callback")))
    backend = driven.backend
    backend.get_nodes(["warm-up"])

    losing(scripts.PLAN_STORE)
    backend.store_plan(complete)
    losing(scripts.PLAN_READ)
    assert backend.get_step(complete.root, 1) == complete.steps[0]
    assert backend.uncommitted(NOW, 9) == [complete.root]
    losing(scripts.PLAN_COMMIT)
    assert backend.commit_plan(complete.root)
    assert backend.uncommitted(NOW, 9) == []

    backend.report([Report(group.group_uuid, 0, succeeded=True)])
    losing(scripts.PLAN_REPORT)
    (answer,) = backend.report([Report(group.group_uuid, 1, succeeded=True)])
    assert answer.following is Following.COMPLETE  # as if the first reply had come
    (state,) = backend.get_nodes([group.group_uuid])
    assert state.done == 2

    losing(scripts.PLAN_RELEASE)
    backend.release_plan(complete.root, -LEASE)
    assert backend.get_nodes([complete.root, group.group_uuid]) == [None, None]


def test_a_hold(driven, losing):
    messages = [Message(f"m{number}", "q", b"{}", code="c") for number in range(3)]
    driven.broker.stage("warm-up", [Message("warm-up", "other", b"{}")])

    losing(scripts.STAGE)
    # They are there once; that they came from this very call nobody can know.
    assert driven.broker.stage("hold", messages) == [False] * 3
    losing(scripts.STAGED)
    assert driven.broker.staged("q", NOW) == ["hold"]
    losing(scripts.UNSTAGE)
    left = driven.broker.unstage("q", "hold", limit=1)
    while left:
        left = driven.broker.unstage("q", "hold")

    assert driven.broker.counts("q") == QueueCounts(pending=3)
    assert uuids_of(driven.lease()) == ["m0", "m1", "m2"]


def test_a_cancel_by_code(driven, losing):
    driven.broker.enqueue([Message(f"m{number}", "q", b"{}", code="c") for number in range(3)])

    losing(scripts.CANCEL_CODE)
    answer = driven.broker.cancel_code("q", "c")

    assert set(answer.canceled) == {"m0", "m1", "m2"}
    assert driven.broker.counts("q") == QueueCounts(ending=3)


def test_what_is_looked_at_first(proxy, drive, namespace):
    """Whether the user has all rights is asked when a connection is opened; that may be asked again."""
    driven = drive(proxy.url, namespace=namespace)
    proxy.lose_reply(scripts.RIGHTS.source.splitlines()[1].encode()[:40])
    assert driven.send("a") == [True]
    assert proxy.lost.is_set()
