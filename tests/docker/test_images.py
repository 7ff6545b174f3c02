"""The images: small, without root, without a compiler, each with what its family needs."""

import json
import os

import pytest

from tests.docker.conftest import PREFIX, TAG, docker

pytestmark = pytest.mark.slow
LIMITS_MB = {"control": 400, "ingest": 400, "latency": 600, "export": None, "train": None}
LEFTOVERS = "command -v gcc cc ld; ls /root/.cache /var/cache/apt/archives/*.deb"
TORCH = "python -c 'import torch' 2>/dev/null && echo torch || echo none"


@pytest.mark.parametrize("family", LIMITS_MB)
def test_an_image_is_what_it_should_be(family: str) -> None:
    image, limit_mb = f"{PREFIX}{family}:{TAG}", LIMITS_MB[family]
    inspected = json.loads(docker("image", "inspect", image))[0]
    base_bytes = int(docker("image", "inspect", "--format", "{{.Size}}", os.environ["BASE_IMAGE"]))
    size_mb = (inspected["Size"] - base_bytes) / 1e6
    print(f"{image}: {size_mb:.0f} MB above the base")

    assert inspected["Config"]["User"] == "1000:0"
    assert limit_mb is None or size_mb < limit_mb
    words = ["run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp", image]
    assert "--help" in docker(*words)
    assert docker(*words, "sh", "-c", LEFTOVERS, check=False) == ""
    assert docker(*words, "sh", "-c", TORCH).strip() == ("torch" if limit_mb is None else "none")
