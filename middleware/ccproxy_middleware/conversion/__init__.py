"""Anthropic Messages <-> OpenAI Chat Completions, without I/O but for the middleware itself."""
