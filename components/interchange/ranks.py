"""Which of the processes this is that torchrun starts for one step, and who of them says what went wrong."""

import hashlib
import json
import os
import time
from pathlib import Path


def is_first() -> bool:
    """Whether this is the only process, or the first of several: the one that publishes and speaks."""
    return os.environ.get("RANK", "0") == "0"


def first_to_say(words: str) -> bool:
    """Whether no process beside this one has said these words: what is wrong with the input is wrong for all of them,
    but a GPU, or a disk, may fail one alone. torchrun hears of it in any case, for its own last words.
    """
    given = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not given:
        return True
    error_file = Path(given)  # ATTEMPT/LOCAL_RANK/error.json; the attempt's folder is torchrun's to remove.
    told = {"message": words, "extraInfo": {"timestamp": str(int(time.time()))}}
    try:
        error_file.parent.mkdir(parents=True, exist_ok=True)
        error_file.write_text(json.dumps({"message": told}), encoding="utf-8")
        (error_file.parents[1] / f"{hashlib.sha256(words.encode()).hexdigest()}.said").touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True
    return True
