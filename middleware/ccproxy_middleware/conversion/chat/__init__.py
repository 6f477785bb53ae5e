"""OpenAI Chat Completions: requests, answers, streams."""
