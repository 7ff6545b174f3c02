"""Command line of the record step."""

import sys

from components.interchange.cli import main
from components.record.spec import Record

sys.exit(main(Record))
