"""The inherited state that tests must not depend on: signal handlers, and variables that settings come from.

A shell that starts something in the background has it ignore SIGINT, and so would all that the tests start: no Ctrl-C
would ever end it.
"""

from __future__ import annotations

import os
import signal

# SIGHUP stays as it is: nohup means it, and no test sends it.
SIGNALS = (signal.SIGTERM, signal.SIGCHLD)
SETTINGS = ("PG", "DATABASE_", "OTEL_", "NOTIFY_SOCKET", "NO_COLOR", "FORCE_COLOR", "TTY_")
# Where the models are is the machine's; the order of events, another release and another server are asked for.
KEPT = ("PGEMBEDD_CACHE_DIR", "PGEMBEDD_TEST_SEED", "PGEMBEDD_TEST_RELEASE", "PGEMBEDD_TEST_POSTGRES")


def leave_inheritance() -> None:
    """Take back signals and variables to what tests count on, here and in what this process starts from now on."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, *SIGNALS})
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in SIGNALS:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for name in [name for name in os.environ if name.startswith(SETTINGS) and name not in KEPT]:
        del os.environ[name]
