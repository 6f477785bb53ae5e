"""Proxies to compare with."""
