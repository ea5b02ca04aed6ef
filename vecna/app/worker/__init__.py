"""The worker: threads for functions, one event loop for coroutines, and what keeps their leases."""

from vecna.app.worker.worker import Worker

__all__ = ["Worker"]
