"""Command line of the ingest step."""

import sys

from components.ingest.spec import Ingest
from components.interchange.cli import main

sys.exit(main(Ingest))
