"""Command line of the ingest_merge step."""

import sys

from components.ingest.merge.spec import IngestMerge
from components.interchange.cli import main

sys.exit(main(IngestMerge))
