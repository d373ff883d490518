"""``python -m sfvd_pl`` is ``sfvd``."""

import sys

from sfvd_pl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
