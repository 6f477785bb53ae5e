"""Providers that the tests ask: scripted, faulty, real, and the rules that a true one has."""
