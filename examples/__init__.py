"""Small programs that use vecna. Each runs by itself: `python -m examples.hello`."""
