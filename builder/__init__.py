"""Builds, proves, tags and pushes Hugging Face Deep Learning Containers from one matrix."""

from pathlib import Path

__all__ = ["PACKAGE", "__version__"]

__version__ = "0.1.0"
# Where the programs and data of the package are, and, in the wheel, the templates and the matrix.
PACKAGE = Path(__file__).parent
