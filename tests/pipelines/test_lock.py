"""Two runs of one model name keep apart; the kernel frees the lock of a run that was killed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.interchange.errors import BadInput
from pipelines.lock import only_run

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from pipelines.lock import only_run
with only_run(Path(sys.argv[1]), "fabric", "first"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_of_a_model_name_is_refused_until_the_first_has_died(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        with (
            pytest.raises(BadInput, match=rf"'fabric' is under way .*run first, process {holder.pid}") as refused,
            only_run(tmp_path, "fabric", "second"),
        ):
            pass
        assert str(tmp_path) not in str(refused.value)  # Of a store on S3 it is the folder of its copies.
        with only_run(tmp_path, "another", "second"):
            pass
        holder.send_signal(signal.SIGKILL)
    with only_run(tmp_path, "fabric", "third"):
        pass
