"""The two ways a run can go wrong: the input is wrong, or a program failed."""

from __future__ import annotations

from reprlib import Repr

# Aliases of aliases in a YAML file can spell out to gigabytes: only so much of a value is ever looked at.
_SHOWN = Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 120
_SHOWN.maxlevel = 3


class InputError(Exception):
    """Something that a user wrote is wrong; the message says where, what, what is allowed and what to do.

    Parameters
    ----------
    where
        File (and row), or the option of the command line.
    key
        The key or column in it, dots for nesting; empty where the whole file is meant.
    value
        What was found there.
    allowed
        What may stand there instead.
    advice
        What to do, in one sentence.
    """

    def __init__(self, where: object, key: str, value: object, allowed: str, advice: str = "") -> None:
        self.where, self.key, self.value, self.allowed, self.advice = str(where), key, value, allowed, advice
        shown = _SHOWN.repr(value)
        shown = shown if len(shown) <= 120 else shown[:117] + "..."
        at = f"{where}: {key}: " if key else f"{where}: "
        super().__init__(f"{at}found {shown}; allowed: {allowed}." + (f" {advice}" if advice else ""))


class SimulationError(Exception):
    """A simulation program failed or left no usable product; the message becomes the record's `reason`."""
