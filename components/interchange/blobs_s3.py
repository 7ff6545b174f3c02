"""Blobs in an S3 bucket, by boto3: endpoint, region and credentials come from the usual AWS settings.

Swaps are conditional writes (If-Match, If-None-Match). Some stores accept these headers and ignore them, so the first
swap tries both on a key of its own; a store that then overwrites is refused before it can overwrite what counts.
"""

import hashlib
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

from components.interchange.errors import BadInput
from components.interchange.s3_refusals import code_of
from components.interchange.s3_requests import CONDITION_FAILED, MISSING, Requests, unless_missing

PROBE = ".conditional-writes"
SWAP_MARK = "graft-swap"
DELETED_AT_ONCE = 1000


class S3Place:
    """The keys of `bucket` under `prefix`. Nothing is contacted before the first call."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self._requests = Requests(bucket)
        self._swaps_are_safe = False

    def get_with_tag(self, key: str) -> tuple[bytes, str] | None:
        """The bytes and their ETag, or None."""

        def read() -> tuple[bytes, str] | None:
            found = self._get(key)
            return None if found is None else (found["Body"].read(), found["ETag"])

        return self._requests.asked(read, "s3:GetObject", self.prefix + key)

    def put(self, key: str, data: bytes) -> None:
        """Write one object."""
        name = self.prefix + key
        write = partial(self._requests.client.put_object, Bucket=self.bucket, Key=name, Body=data)
        self._requests.asked(write, "s3:PutObject", name)

    def put_file(self, key: str, path: Path) -> None:
        """Upload a file, a large one in parts; it is to be seen when the last part is there."""
        list(self.put_files({key: path}))

    def get_file(self, key: str, path: Path) -> bool:
        """Download to a file; False where there is nothing."""
        list(self.get_files({key: path}))
        return path.exists()

    def put_files(self, files: Mapping[str, Path]) -> Iterator[str]:
        """`put_file` of several at a time; yields each key when it is done."""
        with self._requests.transfers() as transfers:

            def start(name: str, path: Path) -> Any:
                return transfers.upload(str(path), self.bucket, name)

            yield from self._transferred(files, start, "s3:PutObject")

    def get_files(self, files: Mapping[str, Path]) -> Iterator[str]:
        """`get_file` of several at a time; yields each key when it is done, found or not."""
        with self._requests.transfers() as transfers:

            def start(name: str, path: Path) -> Any:
                return transfers.download(self.bucket, name, str(path))

            yield from self._transferred(files, start, "s3:GetObject")

    def _transferred(
        self, files: Mapping[str, Path], start: Callable[[str, Path], Any], permission: str
    ) -> Iterator[str]:
        under_way = {key: start(self.prefix + key, path) for key, path in files.items()}

        def again(key: str) -> None:
            unless_missing(start(self.prefix + key, files[key]).result)

        for key, transfer in under_way.items():
            first = partial(unless_missing, transfer.result)
            self._requests.asked(first, permission, self.prefix + key, partial(again, key))
            yield key

    def sha256(self, key: str) -> str | None:
        """sha256 of a key's bytes, or None."""

        def read() -> str | None:
            found = self._get(key)
            if found is None:
                return None
            sha256 = hashlib.sha256()
            for chunk in found["Body"].iter_chunks(1 << 20):
                sha256.update(chunk)
            return sha256.hexdigest()

        return self._requests.asked(read, "s3:GetObject", self.prefix + key)

    def entries(self, prefix: str) -> dict[str, tuple[int, datetime]]:
        """Keys that start with the string `prefix`: their sizes in bytes, and when they were written (UTC)."""
        pages = self._requests.listed(self.prefix + prefix)
        objects = [found for page in pages for found in page.get("Contents", [])]
        found = {str(one["Key"]).removeprefix(self.prefix): (int(one["Size"]), one["LastModified"]) for one in objects}
        return {key: entry for key, entry in found.items() if not key.startswith(".")}

    def children(self, folder: str) -> list[str]:
        """Names of the folders right under `folder`."""
        pages = self._requests.listed(f"{self.prefix}{folder}/", Delimiter="/")
        found = [str(one["Prefix"]) for page in pages for one in page.get("CommonPrefixes", [])]
        return [name.rstrip("/").rpartition("/")[2] for name in found]

    def delete(self, keys: Collection[str]) -> None:
        """Remove keys; those that are not there are no error."""
        names = [self.prefix + key for key in keys]
        for start in range(0, len(names), DELETED_AT_ONCE):
            some = [{"Key": name} for name in names[start : start + DELETED_AT_ONCE]]
            remove = partial(
                self._requests.client.delete_objects, Bucket=self.bucket, Delete={"Objects": some, "Quiet": True}
            )
            for one in self._requests.asked(remove, "s3:DeleteObject", names[start]).get("Errors", []):
                raise BadInput(f"s3://{self.bucket}/{one['Key']} cannot be removed: {one['Code']} {one['Message']}")

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
        where = {"Bucket": self.bucket, "Key": self.prefix + key, "Metadata": {SWAP_MARK: mark}}

        def write() -> bool:
            try:
                self._requests.client.put_object(**where, Body=data, **condition)
            except ClientError as error:
                if code_of(error) not in (*CONDITION_FAILED, *MISSING):
                    raise
                return False
            return True

        return self._requests.asked(write, "s3:PutObject", self.prefix + key)

    def server_time(self) -> datetime:
        """The store's own clock, by the header `Date` of an answer (UTC, whole seconds)."""
        ask = partial(self._requests.client.list_objects_v2, Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)
        answer = self._requests.asked(ask, "s3:ListBucket", self.prefix)
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])

    def identity(self) -> str:
        """Where the credentials come from, in boto3's words: `env`, `assume-role-with-web-identity`, …; no secret."""
        import boto3

        found = boto3.session.Session().get_credentials()
        return "nowhere" if found is None else str(found.method)

    def _mark(self, key: str) -> str | None:
        def read() -> str | None:
            found = self._get(key)
            if found is None:
                return None
            found["Body"].close()
            return str(found["Metadata"].get(SWAP_MARK))

        return self._requests.asked(read, "s3:GetObject", self.prefix + key)

    def _get(self, key: str) -> Any:
        get = partial(self._requests.client.get_object, Bucket=self.bucket, Key=self.prefix + key)
        return unless_missing(get)
