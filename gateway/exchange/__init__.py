"""The hot path: from a call to its ending, and what both need of the world."""
