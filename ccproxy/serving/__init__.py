"""Processes that serve: sockets, limits, signals, reload and shutdown."""
