"""Leaving in good order when the machine is needed for something else.

SIGTERM, SIGUSR1 and SIGINT ask a command to stop. A training finishes its optimiser step, saves and leaves; anything
else leaves at once, since what it writes appears whole or not at all. A second signal doesn't wait for anything.
"""

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
EXIT_STOPPED = 75
"""Exit status of a command that was asked to stop and lost nothing (sysexits' EX_TEMPFAIL): given again, it goes on."""
SAME_SIGNAL_SECONDS = 1.0
"""A scheduler signals every process of a group and a parent passes it on: two within this time are one."""
SAME_SIGNAL_SECONDS_OF_A_JOB = 10.0
"""In a SLURM job, where controller, batch script and srun on many nodes each bring it in their own time."""
DEAF_SECONDS = 2.0
"""A main thread that has not come to answer a signal by then waits in a library."""
STEP_VARIABLE = "SFVD_STEP_OF"
"""Set for a command that is a step of ``sfvd run``, to the process that it is a step of."""
WORKER = "SFVD_WORKER"
"""``INDEX/COUNT``, set for processes that generate beside the one that started them."""


def same_signal_seconds() -> float:
    """How long after a signal another one counts as the same."""
    return SAME_SIGNAL_SECONDS_OF_A_JOB if os.environ.get("SLURM_JOB_ID") else SAME_SIGNAL_SECONDS


def global_rank() -> int:
    """This process among those of a training, before they have met; 0 for the first of them only."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK"):
        if os.environ.get(name, "0") not in ("", "0"):
            return 1 if name == "NODE_RANK" else int(os.environ[name])
    return 0


class Stopped(BaseException):  # no error, as KeyboardInterrupt is none
    """The command was asked to stop.

    Args:
        signum: The signal that asked for it; 0 where another process was asked.
        saved: What is safe, for the message.
        by: Who or what asked where it was no signal.
    """

    def __init__(self, signum: int, saved: str = "", by: str = "another process") -> None:
        self.by = by
        self.signum = signum
        self.saved = saved
        super().__init__(signum, saved)

    def __str__(self) -> str:
        """What happened, and that it goes on."""
        asked = signal.Signals(self.signum).name if self.signum else self.by
        return f"stopped by {asked}{f'; {self.saved}' if self.saved else ''}; the same command goes on from here"


class _Request:
    """What this process was asked for."""

    def __init__(self) -> None:
        self.signum = 0
        self.at = 0.0
        self.deferred = 0
        self.meeting: Callable[[int], int] | None = None
        self.met = False
        self.children: list[subprocess.Popen[bytes]] = []
        self.helpers: Callable[[], Sequence[subprocess.Popen[bytes]]] = tuple


_request = _Request()


def install() -> None:
    """Answer the three signals in this process from now on; only the main thread can."""
    if threading.current_thread() is threading.main_thread():
        for number in STOP_SIGNALS:
            signal.signal(number, _asked)


@contextmanager
def answered() -> Iterator[None]:
    """Answer the three signals within; nothing that came before counts, and all is as it was afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    forget()
    install()
    heard, told = os.pipe()
    os.set_blocking(told, False)
    listener = threading.Thread(target=_listen, args=(heard,), name="signals", daemon=True)
    listener.start()
    woken = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        os.close(told)  # which ends the listener
        listener.join()
        os.close(heard)
        for number, handler in before.items():
            signal.signal(number, handler)
        forget()


def _listen(heard: int) -> None:
    """Answer where the main thread can't: Python's handlers wait until it comes back from a library.

    Args:
        heard: Where the interpreter writes the number of each signal when it comes (``signal.set_wakeup_fd``).
    """
    first, unanswered = 0.0, 0
    while True:
        ready, _, _ = select.select([heard], [], [], DEAF_SECONDS if unanswered else None)
        if not ready:
            # Even where the main thread has noted it since: it may wait for processes that have left by now.
            if _request.meeting is not None:
                _end_children()
                os.write(2, b"\nsfvd: stopped before all processes had met; the same command goes on from here\n")
                os._exit(_request.meeting(unanswered))
            unanswered = 0
            continue
        numbers = os.read(heard, 64)
        if not numbers:
            return
        for number in numbers:
            if number in STOP_SIGNALS and not first:
                first, unanswered = time.monotonic(), number
            elif number in STOP_SIGNALS and time.monotonic() - first >= same_signal_seconds():
                _leave_at_once(number)


# A forked process would write into its parent's pipe.
os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))


@contextmanager
def meeting(leave: Callable[[int], int]) -> Iterator[None]:
    """The processes of a training look for one another within, until :func:`met`; there is nothing to save yet.

    Args:
        leave: Called with a signal that the main thread doesn't come to answer; returns the exit status.
    """
    _request.meeting = leave
    try:
        yield
    finally:
        _request.meeting = None


def met() -> None:
    """All processes of the training are there."""
    _request.meeting, _request.met = None, True


def has_met() -> bool:
    """Whether this process has ever met the others of its training."""
    return _request.met


def forget() -> None:
    """As if nothing had been asked."""
    _request.signum, _request.met = 0, False


def requested() -> int:
    """The signal that asked this process to stop, or 0."""
    return _request.signum


def raise_if_requested(saved: str = "") -> None:
    """Leave now if this process was asked to.

    Raises:
        Stopped: It was.
    """
    if _request.signum:
        raise Stopped(_request.signum, saved)


@contextmanager
def deferred() -> Iterator[None]:
    """Within, a signal is only noted: whoever asks :func:`requested` decides when to leave."""
    _request.deferred += 1
    try:
        yield
    finally:
        _request.deferred -= 1
    if not _request.deferred:
        raise_if_requested()


def _asked(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if _request.signum:
        if now - _request.at >= same_signal_seconds():
            _leave_at_once(number)
        return
    _request.signum, _request.at = number, now
    for child in _request.children:
        with suppress(OSError):
            child.send_signal(number)
    if not _request.deferred:
        raise Stopped(number)


def _end_children() -> None:
    for child in (*_request.children, *_request.helpers()):
        with suppress(OSError):
            child.kill()


def _leave_at_once(number: int) -> None:
    _end_children()
    os.write(2, b"\nsfvd: a second signal, leaving at once\n")
    os._exit(128 + number)


def run_child(command: Sequence[str], *, keep_open: Sequence[int] = ()) -> int:
    """Run a command that is part of this one, and pass signals on to it; returns its exit status.

    Args:
        command: Program and arguments.
        keep_open: File descriptors that it shares, so that a lock outlives this process as long as the child works.

    Raises:
        Stopped: This process was asked to stop, or the child was and left in good order.
    """
    environment = os.environ | {STEP_VARIABLE: str(os.getpid())}
    with deferred():
        child = subprocess.Popen(list(command), env=environment, pass_fds=tuple(keep_open))
        _request.children.append(child)
        if _request.signum:  # it came before there was a child to pass it on to
            child.send_signal(_request.signum)
        try:
            status = child.wait()
        finally:
            _request.children.remove(child)
    if status == EXIT_STOPPED:
        raise Stopped(0, "the command that did the work was asked to stop")
    return status


def pass_on_to(child: "subprocess.Popen[bytes]") -> None:
    """Let a process that helps this one be told of a first signal, and killed by a second."""
    _request.children = [each for each in _request.children if each.poll() is None] + [child]


def take_along(children: Callable[[], Sequence["subprocess.Popen[bytes]"]]) -> None:
    """Take processes along when leaving at once; they are told of a first signal by other ways.

    Args:
        children: Tells which they are by then.
    """
    _request.helpers = children


def end_pool(pool: ProcessPoolExecutor) -> None:
    """End a pool's processes in the middle of their work; its own ``shutdown`` waits for what they have begun."""
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.terminate()


@contextmanager
def ignored() -> Iterator[None]:
    """A process that is started within, by fork or exec, ignores the three signals; so does this one meanwhile.

    Helpers such as the server that loader processes are forked from get the signals of their group too. They have to
    outlast the last optimiser step, and end with the process they serve.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
