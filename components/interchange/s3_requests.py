"""Requests to S3 by boto3: the client and its retries, transfers of files, and errors as one sentence.

botocore tries again, with back-off, what did not reach the store or was refused in passing; an answer that breaks off
half-way it does not, so that is done here.
"""

import time
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any, TypeVar

from components.interchange.errors import BadInput
from components.interchange.s3_refusals import code_of, told

T = TypeVar("T")
MISSING = ("NoSuchKey", "404", "NotFound")
CONDITION_FAILED = ("PreconditionFailed", "412")
PASSING = ("ConditionalRequestConflict", "BadDigest", "XAmzContentSHA256Mismatch")
TOTAL_TRIES = 7  # With botocore's back-off some 30 seconds; AWS_MAX_ATTEMPTS says otherwise.
WAITS_S = (0.1, 0.2, 0.4, 0.8)
IN_FLIGHT = 16
CONNECT_S, READ_S = 10, 60
PART_BYTES = 16 << 20
SETTINGS = (
    "Check the AWS settings: AWS_ENDPOINT_URL (http://HOST:PORT), AWS_PROFILE, credentials, the file they are in."
)


class Requests:
    """A client for `bucket`. Nothing is contacted, nor boto3 imported, before the first request."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket

    @cached_property
    def client(self) -> Any:
        """boto3's client, with the usual AWS settings; BadInput where they are wrong."""
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ImportError:
            raise BadInput(f"s3://{self.bucket} needs boto3, which is not installed: install graft[s3].") from None
        try:
            session = boto3.session.Session()  # Of its own: boto3's default one must not be shared by threads.
            core = session._session
            core.register_component("data_loader", _descriptions(core.get_config_variable("data_path")))
            given = core.get_config_variable("max_attempts")
            config = Config(
                connect_timeout=CONNECT_S,
                read_timeout=READ_S,
                max_pool_connections=2 * IN_FLIGHT,
                # Under `standard` all requests share 35 tries more: 16 in flight have spent them in 0.2 seconds.
                retries={"mode": "legacy", "total_max_attempts": TOTAL_TRIES if given is None else int(given)},
            )
            return session.client("s3", config=config)
        except (BotoCoreError, ValueError) as error:
            raise BadInput(f"s3://{self.bucket}: {error}. {SETTINGS}") from None

    def transfers(self) -> Any:
        """A manager of transfers; it ends those under way when it is left by an exception."""
        client = self.client  # First: the absence of boto3 has a message of its own.
        from boto3.s3.transfer import TransferConfig, create_transfer_manager

        config = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=IN_FLIGHT
        )
        return create_transfer_manager(client, config)

    def listed(self, prefix: str, **more: str) -> list[dict[str, Any]]:
        """The pages of a listing of the keys that start with the string `prefix`."""

        def pages() -> list[dict[str, Any]]:
            listing = self.client.get_paginator("list_objects_v2")
            return list(listing.paginate(Bucket=self.bucket, Prefix=prefix, **more))

        return self.asked(pages, "s3:ListBucket", prefix)

    def asked(self, call: Callable[[], T], permission: str, key: str, again: Callable[[], T] | None = None) -> T:
        """What `call` gives. A broken answer is asked for `again`, after a wait; BadInput where the store refuses."""
        endpoint = self.client.meta.endpoint_url  # First: the absence of boto3 has a message of its own.
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError
        from s3transfer.exceptions import RetriesExceededError

        for wait_s in (*WAITS_S, None):
            try:
                return call()
            except (ClientError, BotoCoreError, Boto3Error, RetriesExceededError) as error:
                if wait_s is None or not _is_passing(error):
                    raise told(error, f"s3://{self.bucket}/{key}", endpoint, permission) from None
            time.sleep(wait_s)
            call = again or call
        raise AssertionError("the last try returns or raises")


@cache
def _descriptions(data_path: str | None) -> Any:
    """botocore's descriptions of S3, which take longer to parse than all else of a client; once a process is enough."""
    from botocore.loaders import create_loader

    return create_loader(data_path)


def unless_missing(call: Callable[[], T]) -> T | None:
    """What `call` gives; None where there is no such object."""
    from botocore.exceptions import ClientError

    try:
        return call()
    except ClientError as error:
        if code_of(error) in MISSING:
            return None
        raise


def _is_passing(error: Exception) -> bool:
    """Whether an error may be gone at the next try, and is none that botocore has tried again already."""
    from botocore import exceptions as found
    from botocore.parsers import ResponseParserError
    from s3transfer.exceptions import RetriesExceededError

    if isinstance(error, found.ClientError):
        return code_of(error) in PASSING
    broken = (found.IncompleteReadError, found.ResponseStreamingError, found.FlexibleChecksumError)
    return isinstance(error, (*broken, found.ReadTimeoutError, ResponseParserError, RetriesExceededError))
