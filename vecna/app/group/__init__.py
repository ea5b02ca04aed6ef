"""Worker groups: a supervisor with child processes, each of which is a worker, and whose leases it keeps."""

from vecna.app.group.group import WorkerGroup

__all__ = ["WorkerGroup"]
