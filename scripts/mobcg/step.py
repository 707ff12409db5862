"""How the process of a step ends: when asked to stop, when the machine is in trouble, and what it says then."""

from __future__ import annotations

import errno
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mobcg.errors import InputError, SimulationError

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ROOM = "Make room, then start again: what is finished is kept, and what is not goes on."
_WRITABLE = "Make it writable or choose another directory (results_dir in config/config.yaml), then start again."
_FILE_SYSTEM = "The file system does not answer as it should; start again when it does."
# What the machine, not the input, is to blame for, and what to do about it.
MACHINE_TROUBLE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: _WRITABLE,
    errno.EACCES: _WRITABLE,
    errno.EPERM: _WRITABLE,
    errno.EIO: _FILE_SYSTEM,
    errno.ESTALE: _FILE_SYSTEM,
    errno.ENOTCONN: _FILE_SYSTEM,
}


class Stopped(KeyboardInterrupt):
    """The process was asked to stop with a signal, `number`."""

    def __init__(self, number: int) -> None:
        self.number = signal.Signals(number)
        super().__init__(self.number.name)


def catch_stop_signals(handler: Callable[[int, object], None]) -> None:
    """Let `handler` answer SIGINT, SIGTERM and SIGHUP, but for those that the parent had ignored (nohup, a script)."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


@contextmanager
def stop_signals_held() -> Iterator[None]:
    """Let a signal that asks to stop wait until the block is over; what it starts is then known to whoever stops it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    arrived: list[int] = []
    catch_stop_signals(lambda number, _frame: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in arrived[:1]:
            signal.raise_signal(number)


def ignore_stop_signals() -> None:
    """Ignore further signals of that kind: one is enough, and the orderly end it began is short."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _stop(number: int, _frame: object) -> None:
    ignore_stop_signals()
    raise Stopped(number)


def run_step(main: Callable[[], int | None]) -> int:
    """Run the command line of a step and return its exit status.

    A signal that asks to stop ends it in order (programs that it runs may write a checkpoint first, see
    `mobcg.programs.run`) with 128 + the signal's number, as shells count. Trouble of the machine, such as a full disk,
    is a message and status 1; so is a wrong input that `main` did not tell itself. Anything else is an error of the
    code and keeps its traceback.
    """
    catch_stop_signals(_stop)
    try:
        return main() or 0
    except Stopped as stopped:
        _tell(f"stopped by {stopped.number.name}; finished runs are kept, the same command goes on from here")
        return 128 + stopped.number
    except (InputError, SimulationError) as error:
        _tell(str(error))
        return 1
    except OSError as error:
        if error.errno not in MACHINE_TROUBLE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _tell(f"{where}{error.strerror or error}. {MACHINE_TROUBLE[error.errno]}")
        return 1


def _tell(message: str) -> None:
    with suppress(BrokenPipeError):  # the reader of a pipe may have been stopped first
        print(message, file=sys.stderr, flush=True)
