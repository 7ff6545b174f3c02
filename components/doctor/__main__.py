"""Command line of the doctor step."""

import sys

from components.doctor.spec import Doctor
from components.interchange.cli import main

sys.exit(main(Doctor))
