"""What folders, tables and cells of manifests call a split: the words that Hugging Face's `datasets` knows."""

from components.interchange.dataset import SplitName

SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


def split_called(name: str) -> SplitName | None:
    """The split that a name stands for, in capitals or not; None where it stands for none."""
    return SPLIT_NAMES.get(name.lower())
