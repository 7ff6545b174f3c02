"""Command line of the ingest step; with --shard that of one of its shares, which has flags of its own."""

import sys

from components.ingest.share.spec import IngestShare
from components.ingest.spec import Ingest
from components.interchange.cli import main

of_a_share = any(word.split("=")[0] == "--shard" for word in sys.argv[1:])
sys.exit(main(IngestShare if of_a_share else Ingest))
