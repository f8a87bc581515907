"""Names that one project publishes under: an advisory for one is for all of them."""

from __future__ import annotations

from builder.matrix.requirements import normalise

__all__ = ["project"]

# By the name that advisories use.
_PUBLISHED_AS = {
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-training"),
    "opencv-python": (
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
        "opencv-python-headless",
    ),
    "pillow": ("pillow-simd",),
    "psycopg2": ("psycopg2-binary",),
    "tensorflow": (
        "intel-tensorflow",
        "tensorflow-cpu",
        "tensorflow-gpu",
        "tensorflow-intel",
        "tensorflow-neuron",
    ),
}
_PROJECT = {other: name for name, others in _PUBLISHED_AS.items() for other in others}


def project(kind: str, name: str) -> str:
    """The name under which advisories for a package are looked for.

    >>> project("python", "TensorFlow_CPU"), project("system", "openssl")
    ('tensorflow', 'openssl')
    """
    if kind != "python":
        return name
    normal = normalise(name)
    return _PROJECT.get(normal, normal)
