"""Command line of the evaluate step."""

import sys

from components.evaluate.spec import Evaluate
from components.interchange.cli import main

sys.exit(main(Evaluate))
