"""What Graft imports reports to nobody."""

import os
import subprocess
import sys
from pathlib import Path

SWITCHES = ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "CI")  # With CI onnxruntime is quiet.


def test_onnxruntime_counts_nobody(tmp_path: Path) -> None:
    """Left alone it writes the machine's number and waiting reports to the home folder while it is being imported."""
    environment = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    code = "import components.interchange.providers"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert not list(tmp_path.iterdir())


def test_who_wants_to_be_counted_is(tmp_path: Path) -> None:
    code = "import components, os; print(os.environ['ORT_DISABLE_TELEMETRY'], os.environ['HF_HUB_DISABLE_TELEMETRY'])"
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, timeout=60, capture_output=True, text=True
    )
    assert done.stdout.split() == ["0", "1"]
