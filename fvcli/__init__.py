"""Feature vectors of images, by MobileNet V1 with real 8-bit arithmetic."""

__version__ = "0.1.0"
