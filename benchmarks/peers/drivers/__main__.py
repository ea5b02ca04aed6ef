"""`python -m benchmarks.peers.drivers celery_`: answers the requests of protocol.py for that peer.

Not the peer's module itself: tasks are named by their module, which has to be the same here and in the worker.
"""

import importlib
import sys

from benchmarks.peers.drivers import protocol

protocol.run(importlib.import_module(f"benchmarks.peers.drivers.{sys.argv[1]}").Peer())
