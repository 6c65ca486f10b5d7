"""Chest X-ray reasoning models: from a radiograph to reasoning that a reader can audit.

Importing this package loads neither torch nor onnxruntime. A research tool, not a medical device.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
