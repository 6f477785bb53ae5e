"""Images as text, for models that take none."""

from .middleware import VisionMiddleware

__all__ = ["VisionMiddleware"]
