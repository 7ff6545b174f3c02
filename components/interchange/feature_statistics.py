"""Mean and covariance of the frozen features of a dataset's training images: what the next run's drift is told from.

features.npz holds `mean_K`, `covariance_KK` (float32) and `about`, a JSON object with `images`, `halves_distance` and
`origin`. The features are projected to at most 64 dimensions first, or a covariance would be 6.5 MB: by a matrix of
signs that is the same for ever (Achlioptas 2003, "Database-friendly random projections"), under which distances keep
their expected square. A classifier of feature_extraction has the file; evaluate's selection and a model's lineage keep
it.
Legend: N images, D features, K dimensions of the projection.
"""

import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from components.interchange.cards import ClassifierCard
from components.interchange.errors import BadInput

FILE = "features.npz"
MAX_DIMENSIONS = 64
SEED = b"graft.features/1"


class Moments(NamedTuple):
    """Mean and covariance (the maximum-likelihood one) of projected features, float64."""

    mean_K: NDArray[np.float64]
    covariance_KK: NDArray[np.float64]


class FeatureStatistics(NamedTuple):
    """`moments` of `images` images; `halves_distance` is what two random halves of them are apart.

    `origin` says what the features are features of: only those of equal origin can be compared.
    """

    moments: Moments
    images: int
    halves_distance: float
    origin: dict[str, Any]


def origin_of(card: ClassifierCard) -> dict[str, Any]:
    """What decides about the features of a picture: backbone, weights, preprocessing."""
    preprocessing = card.preprocessing.model_dump(mode="json")
    return {"backbone": card.backbone, "weights_sha256": card.weights.sha256, "preprocessing": preprocessing}


def projected(features_ND: NDArray[np.float32]) -> NDArray[np.float64]:
    """The features in at most 64 dimensions, float64 [N, K]."""
    width = features_ND.shape[1]
    dimensions = min(MAX_DIMENSIONS, width)
    bits = hashlib.shake_256(SEED).digest(-(-width * dimensions // 8))
    ones = np.unpackbits(np.frombuffer(bits, np.uint8))[: width * dimensions].reshape(width, dimensions)
    signs_DK: NDArray[np.float32] = 2 * ones.astype(np.float32) - 1
    projected_NK: NDArray[np.float64] = (features_ND @ signs_DK).astype(np.float64)
    projected_NK /= np.sqrt(dimensions)
    return projected_NK


def moments_of(projected_NK: NDArray[np.float64]) -> Moments:
    """Mean and covariance over the images."""
    mean_K = projected_NK.mean(0)
    centred_NK = projected_NK - mean_K
    return Moments(mean_K, centred_NK.T @ centred_NK / len(projected_NK))


def write_feature_statistics(folder: Path, statistics: FeatureStatistics) -> None:
    """Write features.npz into an artifact's folder."""
    about = {
        "images": statistics.images,
        "halves_distance": statistics.halves_distance,
        "origin": statistics.origin,
    }
    moments = {name: value.astype(np.float32) for name, value in statistics.moments._asdict().items()}
    arrays = {"about": np.array(json.dumps(about, sort_keys=True)), **moments}
    with zipfile.ZipFile(folder / FILE, "w") as archive:  # np.savez's bytes are not those of another Python 3.11.
        for name, array in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), data.getvalue())


def read_feature_statistics(folder: Path) -> FeatureStatistics | None:
    """What features.npz of a folder says; None where there is none, BadInput where it is damaged."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            about = json.loads(str(found["about"]))
            moments = Moments(found["mean_K"].astype(np.float64), found["covariance_KK"].astype(np.float64))
            return FeatureStatistics(moments, about["images"], about["halves_distance"], about["origin"])
    except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise BadInput(f"{path} is damaged ({error}): expected mean_K, covariance_KK and about.") from None


def carry_feature_statistics(source: Path, target: Path) -> None:
    """Copy features.npz from one artifact into another, where the first has it."""
    if (source / FILE).is_file():
        shutil.copyfile(source / FILE, target / FILE)
