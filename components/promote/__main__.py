"""Command line of the promote step."""

import sys

from components.interchange.cli import main
from components.promote.spec import Promote

sys.exit(main(Promote))
