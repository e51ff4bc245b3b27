"""The signals that end a process of the load test before its time."""

import signal
from collections.abc import Callable

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def hold_stop_signals() -> None:
    """Makes a stop signal wait until `on_stop_signal`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def on_stop_signal(stop: Callable[[], None]) -> None:
    """Calls `stop` for each stop signal, also for one that has waited."""
    # a late import, since a process holds its signals before it imports anything slow
    import gevent  # noqa: PLC0415

    for number in STOP_SIGNALS:
        gevent.signal_handler(number, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
