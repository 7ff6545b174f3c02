"""A dataset artifact out of a bucket, every sha256 checked, against the AWS CLI's copy of the same files."""

import shutil
import sys

from tests.benchmarks.duel import Target, alternate, report
from tests.benchmarks.transfer_place import SIZE_MIB, bench, copied, fetched, opened, rate, uploaded, version


def main(size_mib: int = SIZE_MIB) -> bool:
    """Rates in MiB a second."""
    with bench(size_mib) as place:
        uri = uploaded(place)
        store, digest = opened(uri), uri.rpartition("/")[2]

        def peer() -> float:
            found = rate(place.mib, lambda: copied(uri, place.folder / "copied"))
            shutil.rmtree(place.folder / "copied")
            return found

        found = alternate(lambda: rate(place.mib, lambda: fetched(store, digest)), peer, 3)
        return report(
            "store_download", *found, version(), "MiB/s", Target(">=", 0.7), ("boto3",), mib=round(place.mib, 1)
        )


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
