"""mobcg: a reproducible data release for mobility-preserving coarse-grained liquids."""

from importlib.metadata import version

__version__ = version("mobcg")
