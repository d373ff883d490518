"""What every test needs: shapes checked at run time, one thread, no network."""

import os

os.environ["WANDB_MODE"] = "disabled"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

from jaxtyping import install_import_hook

# Before any import of the package: from here on each annotated function and dataclass checks its arguments.
install_import_hook("sfvd_pl", "typechecker.check")

import torch
from hypothesis import settings

torch.set_num_threads(1)

# The same examples each time: a test must not fail for somebody else's change. No deadline: a busy machine is slow.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")
