"""mobcg: a reproducible data release for mobility-preserving coarse-grained liquids."""

from importlib.metadata import version

__version__ = version("mobcg")


def __getattr__(name: str) -> object:
    # `mobcg.load` without the cost of pyarrow where only a version is asked for.
    if name in ("load", "load_trajectory"):
        from mobcg.database import dataset

        return getattr(dataset, name)
    raise AttributeError(name)
