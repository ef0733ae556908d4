"""`python -m reports` is the command `tritonmoe`."""

import sys

from .cli import main

sys.exit(main())
