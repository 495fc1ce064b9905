"""`python -m pipeline.cli`, for where the console script is not installed."""

import sys

from pipeline.cli.main import main

sys.exit(main())
