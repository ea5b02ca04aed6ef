"""A schedule that runs every second, is looked at, triggered by hand and cancelled."""

import threading
from datetime import datetime

from vecna import Server, TaskContext

server = Server("memory://")
third = threading.Event()
due_times: list[datetime] = []


@server.task
def report(ctx: TaskContext, kind: str) -> str:
    due_times.append(ctx.due_at or ctx.now())
    if len(due_times) == 3:
        third.set()
    return f"{kind} report"


def main() -> None:
    with server, server.new_worker("worker", concurrency=1):
        schedule = report.every("@every 1s", code="sales-report", missed="all").send("sales")
        third.wait(timeout=30)
        schedule.pause()
        print(f"{schedule.spec}, paused: {schedule.paused}")
        first, second, _ = due_times[:3]
        print(f"{(second - first).total_seconds()} second(s) between two")
        print(schedule.trigger().get(timeout=10))
        print(f"cancelled: {server.cancel_periodic_task('sales-report').schedules}")
        print(f"left: {server.schedules()}")


if __name__ == "__main__":
    main()
