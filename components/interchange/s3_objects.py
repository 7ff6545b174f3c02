"""Objects of a bucket to read: listed, and each read as it was listed or not at all."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

from components.interchange.errors import BadInput
from components.interchange.s3_refusals import code_of
from components.interchange.s3_requests import CONDITION_FAILED, MISSING, Requests, unless_missing

SCHEME = "s3://"


class ObjectChanged(Exception):
    """The object is no longer the one that was listed."""


class S3Object(NamedTuple):
    """A key with its size in bytes and its ETag."""

    key: str
    num_bytes: int
    tag: str


class Bucket:
    """A bucket to read from. Nothing is contacted before the first call."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._requests = Requests(name)

    def objects(self, prefix: str) -> list[S3Object]:
        """All objects whose keys start with the string `prefix`, sorted by key."""
        found = [one for page in self._requests.listed(prefix) for one in page.get("Contents", [])]
        return sorted(S3Object(str(one["Key"]), int(one["Size"]), str(one["ETag"])) for one in found)

    def find(self, key: str) -> S3Object | None:
        """One object, or None."""
        ask = partial(self._requests.client.head_object, Bucket=self.name, Key=key)
        found = self._requests.asked(lambda: unless_missing(ask), "s3:GetObject", key)
        return None if found is None else S3Object(key, int(found["ContentLength"]), str(found["ETag"]))

    def find_around(self, key: str, suffixes: tuple[str, ...]) -> S3Object | None:
        """The object that has one of these suffixes and would be a folder of the key's: an archive it lies in."""
        parts = key.split("/")
        above = ["/".join(parts[:number]) for number in range(len(parts) - 1, 0, -1)]
        return next((found for one in above if one.lower().endswith(suffixes) and (found := self.find(one))), None)

    def read(self, listed: S3Object) -> bytes:
        """The object's bytes; ObjectChanged where it is gone or has another ETag than when it was listed."""

        def get() -> bytes | None:
            from botocore.exceptions import ClientError

            try:
                found = self._requests.client.get_object(Bucket=self.name, Key=listed.key, IfMatch=listed.tag)
            except ClientError as error:
                if code_of(error) in (*MISSING, *CONDITION_FAILED):
                    return None
                raise
            if found["ETag"] != listed.tag:  # Some stores ignore the condition.
                found["Body"].close()
                return None
            return bytes(found["Body"].read())

        data = self._requests.asked(get, "s3:GetObject", listed.key)
        if data is None:
            gone = self.find(listed.key) is None
            raise ObjectChanged("it was there when the source was listed" if gone else "its ETag is another one now")
        return data

    def download(self, listed: S3Object, path: Path) -> None:
        """The object as a file, in parts, several at a time; ObjectChanged as `read` raises it."""
        with path.open("wb") as stream:
            get = partial(self._requests.client.download_fileobj, self.name, listed.key, stream)
            self._requests.asked(get, "s3:GetObject", listed.key, again=lambda: (stream.seek(0), get()))
        if self.find(listed.key) != listed:
            raise ObjectChanged("it changed while it was read")


def bucket_and_key(uri: str) -> tuple[Bucket, str]:
    """The bucket and the key or prefix that an s3:// URI names; BadInput where it names no bucket."""
    name, _, key = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or not name:
        raise BadInput(f"{uri}: expected s3://BUCKET/PREFIX.")
    return Bucket(name), key.strip("/")
