"""Command line of the finetune step."""

import sys

from components.finetune.spec import Finetune
from components.interchange.cli import main

sys.exit(main(Finetune))
