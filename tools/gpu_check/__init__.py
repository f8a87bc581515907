"""Shows that the serving stack works on an NVIDIA GPU: on a machine with PyTorch, without Docker.

`prepare` packs what such a machine lacks into one folder: the serving packages, a Java runtime, a C
compiler and Python's headers. `run` starts the stack there, asks it, and reports. That machine may
have no network and of ours only a checkout, so `run` needs no package but PyTorch, Transformers and
what these bring.
"""
