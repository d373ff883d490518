"""Hand a journal to Weights & Biases, in a process of its own: ``python -m sfvd_pl.modules.upload JOURNAL``.

A W&B client can wait for a server for minutes when it starts, when it ends and when Python exits, and loses what it
has not sent when it is killed. Here none of that can reach a training: it writes its journal, and this process, which
imports neither torch nor Lightning, follows the file. Killed with the training or given up at its end, it has lost
nothing: the next one asks the server for the last step that it has and goes on behind it.
"""

import argparse
import fcntl
import os
import re
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sfvd_pl.modules.journal import parsed, read_lines, run_of

HOST = "api.wandb.ai"
PROBE_SECONDS = 3.0
"""How long the server may take to answer before it counts as unreachable."""
RETRY_SECONDS = 60.0
"""Between two attempts to reach it."""
FINISH_SECONDS = 30.0
"""How much longer than the training an upload may take (``WANDB_FINISH_TIMEOUT``)."""
START_SHARE = 1 / 6
"""The share of it for one that the server has not even let begin."""
POLL_SECONDS = 0.5


def reachable(seconds: float = PROBE_SECONDS) -> bool:
    """Whether something answers where the W&B server should be."""
    if any(
        os.environ.get(name)
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY")
    ):
        return True  # only the proxy knows
    address = urlsplit(os.environ.get("WANDB_BASE_URL", f"https://{HOST}"))
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or HOST, port), seconds).close()
    except OSError:
        return False
    return True


def finish_seconds() -> float:
    """How long the end of a training may wait for an upload that has begun."""
    with suppress(ValueError):
        return (
            float(os.environ["WANDB_FINISH_TIMEOUT"])
            if "WANDB_FINISH_TIMEOUT" in os.environ
            else FINISH_SECONDS
        )
    return FINISH_SECONDS


def _mark(journal: Path) -> Path:
    """The file beside a journal that says how many of its lines W&B has."""
    return journal.with_name(f".{journal.stem}.uploaded")


def uploaded(journal: Path) -> int:
    """How many lines of a journal, the first included, W&B is known to have."""
    try:
        return int(_mark(journal).read_text())
    except (OSError, ValueError):
        return 0


class Writer:
    """The process that writes the journal, seen from here.

    Args:
        follow: Whether there is one: it holds this process's standard input, and says a line or dies when it is done.
        say: Told when the upload is given up.
    """

    def __init__(self, follow: bool, say: Callable[[str], None]) -> None:
        self.started = False
        self._parent = os.getppid()
        self._say = say
        self._done = threading.Event()
        if follow:
            threading.Thread(target=self._watch, daemon=True).start()
        else:
            self._done.set()

    def done(self, seconds: float = 0.0) -> bool:
        """Whether no more lines will come; waits for it at most so long."""
        return self._done.wait(seconds)

    def _watch(self) -> None:
        while os.getppid() == self._parent and not select.select([sys.stdin], [], [], 1.0)[0]:
            pass
        self._done.set()
        begun = time.monotonic()
        while time.monotonic() - begun < finish_seconds() * (1 if self.started else START_SHARE):
            time.sleep(0.1)
        self._say(
            "the server takes too long; what it lacks is handed over by the next attempt or by `sfvd wandb`"
        )
        os.killpg(0, signal.SIGKILL)


def rows(journal: Path, writer: Writer) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines behind the first one with their numbers, as they appear, until the writer is done."""
    with journal.open("rb") as file:
        file.readline()
        number, last = 0, False
        while True:
            place = file.tell()
            line = file.readline()
            if line.endswith(b"\n"):
                yield number, parsed(line)
                number += 1
                continue
            if last:
                return
            file.seek(place)
            last = writer.done(POLL_SECONDS)


def start(run: dict[str, Any], folder: Path, follow: bool) -> Any:
    """The W&B run, begun or resumed."""
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_INIT_TIMEOUT", "30")
    # The training's processor and memory are worth a curve, this process's are not.
    stats = {"x_stats_pid": os.getppid()} if follow else {"x_disable_stats": True}
    settings = wandb.Settings(console="off", finish_timeout=0, **stats)
    return wandb.init(dir=str(folder), mode="online", resume="allow", settings=settings, **run)


def send(run: Any, number: int, row: dict[str, Any], folder: Path) -> None:
    """Log one line as W&B's step of that number."""
    import wandb

    content: dict[str, Any] = row.get("content", {})
    match row.get("kind"):
        case "config":
            run.config.update(content, allow_val_change=True)
            return
        case "images":
            content = {k: [wandb.Image(path) for path in there(paths, folder)] for k, paths in content.items()}
        case "videos":
            content = {k: [wandb.Video(path) for path in there(paths, folder)] for k, paths in content.items()}
        case "table":
            content = {
                k: wandb.Table(columns=table["columns"], data=table["data"]) for k, table in content.items()
            }
    if row.get("step") is not None:
        content = {**content, "trainer/global_step": row["step"]}
    run.log({**content, "_timestamp": row.get("time", time.time())}, step=number, commit=True)


def there(paths: list[str], folder: Path) -> list[str]:
    """Those that still exist; a picture that somebody has removed is no reason to hold back what follows."""
    return [str(folder / path) for path in paths if (folder / path).exists()]


def upload(journal: Path, follow: bool, say: Callable[[str], None]) -> bool:
    """Hand over all that the server lacks, and what is written meanwhile.

    Args:
        journal: The file.
        follow: Whether a training writes it; then an unreachable server is tried again as long as it goes on.
        say: Told what is wrong.

    Returns:
        Whether W&B has all of it.
    """
    writer = Writer(follow, say)
    with journal.open("rb") as lock:
        with suppress(OSError):  # a network disk without locks
            fcntl.flock(lock, fcntl.LOCK_EX)  # the upload of an earlier attempt ends first
        about = run_of(read_lines(journal)) or {}
        run = None
        while run is None:
            try:
                if not reachable():
                    raise OSError("the server can't be reached")
                run = start(about, journal.parent, follow)
            except Exception as error:
                say(f"{first_line(error)}; the run stays on the disk, `sfvd wandb` hands it over later")
                if writer.done(RETRY_SECONDS):
                    return False
        writer.started = True
        _define_axes(run)
        count, whole = 0, True
        for number, row in rows(journal, writer):
            if number >= run.starting_step or row.get("kind") == "config":
                try:
                    send(run, number, row, journal.parent)
                except Exception as error:  # no row behind it, or the server would be thought to have it
                    say(f"{first_line(error)}; the rest stays on the disk, `sfvd wandb` hands it over later")
                    whole = False
                    break
            count = number + 1
        run.finish()
    with suppress(OSError):
        if whole:
            _mark(journal).write_text(f"{count + 1}\n")
    return whole


def _define_axes(run: Any) -> None:
    """As Lightning's own logger: curves over the optimiser step."""
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)


def first_line(error: BaseException) -> str:
    """What an error says, without what follows."""
    return re.sub(r"\s+", " ", str(error).strip().partition("\n")[0])[:200] or type(error).__name__


def main() -> int:
    """Hand over one journal and say the first thing that is wrong; status 1 where something is left."""
    parser = argparse.ArgumentParser(prog="python -m sfvd_pl.modules.upload", description=__doc__)
    parser.add_argument("journal", type=Path)
    parser.add_argument("--follow", action="store_true", help="until standard input has a line or ends")
    arguments = parser.parse_args()
    said: list[str] = []

    def say(text: str) -> None:
        if not said:
            said.append(text)
            with suppress(OSError):  # nobody listens any more
                print(text, flush=True)

    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return int(not upload(arguments.journal, arguments.follow, say))


if __name__ == "__main__":
    sys.exit(main())
