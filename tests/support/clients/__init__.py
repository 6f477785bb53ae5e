"""Clients that ask the proxy: SDKs, raw sockets, Claude Code, and what they send."""
