"""What a cancel answers about a task whose worker is between recording its end and settling it."""

import datetime as dt

import pytest

from vecna import Server, Signature, State, TaskState


@pytest.fixture
def server():
    with Server("memory://") as server:
        yield server


def leased(server: Server, code: str = "") -> tuple[str, str]:
    """Send a task and lease it as a worker would; its id and the lease's token."""
    result = server.send_task(Signature("t", code=code or None))
    lease = server.broker.lease(
        "vecna_tasks", 1, worker="w", call=1, duration=dt.timedelta(seconds=30), max_deliveries=5
    )
    return result.uuid, lease.token


@pytest.mark.parametrize("state", [State.SUCCESS, State.FAILURE])
def test_a_recorded_end_is_finished_though_the_worker_still_has_the_message(server: Server, state: State) -> None:
    uuid, token = leased(server, "c")
    server.backend.put_states([TaskState(task_uuid=uuid, state=state, token=token)])

    assert server.cancel_delayed_task(uuid).finished == (uuid,)
    assert server.cancel("c").finished == (uuid,)


def test_what_runs_is_running_though_another_cancel_has_recorded_its_end(server: Server) -> None:
    """A cancel of a later link records CANCELED; the link may have been enqueued and started just before."""
    uuid, _ = leased(server)
    server.backend.put_states([TaskState(task_uuid=uuid, state=State.CANCELED)])

    assert server.cancel_delayed_task(uuid).running == (uuid,)
