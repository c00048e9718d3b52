"""What providers say: frame to event, ceiling to request."""
