"""In a container: a process 1 that only waits, so that the supervisor is another one.

Process 1 inherits the orphans of everybody in the container, those of somebody's `docker exec` too. A
supervisor in its place could not tell them from what a crashed component has left, which it has to end.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SI_KERNEL = 0x80
"""The sender of a signal that the terminal has caused."""


def below_process_1(work: Callable[[], int]) -> int:
    """The exit code of `work`, which is done in a child if this is process 1.

    Signals go on to the child, and what has ended is collected. Only for a process with one thread.
    """
    if os.getpid() != 1:
        return work()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    waited_for = {*FORWARDED, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return work()
    while (code := _collect(child)) is None:
        received = signal.sigwaitinfo(waited_for)
        has_it = (received.si_signo, received.si_code) == (signal.SIGINT, _SI_KERNEL)  # Ctrl-C in a terminal
        if received.si_signo in FORWARDED and not has_it:
            os.kill(child, received.si_signo)
    return code if code >= 0 else 128 - code  # as a shell tells of a signal


def _collect(child: int) -> int | None:
    """Take note of all that has ended; the exit code of `child` if it was among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
