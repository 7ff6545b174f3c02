"""A dataset artifact into a bucket, sha256 and manifest included, against the AWS CLI's copy of the same files."""

import sys
import uuid

from tests.benchmarks.duel import Target, alternate, report
from tests.benchmarks.transfer_place import SIZE_MIB, bench, copied, rate, removed, uploaded, version


def main(size_mib: int = SIZE_MIB) -> bool:
    """Rates in MiB a second."""
    with bench(size_mib) as place:

        def ours() -> float:
            uris: list[str] = []
            found = rate(place.mib, lambda: uris.append(uploaded(place)))
            removed(uris[0])
            return found

        def peer() -> float:
            target = f"{place.store}/artifacts/{uuid.uuid4().hex}"
            found = rate(place.mib, lambda: copied(place.artifact, target))
            removed(target)
            return found

        found = alternate(ours, peer, 3)
        return report(
            "store_upload", *found, version(), "MiB/s", Target(">=", 0.7), ("boto3",), mib=round(place.mib, 1)
        )


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
