"""The command ``cc-boost``."""
