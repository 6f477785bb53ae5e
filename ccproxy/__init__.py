"""cc-boost: Claude Code on any OpenAI-compatible provider."""
