"""One module a peer, run by the Python of that peer's environment: only the standard library and the peer are there."""
