"""`store_download` with an artifact of 1 GiB."""

import sys

from tests.benchmarks.store_download import main
from tests.benchmarks.transfer_place import LONG_MIB

if __name__ == "__main__":
    sys.exit(0 if main(LONG_MIB) else 1)
