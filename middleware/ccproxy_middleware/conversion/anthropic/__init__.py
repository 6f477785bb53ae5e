"""The client's side, whichever API is asked upstream: turns, content blocks, events, tool calls, models."""
