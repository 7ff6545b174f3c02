"""Blobs in an S3 bucket, by boto3: endpoint, region, credentials and retries come from the usual AWS settings.

Swaps are conditional writes (If-Match, If-None-Match). Some stores accept these headers and ignore them, so the first
swap tries both on a key of its own; a store that then overwrites is refused before it can overwrite what counts.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from components.interchange.errors import BadInput

PROBE = ".conditional-writes"
SWAP_MARK = "graft-swap"
MISSING = ("NoSuchKey", "404", "NotFound")
REFUSED = ("PreconditionFailed", "412")
CREDENTIALS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired")
PERMISSION = ("AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem")
REGION = ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
CONFLICT_WAITS_S = (0.1, 0.2, 0.4, 0.8)


class S3Place:
    """The keys of `bucket` under `prefix`. Nothing is contacted before the first call."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self._swaps_are_safe = False

    @cached_property
    def _client(self) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise BadInput(f"s3://{self.bucket} needs boto3, which is not installed: install graft[s3].") from None
        # A session of its own: boto3's default one must not be shared by threads.
        return boto3.session.Session().client("s3", config=Config(connect_timeout=10))

    def get_with_tag(self, key: str) -> tuple[bytes, str] | None:
        """The bytes and their ETag, or None."""
        with self._readable("s3:GetObject", key):
            found = self._get(key)
            return None if found is None else (found["Body"].read(), found["ETag"])

    def put(self, key: str, data: bytes) -> None:
        """Write one object."""
        with self._readable("s3:PutObject", key):
            self._client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data)

    def put_file(self, key: str, path: Path) -> None:
        """Upload a file, a large one in parts; it is to be seen when the last part is there."""
        with path.open("rb") as stream, self._readable("s3:PutObject", key):
            self._client.upload_fileobj(stream, self.bucket, self.prefix + key)

    def get_file(self, key: str, path: Path) -> bool:
        """Download to a file; False where there is nothing."""
        from botocore.exceptions import ClientError

        with self._readable("s3:GetObject", key):
            try:
                with path.open("wb") as stream:
                    self._client.download_fileobj(self.bucket, self.prefix + key, stream)
            except ClientError as error:
                path.unlink()
                if _code(error) not in MISSING:
                    raise
                return False
        return True

    def sizes(self, prefix: str) -> dict[str, int]:
        """Keys that start with the string `prefix`, and their sizes in bytes."""
        with self._readable("s3:ListBucket", prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            objects = [found for page in pages for found in page.get("Contents", [])]
        sizes = {str(found["Key"]).removeprefix(self.prefix): int(found["Size"]) for found in objects}
        return {key: size for key, size in sizes.items() if not key.startswith(".")}

    def compare_and_swap(self, key: str, data: bytes, expected_tag: str | None) -> bool:
        """A conditional write; BadInput on a store that takes the condition and ignores it."""
        self._check_conditional_writes()
        mark = uuid.uuid4().hex
        written = self._put_if(key, data, expected_tag, mark)
        # An answer may get lost and the request be sent again, which the first one's success then refuses.
        return written or self._mark(key) == mark

    def _check_conditional_writes(self) -> None:
        if self._swaps_are_safe:
            return
        self._put_if(PROBE, b"", None, "")  # Makes the probe, or finds it there.
        ignored = [
            header
            for header, tag in (("If-None-Match", None), ("If-Match", f'"{"0" * 32}"'))
            if self._put_if(PROBE, b"", tag, "")
        ]
        if ignored:
            raise BadInput(
                f"s3://{self.bucket} ignores the condition of a write ({' and '.join(ignored)}), so two runs could "
                "overwrite each other's champion; nothing was changed. Use a store with conditional writes."
            )
        self._swaps_are_safe = True

    def _put_if(self, key: str, data: bytes, expected_tag: str | None, mark: str) -> bool:
        """One conditional write: False where the condition does not hold. `mark` says later whose write it was."""
        from botocore.exceptions import ClientError

        condition = {"IfNoneMatch": "*"} if expected_tag is None else {"IfMatch": expected_tag}
        with self._readable("s3:PutObject", key):
            for wait_s in (*CONFLICT_WAITS_S, None):
                try:
                    self._client.put_object(
                        Bucket=self.bucket, Key=self.prefix + key, Body=data, Metadata={SWAP_MARK: mark}, **condition
                    )
                    return True
                except ClientError as error:
                    if _code(error) in (*REFUSED, *MISSING):
                        return False
                    if _code(error) != "ConditionalRequestConflict" or wait_s is None:
                        raise
                    time.sleep(wait_s)  # Another write to the key is under way; the store asks to try again.
        raise AssertionError("the last try returns or raises")

    def _mark(self, key: str) -> str | None:
        with self._readable("s3:GetObject", key):
            found = self._get(key)
            if found is None:
                return None
            found["Body"].close()
            return str(found["Metadata"].get(SWAP_MARK))

    def _get(self, key: str) -> Any:
        from botocore.exceptions import ClientError

        try:
            return self._client.get_object(Bucket=self.bucket, Key=self.prefix + key)
        except ClientError as error:
            if _code(error) in MISSING:
                return None
            raise

    @contextmanager
    def _readable(self, permission: str, key: str) -> Iterator[None]:
        """A refusal of the store as one sentence that says where to change it."""
        from_client = self._client  # First: its absence has a message of its own.
        from botocore import exceptions as found

        where, endpoint = f"s3://{self.bucket}/{self.prefix}{key}", from_client.meta.endpoint_url
        try:
            yield
        except (found.NoCredentialsError, found.PartialCredentialsError) as error:
            raise BadInput(f"{where}: {error} Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.") from None
        except (found.ConnectionError, found.HTTPClientError) as error:
            raise BadInput(f"{where}: no answer from {endpoint} ({error}). Is AWS_ENDPOINT_URL right?") from None
        except found.ParamValidationError as error:
            raise BadInput(f"{where}: {error}") from None
        except found.ClientError as error:
            raise _refusal(error, where, endpoint, permission) from None


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _refusal(error: Any, where: str, endpoint: str, permission: str) -> Exception:
    """The BadInput for what a user can mend; any other error as it is."""
    code = _code(error)
    if code == "NoSuchBucket":
        return BadInput(f"{where}: there is no such bucket at {endpoint}. Make it, or change --store.")
    if code in CREDENTIALS:
        return BadInput(f"{where}: {endpoint} does not accept the credentials ({code}). See AWS_ACCESS_KEY_ID.")
    if code in PERMISSION:
        return BadInput(f"{where}: no permission for {permission} ({code}). Graft needs Get, Put and List.")
    if code in REGION:
        return BadInput(f"{where}: the bucket is in another region ({code}). Set AWS_REGION.")
    if code in ("NotImplemented", "501"):
        return BadInput(f"{where}: {endpoint} has no conditional writes ({code}). Use a store that has them.")
    return error if isinstance(error, Exception) else RuntimeError(error)
