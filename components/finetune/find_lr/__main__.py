"""Command line of the learning-rate range test."""

import sys

from components.finetune.find_lr.spec import FindLr
from components.interchange.cli import main

sys.exit(main(FindLr))
