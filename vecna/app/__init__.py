"""Application services: what users call, and what workers do, over the ports."""
