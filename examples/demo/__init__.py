"""The main job on real input: `make demo`, or `make demo REDIS=redis://localhost:6379/0`."""
