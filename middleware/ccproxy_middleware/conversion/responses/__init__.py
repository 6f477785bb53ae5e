"""The other end of the conversion: OpenAI's Responses."""
