"""A real SeaweedFS in a container, on a docker network without a way out."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from sys import executable
from typing import Any

from tests.s3_server import ACCESS_KEY, BUCKET, SECRET_KEY, aws_settings

NETWORK, HOST, PORT = "graft-test", "graft-test-store", 8333


@dataclass(frozen=True)
class ClosedStore:
    """`address` is what this machine, and nothing beyond it, reaches the server by. `image` has Python and boto3."""

    address: str
    image: str
    docker: Callable[..., str]

    @property
    def inside(self) -> dict[str, str]:
        """The AWS settings of a container on the network."""
        return aws_settings(f"http://{HOST}:{PORT}")

    @property
    def outside(self) -> dict[str, str]:
        """The AWS settings of this machine."""
        return {**aws_settings(f"http://{self.address}:{PORT}"), "NO_PROXY": self.address}

    def python(self, code: str, *mounts: Path) -> Any:
        """What Python code in the image, on the network, prints as JSON."""
        variables = [word for name, value in self.inside.items() for word in ("--env", f"{name}={value}")]
        volumes = [word for mount in mounts for word in ("--volume", f"{mount}:{mount}:ro")]
        words = ["run", "--rm", "--network", NETWORK, *variables, *volumes, self.image, "python", "-c", code]
        return json.loads(self.docker(*words) or "null")

    def fill(self, source: Path, weights: Path) -> None:
        """Wait for the server, and upload a source of images as `source/` and weights."""
        self.python(WAIT_AND_FILL.format(source=source, weights=weights, bucket=BUCKET), source, weights)


@contextmanager
def running(image: str, docker: Callable[..., str]) -> Iterator[ClosedStore]:
    """The network and the server, for as long as the block lasts."""
    docker("network", "create", "--internal", NETWORK)
    try:
        docker(
            *("run", "--detach", "--name", HOST, "--network", NETWORK, "--tmpfs", "/data:mode=1777"),
            *("--volume", f"{Path(executable).parent / 'weed'}:/usr/bin/weed:ro"),
            *("--env", f"AWS_ACCESS_KEY_ID={ACCESS_KEY}", "--env", f"AWS_SECRET_ACCESS_KEY={SECRET_KEY}"),
            *(image, "weed", "mini", "-dir=/data", f"-bucket={BUCKET}", "-ip.bind=0.0.0.0", f"-s3.port={PORT}"),
            *("-webdav=false", "-admin.ui=false", "-master.telemetry=false"),
        )
        inspect = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        yield ClosedStore(docker("inspect", "--format", inspect, HOST).strip(), image, docker)
    except BaseException:
        print(docker("logs", "--tail", 30, HOST, check=False))
        raise
    finally:
        docker("rm", "--force", HOST, check=False)
        docker("network", "rm", NETWORK, check=False)


WAIT_AND_FILL = """
import time, boto3
from pathlib import Path
from botocore.exceptions import BotoCoreError, ClientError
client = boto3.client("s3")
for _ in range(60):
    try:
        client.head_bucket(Bucket="{bucket}")
        break
    except (BotoCoreError, ClientError) as error:
        said = error
        time.sleep(1)
else:
    raise SystemExit(str(said))
source, weights = Path("{source}"), Path("{weights}")
for path in sorted(source.rglob("*.*")):
    client.upload_file(str(path), "{bucket}", "source/" + str(path.relative_to(source)))
client.upload_file(str(weights), "{bucket}", weights.name)
"""
