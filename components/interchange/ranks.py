"""Which of the processes this is that torchrun starts for one step."""

import os


def is_first() -> bool:
    """Whether this is the only process, or the first of several: the one that publishes and speaks."""
    return os.environ.get("RANK", "0") == "0"
