"""A small sign-up application, and how it is tested: `pytest examples/testing`."""
