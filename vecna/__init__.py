"""vecna: a task queue."""
