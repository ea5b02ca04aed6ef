"""What happens when a task fails: it is repeated, waits for a better moment, or ends as a failure."""

from vecna import RetryTaskLater, Server, TaskContext, TaskFailed

server = Server("memory://")


@server.task(retry_count=2)  # runs up to three times, 1 s and then 2 s apart
def fetch(ctx: TaskContext) -> str:
    if ctx.attempt == 1:
        raise ConnectionError("no answer")
    return f"fetched on attempt {ctx.attempt}"


@server.task
def publish(ctx: TaskContext) -> str:
    if ctx.attempt == 1:
        raise RetryTaskLater("not before the embargo ends", 0.5)  # seconds; does not use up retry_count
    return "published"


@server.task
def divide(a: int, b: int) -> float:
    return a / b


def main() -> None:
    with server, server.new_worker("worker", concurrency=10):
        fetched, published, divided = fetch.send(), publish.send(), divide.send(1, 0)
        print(fetched.get(timeout=10))
        print(published.get(timeout=10))
        try:
            divided.get(timeout=10)
        except TaskFailed as failure:
            print(f"failed: {failure.error}")


if __name__ == "__main__":
    main()
