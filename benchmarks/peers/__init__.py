"""`make bench-peers`: vecna and its peers side by side. See docs/performance.md."""
