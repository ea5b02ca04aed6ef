"""One queue that cannot be settled, since something else lies under one of its keys, keeps no other from its work."""

import threading

from tests.faults.redis.servers import eventually
from vecna import Config, Server

PATIENCE = 10


def test_a_queue_that_cannot_be_settled_keeps_no_other_waiting_and_loses_nothing(redis_server, namespace):
    running, go_on = threading.Event(), threading.Event()
    options = {"namespace": namespace, "send_timeout": 5, "poll_interval": 0.2}
    with Server(Config(broker=redis_server.url, **options)) as server, redis_server.client() as client:

        @server.task(queue="bad")
        def held() -> str:
            running.set()
            assert go_on.wait(PATIENCE)
            return "done"

        @server.task(queue="good")
        def quick() -> int:
            return 1

        with server.new_worker("w", 4, queues=["bad", "good"]):
            slow = held.send()
            assert running.wait(PATIENCE)
            leased = f"{namespace}:q:{{bad}}:leased"
            client.rename(leased, "aside")
            client.set(leased, "what is not ours")
            go_on.set()
            assert slow.get(timeout=PATIENCE) == "done"  # recorded, and not settled

            assert [quick.send().get(timeout=PATIENCE) for _ in range(5)] == [1] * 5
            eventually(lambda: server.broker.counts("good").leased == 0, "the others are settled")

            client.delete(leased)
            client.rename("aside", leased)
            eventually(lambda: server.broker.counts("bad").leased == 0, "it is settled")
            assert held.send().get(timeout=PATIENCE) == "done"
