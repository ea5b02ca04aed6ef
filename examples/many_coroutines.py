"""Send from an event loop, many at once, and await the results; nothing here blocks the loop."""

import asyncio

from vecna import Server

server = Server("memory://")


@server.task
async def square(number: int) -> int:
    return number * number


async def main() -> None:
    async with server:
        with server.new_worker("worker"):  # no limit: a thousand coroutines at a time are fine
            results = await server.send_tasks_async(square.signature(number) for number in range(1000))
            squares = await asyncio.gather(*results)
    print(f"{len(squares)} squares, their sum is {sum(squares)}")


if __name__ == "__main__":
    asyncio.run(main())
