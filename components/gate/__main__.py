"""Command line of the gate step."""

import sys

from components.gate.spec import Gate
from components.interchange.cli import main

sys.exit(main(Gate))
