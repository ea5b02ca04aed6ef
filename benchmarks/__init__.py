"""`make bench`: what sending, draining and waiting cost. See README.md beside this file."""
