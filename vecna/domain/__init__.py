"""Pure values and rules of vecna: no I/O, no clock, no thread, no logging."""
