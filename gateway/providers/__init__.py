"""Pure bytes to and from events: hosts, dialects and the framing they share."""
