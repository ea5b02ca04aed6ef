"""A long task says how far it is, and stops when it is cancelled."""

import threading

from vecna import Config, Server, TaskCanceled, TaskContext

server = Server(Config(broker="memory://", heartbeat=1))  # a cancel reaches what runs with the next heartbeat


@server.task
def count(ctx: TaskContext, to: int) -> int:
    pause = threading.Event()
    for number in range(to):
        ctx.raise_if_canceled()
        ctx.progress(number, to)
        pause.wait(0.01)  # the work
    return to


def main() -> None:
    with server, server.new_worker("worker", concurrency=2):
        result = count.send(100_000)
        waiting = count.options(delay=3600).send(1)
        first = count.send(10)
        print(f"counted to {first.get(timeout=10)}")
        print(f"never started: {len(waiting.cancel().canceled)}")
        print(f"told to stop: {len(result.cancel().running)}")
        try:
            result.get(timeout=60)
        except TaskCanceled:
            print("it stopped")


if __name__ == "__main__":
    main()
