"""Golden samples: a few source files with the pixels and logits that a client must get from them.

    golden/<id>.<suffix>  golden/<id>.pixels.npy  golden.json

Whoever serves the model in another language or on another chip tests against them; no code of ours is needed to read
them. H height, W width, C classes.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.interchange.artifact import to_json
from components.interchange.errors import BadInput
from components.interchange.onnx_model import logits_of
from components.interchange.pixels import preprocess
from components.interchange.preprocessing import Preprocessing


def write_golden(
    folder: Path, session: Any, originals: Mapping[str, Path], preprocessing: Preprocessing, num_samples: int
) -> int:
    """Write up to `num_samples` of the source files, the first by id, and return how many there were.

    `pixels` is uint8 [1, H, W, 3]: the model's input, or (float32-nchw) what to transpose and divide by 255 for it;
    `logits` what onnxruntime answered at batch 1.
    """
    if not originals:
        raise BadInput("the dataset has no originals/ to take golden samples from. Run ingest again with this version.")
    (folder / "golden").mkdir(parents=True)
    samples = []
    for source_id in sorted(originals)[:num_samples]:
        path = originals[source_id]
        pixels_HWC = preprocess(path.read_bytes(), preprocessing)
        logits_C = logits_of(session, pixels_HWC[None])[0]
        names = {"source": f"golden/{source_id}{path.suffix}", "pixels": f"golden/{source_id}.pixels.npy"}
        shutil.copyfile(path, folder / names["source"])
        np.save(folder / names["pixels"], pixels_HWC[None])
        samples.append({"id": source_id, **names, "logits": _as_json(logits_C)})
    (folder / "golden.json").write_text(to_json({"samples": samples}), encoding="utf-8")
    return len(samples)


def _as_json(logits_C: NDArray[np.float32]) -> list[float | None]:
    """JSON has no NaN: a logit that is not finite is null. Parity has refused such a model already, in words."""
    return [float(logit) if np.isfinite(logit) else None for logit in logits_C]
