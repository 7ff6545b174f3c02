"""What the names of files say: which are manifests, which are archives. Loads nothing."""

MANIFEST_SUFFIXES = (".csv", ".jsonl", ".parquet")
ZIP_SUFFIX, TAR_SUFFIX, GZIP_SUFFIXES = ".zip", ".tar", (".tar.gz", ".tgz")
ARCHIVE_SUFFIXES = (ZIP_SUFFIX, TAR_SUFFIX, *GZIP_SUFFIXES)
EXPECTED = (
    f"a folder, a manifest ({', '.join(MANIFEST_SUFFIXES)}) or an archive ({', '.join(ARCHIVE_SUFFIXES)}), on a local "
    "disk or at s3://BUCKET/PREFIX"
)


def is_manifest(name: str) -> bool:
    """Whether a file's name is that of a manifest."""
    return name.lower().endswith(MANIFEST_SUFFIXES)


def is_archive(name: str) -> bool:
    """Whether a file's name is that of an archive that is read."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)
