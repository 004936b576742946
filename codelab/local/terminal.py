"""Takes over the terminal from make, so that Ctrl-C ends `make run` without an error.

Ctrl-C reaches every process of the terminal's foreground group. GNU make would print "*** Interrupt" and exit with code
130 although everything stopped in order. So the supervisor becomes the foreground group while it runs.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def _shares_the_foreground() -> bool:
    try:
        terminal = sys.stdin.fileno()
        return os.isatty(terminal) and os.tcgetpgrp(terminal) == os.getpgrp() != os.getpid()
    except (OSError, ValueError, AttributeError):
        return False


def _give_terminal_to(group: int) -> None:
    # A background process that changes the foreground group is stopped by SIGTTOU unless it ignores it.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.tcsetpgrp(sys.stdin.fileno(), group)
    finally:
        signal.signal(signal.SIGTTOU, before)


@contextmanager
def own_foreground() -> Iterator[None]:
    """Be the terminal's foreground group inside this context, if there is a terminal to take over."""
    if not _shares_the_foreground():
        yield
        return
    group = os.getpgrp()
    # make and the shell would not notice a Ctrl-Z, so stopping would leave a dead terminal. Children would inherit
    # SIG_IGN, so this is a handler.
    signal.signal(signal.SIGTSTP, lambda *_: None)
    os.setpgid(0, 0)
    try:
        _give_terminal_to(os.getpgrp())
        yield
    finally:
        with suppress(OSError):
            _give_terminal_to(group)
            os.setpgid(0, group)
