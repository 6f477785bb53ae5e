"""Descriptions of images, for models that accept no images."""

from .middleware import VisionMiddleware

__all__ = ["VisionMiddleware"]
