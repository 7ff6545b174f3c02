"""A store: reachable, writable, with conditional writes, large objects in parts, and a clock like ours."""

import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from components.doctor.check import Check, State, checked
from components.interchange.blobs import Blobs, open_blobs
from components.interchange.blobs_disk import DiskPlace
from components.interchange.blobs_s3 import S3Place
from components.interchange.errors import BadInput
from components.interchange.s3_requests import PART_BYTES

FOLDER = "doctor"
SKEW_WARN_S, SKEW_FAIL_S = 60, 600  # S3 refuses requests that are 15 minutes off.
REACH = (
    "Check --store, AWS_ENDPOINT_URL, the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the service "
    "account's role), and that a network policy lets this through. Graft needs Get, Put, List and Delete."
)
PARTS = "The store, or what stands before it, refuses uploads in parts. Raise its limits, or go round the proxy."
CONDITIONS = (
    "Two runs at once could overwrite each other's champion. Use a store that has If-Match and If-None-Match: AWS S3, "
    "MinIO, Ceph from 20, SeaweedFS from 4."
)


def store_checks(uri: str) -> list[Check]:
    """Every check of a store; where nothing can be written, that one alone."""
    reach = REACH if uri.startswith("s3://") else "Check --store, and who may write to that folder."
    try:
        blobs = open_blobs(uri)
    except BadInput as error:
        return [Check("store", "fail", str(error), reach)]
    key = f"{FOLDER}/{uuid.uuid4().hex}"
    with _left_as_found(blobs.place):
        try:
            written = checked("store", lambda: _written(blobs, key), reach)
            if written.state == "fail":
                return [written]
            found = [written, checked("conditional writes", lambda: _swapped(blobs, key), CONDITIONS)]
            if isinstance(blobs.place, S3Place):
                found += [checked("multipart", lambda: _in_parts(blobs, key), PARTS), _clock(blobs.place.server_time)]
            return found
        finally:
            _tidied(blobs, key)


def _written(blobs: Blobs, key: str) -> str:
    data = uuid.uuid4().bytes
    blobs.put(key, data)
    if blobs.get(key) != data:
        raise BadInput(f"{blobs.uri}/{key} does not hold what was written to it a moment ago.")
    if key not in blobs.list(f"{FOLDER}/"):
        raise BadInput(f"{blobs.uri}/{key} was written, but is not listed.")
    blobs.delete(key)
    if blobs.get(key) is not None:
        raise BadInput(f"{blobs.uri}/{key} is still there after it was deleted.")
    by = f", credentials from {blobs.place.identity()}" if isinstance(blobs.place, S3Place) else ""
    return f"{blobs.uri}: put, get, list and delete{by}"


def _swapped(blobs: Blobs, key: str) -> str:
    """As the champion's pointer is swapped: once into nothing, never twice, never from an old tag."""
    first = blobs.compare_and_swap(key, b"one", None)
    again = blobs.compare_and_swap(key, b"two", None)
    found = blobs.get_with_tag(key)
    stale = blobs.compare_and_swap(key, b"three", "0" * 32)
    fresh = found is not None and blobs.compare_and_swap(key, b"four", found[1])
    if (first, again, stale, fresh) != (True, False, False, True):
        raise BadInput(
            f"{blobs.uri}: conditional writes answer {first, again, stale, fresh}, expected one winner each."
        )
    return "of several writers one wins"


def _in_parts(blobs: Blobs, key: str) -> str:
    size_bytes = PART_BYTES + (1 << 20)
    with tempfile.TemporaryDirectory(prefix="graft-doctor-") as folder:
        sent, came = Path(folder) / "sent", Path(folder) / "came"
        sent.write_bytes(uuid.uuid4().bytes * (size_bytes // 16))
        blobs.put_file(key, sent)
        if not blobs.get_file(key, came) or came.read_bytes() != sent.read_bytes():
            raise BadInput(f"{blobs.uri}/{key} does not come back as it was sent, in parts.")
    return f"{size_bytes / 2**20:.0f} MiB in two parts, there and back"


def _clock(server_time: Callable[[], datetime]) -> Check:
    try:
        skew_s = (datetime.now(UTC) - server_time()).total_seconds()
    except (BadInput, KeyError, ValueError) as error:
        return Check("clock", "warn", f"the store does not say what time it is ({error})", "Check the clocks by hand.")
    found = f"{skew_s:+.0f} s from the store's"
    if abs(skew_s) <= SKEW_WARN_S:
        return Check("clock", "ok", found)
    state: State = "fail" if abs(skew_s) > SKEW_FAIL_S else "warn"
    return Check("clock", state, found, "Let both follow a time server (NTP): S3 refuses requests 15 minutes off.")


@contextmanager
def _left_as_found(place: DiskPlace | S3Place) -> Iterator[None]:
    """Folders that were not there before are gone afterwards, unless somebody else has begun to use them."""
    if not isinstance(place, DiskPlace) or place.root.exists():
        yield
        return
    made = [place.root, *(folder for folder in place.root.parents if not folder.exists())]
    try:
        yield
    finally:
        with suppress(OSError):
            if {entry.name for entry in place.root.iterdir()} <= {".partial", ".lock"}:
                (place.root / ".lock").unlink(missing_ok=True)
                for folder in (place.root / ".partial", *made):
                    folder.rmdir()


def _tidied(blobs: Blobs, key: str) -> None:
    try:
        blobs.delete(key)
    except (BadInput, OSError):  # What cannot be deleted has failed a check already.
        return
