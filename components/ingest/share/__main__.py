"""Command line of a share of ingest."""

import sys

from components.ingest.share.spec import IngestShare
from components.interchange.cli import main

sys.exit(main(IngestShare))
