"""A real S3 server for tests: SeaweedFS on free ports of 127.0.0.1, ended by its own process id."""

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ACCESS_KEY, SECRET_KEY, BUCKET = "graft-tests", "graft-tests-secret", "graft"
START_LIMIT_S = 30.0
PORTS = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3", "admin") for kind in ("", ".grpc")]


@dataclass(frozen=True)
class S3Server:
    """`bucket` exists and is empty; other buckets are not made by writing to them."""

    endpoint: str
    bucket: str

    def settings(self) -> dict[str, str]:
        """The AWS settings of a client, which hide those of the machine."""
        return aws_settings(self.endpoint)

    def new_store(self) -> str:
        """URI of an empty store."""
        return f"s3://{self.bucket}/{uuid.uuid4().hex}"


def aws_settings(endpoint: str) -> dict[str, str]:
    """The usual AWS settings for a server of the tests; one try a request, no search for credentials elsewhere."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "2",
        "NO_PROXY": "127.0.0.1",
    }


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:  # All at once, so that no port comes twice.
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def seaweedfs(folder: Path) -> Iterator[S3Server]:
    """Run SeaweedFS with its data in `folder`; RuntimeError with its log where it does not come up."""
    ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    command = [str(Path(sys.executable).parent / "weed"), "mini", f"-dir={folder}", f"-bucket={BUCKET}"]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-admin.ui=false", "-webdav=false"]
    command += ["-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += ["-s3.localSocket=s3.sock", "-filer.localSocket=filer.sock"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    server = S3Server(f"http://127.0.0.1:{ports['s3.port']}", BUCKET)
    environment = {**os.environ, **server.settings()}
    log = folder / "weed.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    try:
        _wait_until_up(process, server, log)
        yield server
    finally:
        process.kill()  # At once: its data are thrown away.
        process.wait(10)
        for name, port in ports.items():  # Its sockets, at places of its own choice.
            Path(f"/tmp/seaweedfs-{name.replace('.port.', '-')}-{port}.sock").unlink(missing_ok=True)


def _wait_until_up(process: subprocess.Popen[bytes], server: S3Server, log: Path) -> None:
    import boto3  # Here: tests that need no S3 do not wait for it.
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    config = Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1})
    client = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1").client(
        "s3", endpoint_url=server.endpoint, config=config
    )
    deadline = time.monotonic() + START_LIMIT_S
    try:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                client.head_bucket(Bucket=server.bucket)
                return
            except (BotoCoreError, ClientError):
                time.sleep(0.1)
    finally:
        client.close()
    raise RuntimeError(f"SeaweedFS did not start (exit status {process.poll()}):\n{log.read_text()[-2000:]}")
