"""Command line of the latency step."""

import sys

from components.interchange.cli import main
from components.latency.spec import Latency

sys.exit(main(Latency))
