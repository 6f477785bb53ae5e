"""The endpoint that sends requests to the provider, and its HTTP client."""
