"""Secrets taken out of what is sent, shown or logged."""
