"""Names of files that aren't whole yet."""

import os
import socket
from pathlib import Path


def partial_path(path: Path) -> Path:
    """Where this process writes what is to become ``path``: beside it, apart from the processes of other machines."""
    return path.with_name(f".{path.name}.partial-{os.getpid()}-{socket.gethostname()}")
