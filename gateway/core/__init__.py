"""Pure decisions: no clock, no chance, no loop, no I/O. `now` and random bytes are arguments."""
