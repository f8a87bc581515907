"""Builds, proves, tags and pushes Hugging Face Deep Learning Containers from one matrix."""

__all__ = ["__version__"]

__version__ = "0.1.0"
