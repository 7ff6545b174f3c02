"""How many threads are of use: as many as cores, or as a container's limit of CPU time allows."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.interchange import cores
from components.interchange.cores import time_limit
from tests.interchange.control_groups import write_groups

# Torch's own copy without torch, which takes seconds to import.
ITS_OPENMP = (
    "import ctypes, importlib.metadata as packages; "
    "ctypes.CDLL(packages.distribution('torch').locate_file('torch/lib/libgomp.so.1'))"
)
V1_HERE, V1_IN_DOCKER, V2 = "4:memory:/\n1:cpu,cpuacct:/pod/one\n0::/\n", "1:cpu:/docker/0123\n", "0::/pod/one\n"


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        (V2, {"pod/one/cpu.max": "150000 100000\n", "pod/cpu.max": "max 100000\n"}, 1.5),
        (V2, {"pod/one/cpu.max": "max 100000\n", "pod/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", {"cpu.max": "400000 100000\n"}, 4.0),
        (V2, {"pod/one/cpu.max": "max 100000\n"}, math.inf),
        (V2, {}, math.inf),
        (V1_HERE, {"cpu/pod/one/cpu.cfs_quota_us": "200000\n", "cpu/pod/one/cpu.cfs_period_us": "100000\n"}, 2.0),
        (V1_HERE, {"cpu/pod/one/cpu.cfs_quota_us": "-1\n", "cpu/pod/one/cpu.cfs_period_us": "100000\n"}, math.inf),
        (V1_IN_DOCKER, {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3.0),
        ("0::/../../else\n", {}, math.inf),
    ],
)  # fmt: skip
def test_the_least_limit_of_a_group_and_those_around_it_counts(
    tmp_path: Path, own: str, files: dict[str, str], limit: float
) -> None:
    assert time_limit(write_groups(tmp_path, own, files), tmp_path) == limit
    assert time_limit(tmp_path / "nowhere", tmp_path) == math.inf


@pytest.mark.parametrize(
    ("limit", "num_cores", "of_others"), [(0.5, 1, "1"), (1.5, 2, "2"), (1000.0, 3, "3"), (math.inf, 3, None)]
)
def test_threads_keep_to_the_limit_and_to_the_cores(
    monkeypatch: pytest.MonkeyPatch, limit: float, num_cores: int, of_others: str | None
) -> None:
    monkeypatch.setattr(cores, "_limit", lambda: limit)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores.prepare_threads()
    assert cores.num_cores() == num_cores
    assert cores.num_threads_if_limited() == int(of_others or 0)
    assert os.environ.get("OMP_NUM_THREADS") == of_others
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    cores.prepare_threads()
    assert os.environ["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize(
    ("given", "load", "said"),
    [
        ({}, "import torch", f"GOMP_SPINCOUNT = '{cores.SPINS}'"),
        ({"GOMP_SPINCOUNT": "7"}, ITS_OPENMP, "GOMP_SPINCOUNT = '7'"),
        ({"OMP_WAIT_POLICY": "active"}, ITS_OPENMP, "OMP_WAIT_POLICY = 'ACTIVE'"),
    ],
)
def test_threads_of_torch_that_wait_leave_the_core_to_others_unless_told_otherwise(
    given: dict[str, str], load: str, said: str
) -> None:
    code = f"from components.interchange.cores import prepare_threads; prepare_threads(); {load}"
    of_openmp = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environ = {name: value for name, value in os.environ.items() if name not in of_openmp} | given
    environ["OMP_DISPLAY_ENV"] = "verbose"  # OpenMP's library says what it goes by.
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert said in done.stderr


@pytest.mark.skipif(not os.access("/sys/fs/cgroup/cpu/tasks", os.W_OK), reason="no control groups of our own to make")
def test_a_process_in_a_limited_group_of_this_machine_has_one_core() -> None:
    group = Path(f"/sys/fs/cgroup/cpu/graft-test-{os.getpid()}")
    group.mkdir()
    try:
        (group / "cpu.cfs_quota_us").write_text("60000")
        code = (
            f"import os, pathlib; pathlib.Path('{group}/tasks').write_text(str(os.getpid()))\n"
            "from components.interchange.cores import prepare_threads, num_cores; prepare_threads()\n"
            "print(num_cores(), os.environ['OMP_NUM_THREADS'])"
        )
        environ = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["1", "1"]
    finally:
        group.rmdir()
