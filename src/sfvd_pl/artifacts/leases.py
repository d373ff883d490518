"""Who makes what, where several processes on several machines work in one folder.

A lease is a file ``NAME.GENERATION`` that holds its worker's number. It is made exclusively (``O_EXCL``, which NFS
has kept since version 3), so that of any number of processes exactly one gets it; file locks, which many cluster
file systems ignore, aren't used. Every worker has a card, to which it appends a dot now and then. A worker is taken
for dead when

* its card is gone, which it removes on leaving;
* it ran where this process runs and has ended; process numbers of another machine or container say nothing;
* its card hasn't grown for ``seconds``, by the watch of whoever looks at it. No two clocks are compared, so a clock
  that is wrong or set back takes and gives nothing.

Whoever finds a lease of a dead worker makes the next generation of it, again exclusively. A worker that was taken
for dead by mistake, as after a long pause, goes on as if nothing had happened: what a lease protects must bear being
made twice. Leases save work, they don't keep anything right.
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

LEASE_SECONDS = 120.0
"""A card that hasn't grown for so long belongs to a dead worker. NFS may show a file as it was a minute ago."""
BEATS_A_LEASE = 8
POLL_SECONDS = 1.0

_log = logging.getLogger(__name__)


def place() -> str:
    """Where process numbers mean the same: one boot of one machine, one namespace of processes."""
    boot, namespace = "", ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    with suppress(OSError):
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
    return f"{boot or socket.gethostname()}/{namespace}"


def process_started(pid: int) -> str | None:
    """When a process of this machine started, in ticks; empty where that can't be told, None when it has ended."""
    try:
        # The name of the program is in brackets and may hold anything; the state follows it.
        facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return ""
        return ""
    except OSError:
        return ""
    return None if facts[0] in "ZX" else facts[19]


class Leases:
    """Leases in a folder that several processes share; a context manager, in which this process's card grows.

    Args:
        folder: Where they lie; made when it is entered.
        seconds: A worker whose card doesn't grow for so long is dead.
        clock: Seconds that never go back; replaced in tests.
    """

    def __init__(
        self, folder: Path, *, seconds: float = LEASE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = folder
        self.seconds = seconds
        self.worker = uuid.uuid4().hex[:16]
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}
        self._held: dict[str, int] = {}
        self._stop = threading.Event()
        self._beats: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Lay the card down and let it grow."""
        self.folder.mkdir(parents=True, exist_ok=True)
        facts = {"host": socket.gethostname(), "place": place(), "pid": os.getpid()}
        facts["started"] = process_started(os.getpid()) or ""
        self._card(self.worker).write_text(json.dumps(facts) + "\n", encoding="utf-8")
        self._stop.clear()
        self._beats = threading.Thread(target=self._beat, name="leases", daemon=True)
        self._beats.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give everything back."""
        self._stop.set()
        if self._beats is not None:
            self._beats.join(timeout=5)
            self._beats = None
        for name in list(self._held):
            self.release(name)
        with suppress(OSError):
            self._card(self.worker).unlink()

    def claim(self, name: str) -> bool:
        """Take a lease, unless a living worker has it; never waits.

        Raises:
            OSError: The folder can't be written; ``FileNotFoundError`` when it is gone.
        """
        generation = 0
        while True:
            path = self.folder / f"{name}.{generation}"
            try:
                number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            except FileExistsError:
                holder = self._holder(path)
                if holder is not None and not self.dead(holder or path.name):
                    return False
                generation += holder is not None  # one that vanished just now may be free at the same number
                continue
            try:
                os.write(number, self.worker.encode())
            finally:
                os.close(number)
            self._held[name] = generation
            return True

    def release(self, name: str) -> None:
        """Give a lease back, with those of the dead before it."""
        last = self._held.pop(name, -1)
        if (self.folder / f"{name}.{last + 1}").exists():
            return  # taken over from here: without its predecessors the next one would be free
        for generation in range(last, -1, -1):
            with suppress(OSError):
                (self.folder / f"{name}.{generation}").unlink()

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Wait for a lease and hold it in the block."""
        while not self.claim(name):
            self.pause()
        try:
            yield
        finally:
            self.release(name)

    def pause(self) -> None:
        """What to wait between two looks at what others are doing."""
        time.sleep(min(POLL_SECONDS, self.seconds / 20))

    def dead(self, worker: str) -> bool:
        """Whether a worker is known to be gone.

        Args:
            worker: Its number; or the name of a lease whose worker was killed before it could write its number.
        """
        return self._alive(worker) is False

    def alive(self, worker: str) -> bool:
        """Whether a worker is known to be at work: its process runs here, or its card was seen to grow."""
        return self._alive(worker) is True

    def _alive(self, worker: str) -> bool | None:
        """None where that remains to be seen."""
        if worker == self.worker:
            return True
        try:
            with self._card(worker).open("rb") as card:  # opening makes NFS ask the server anew
                size = os.fstat(card.fileno()).st_size
                runs = _runs(card.readline())
        except FileNotFoundError:
            if not _is_lease(worker):
                return False
            size, runs = 0, None
        except OSError:
            return None
        if runs is False:
            return False
        now = self._clock()
        before, since = self._seen.setdefault(worker, (size, now))
        if size != before:
            self._seen[worker] = (size, now)
            return True
        return False if now - since > self.seconds else runs

    def others(self) -> list[str]:
        """Workers that have a card here and aren't known to be dead."""
        cards = sorted(path.name.removeprefix("worker-") for path in self.folder.glob("worker-*"))
        return [worker for worker in cards if worker != self.worker and not self.dead(worker)]

    def describe(self, worker: str) -> str:
        """Host and process of a worker."""
        try:
            facts = json.loads(self._card(worker).read_text(encoding="utf-8").splitlines()[0])
            return f"process {facts['pid']} on {facts['host']}"
        except (OSError, ValueError, LookupError, TypeError):
            return f"worker {worker}"

    def _card(self, worker: str) -> Path:
        return self.folder / f"worker-{worker}"

    def _holder(self, path: Path) -> str | None:
        """Worker of a lease, empty when it hasn't written its number; None when the lease is gone."""
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None

    def _beat(self) -> None:
        while not self._stop.wait(self.seconds / BEATS_A_LEASE):
            try:
                # Not made anew: whoever has merged everything removes the cards of those that are still here.
                number = os.open(self._card(self.worker), os.O_WRONLY | os.O_APPEND)
            except FileNotFoundError:
                return
            except OSError as error:
                _log.warning("the lease couldn't be renewed (%s); another process may take over", error)
                continue
            try:
                os.write(number, b".")
            except OSError as error:
                _log.warning("the lease couldn't be renewed (%s); another process may take over", error)
            finally:
                os.close(number)


def _is_lease(worker: str) -> bool:
    return "." in worker


def _runs(card: bytes) -> bool | None:
    """Whether a card's process runs, where that can be told from here."""
    try:
        facts: dict[str, Any] = json.loads(card)
        if facts["place"] != place():
            return None
        started = process_started(int(facts["pid"]))
    except (ValueError, LookupError, TypeError):
        return None
    if started == "":
        return None
    return bool(started == facts["started"])
