"""What runs by the clock, beside the hot path."""
