"""Tokens of text, images and documents."""
