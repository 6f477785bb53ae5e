"""Event streams: made, and checked against their grammar."""
