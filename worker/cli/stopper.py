"""Ctrl-C and SIGTERM in the foreground: the first ends the work after the current batch, the second at once."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopper:
    """Catches both signals while it is entered."""

    def __init__(self) -> None:
        """Catch nothing yet."""
        self._stop = threading.Event()
        self._signal = 0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        """Catch the signals, if this is the thread that may."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put back what was there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._stop.is_set():
            raise SystemExit(128 + number)
        self._signal = number
        self._stop.set()

    def wanted(self) -> bool:
        """Tell whether the work is to end."""
        return self._stop.is_set()

    def sleep(self, seconds: float) -> None:
        """Wait, but not beyond a signal."""
        self._stop.wait(seconds)

    @property
    def exit_code(self) -> int:
        """The exit code of a work that a signal ended."""
        return 128 + self._signal
