"""Command line of the changes step."""

import sys

from components.changes.spec import Changes
from components.interchange.cli import main

sys.exit(main(Changes))
