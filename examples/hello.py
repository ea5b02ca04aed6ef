"""Send two tasks, a function and a coroutine, and get their results."""

from datetime import timedelta

from vecna import Server

server = Server("memory://")


@server.task
def add(a: int, b: int) -> int:
    return a + b


@server.task
async def greet(name: str) -> str:
    return f"hello, {name}"


def main() -> None:
    # The worker runs inside this process. With Redis it is a process of its own: vecna worker examples.hello:server
    with server, server.new_worker("worker", concurrency=10):
        total = add.send(1, 2)
        later = greet.options(delay=timedelta(seconds=0.5)).send("world")
        print(total.get(timeout=10))
        print(later.get(timeout=10))


if __name__ == "__main__":
    main()
