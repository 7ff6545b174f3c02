"""The champion's feature statistics, for comparison with ours."""

import tempfile
from pathlib import Path
from typing import Any

from components.interchange.champion import current
from components.interchange.feature_statistics import FeatureStatistics, read_feature_statistics
from components.interchange.lineage import FOLDER
from components.interchange.step import RunContext


def champion_statistics(context: RunContext) -> FeatureStatistics | None:
    """Of the champion's training images; None without a store or a champion, or where its lineage has none."""
    champion = current(context.store, context.model_name) if context.store else None
    if champion is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        champion.fetch_part(FOLDER, Path(folder))
        return read_feature_statistics(Path(folder) / FOLDER)


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Why features of these origins cannot be compared, in words; empty where they can."""
    then, now = _flat(theirs), _flat(ours)
    return [
        f"{name.replace('_', ' ')} {then.get(name)} -> {now.get(name)}"
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    ]


def _flat(origin: dict[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = dict(origin["preprocessing"])
    return {name: value for name, value in origin.items() if name != "preprocessing"} | parts
