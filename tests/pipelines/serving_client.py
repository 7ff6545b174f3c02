"""A serving client as somebody else would write it, with one fault at will: serving_client.py FAULT MODEL IMAGE …

It shares no code with Graft.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image, ImageOps

FAULT, MODEL, IMAGES = sys.argv[1], sys.argv[2], sys.argv[3:]


def pixels(path: str, short: int, crop: int) -> np.ndarray:
    if FAULT == "torchvision":
        return pixels_by_torchvision(path, short, crop)
    image = Image.open(path)
    if FAULT != "no EXIF":
        image = ImageOps.exif_transpose(image)
    image = image.convert("RGB")
    if FAULT == "other decoder":
        off = np.random.default_rng(1).choice([-1, 0, 1], (*image.size[::-1], 1), p=[0.1, 0.8, 0.1])
        image = Image.fromarray((np.asarray(image) + off).clip(0, 255).astype(np.uint8))
    scale = short / min(image.size)
    size = tuple(round(side * scale) if FAULT == "long side" else int(side * scale + 1e-6) for side in image.size)
    if FAULT == "lanczos":
        image = image.resize(size, Image.Resampling.LANCZOS)
    elif FAULT == "no antialias":
        image = image.transform(size, Image.Transform.EXTENT, (0, 0, *image.size), Image.Resampling.BILINEAR)
    elif FAULT == "squash":
        image = image.resize((crop, crop), Image.Resampling.BICUBIC)
    else:
        image = image.resize(size, Image.Resampling.NEAREST if FAULT == "other filter" else Image.Resampling.BICUBIC)
    left, top = ((side - crop) // 2 for side in image.size)
    if FAULT.endswith("crop to even"):
        left, top = (round((side - crop) / 2) for side in image.size)
    array = np.asarray(image.crop((left, top, left + crop, top + crop))).astype(np.float32)
    if FAULT.startswith("BGR"):
        array = array[..., ::-1]
    if FAULT == "wrong mean":
        array = array - 255 * 0.12
    if FAULT == "grey":
        array = array.mean(axis=2, keepdims=True).repeat(3, axis=2)
    if FAULT == "little mean":
        array = array - 5
    if FAULT == "reshaped":
        array = np.ascontiguousarray(array.transpose(2, 0, 1)).reshape(array.shape)
    if FAULT == "axes swapped":
        array = array.transpose(1, 0, 2)
    if FAULT == "other gamma":
        array = 255 * (array / 255) ** 1.5
    return np.rint(array.clip(0, 255)).astype(np.uint8)


def pixels_by_torchvision(path: str, short: int, crop: int) -> np.ndarray:
    """The same by other code: torchvision decodes, turns and resizes."""
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms.v2 import functional

    image = decode_image(path, mode=ImageReadMode.RGB, apply_exif_orientation=True)
    size = [side * short // min(image.shape[1:]) for side in image.shape[1:]]
    image = functional.resize(image, size, interpolation=functional.InterpolationMode.BICUBIC, antialias=True)
    top, left = ((side - crop) // 2 for side in size)
    return image[:, top : top + crop, left : left + crop].permute(1, 2, 0).numpy()


def main() -> None:
    session = ort.InferenceSession(f"{MODEL}/model.onnx", providers=["CPUExecutionProvider"])
    takes_floats = session.get_inputs()[0].type == "tensor(float)"
    card = json.loads(Path(MODEL, "card.json").read_text())
    short, crop = card["preprocessing"]["resize_short_px"], card["preprocessing"]["crop_px"]
    for path in sorted(IMAGES, reverse=True) if FAULT == "other order" else IMAGES:
        batch = pixels(path, short, crop)[None]
        if takes_floats:
            batch = batch.transpose(0, 3, 1, 2).astype(np.float32) / (1 if FAULT == "not divided" else 255)
        if FAULT == "normalised twice":
            mean, std = (np.array(card["preprocessing"][name])[:, None, None] for name in ("mean", "std"))
            batch = ((batch - mean) / std).astype(np.float32)
        if FAULT == "other std":
            batch = ((batch - 0.5) * 1.6 + 0.5).astype(np.float32)
        logits = session.run(None, {"pixels": batch})[0][0].astype(np.float64)
        if FAULT == "divided logits":
            logits = logits / card["temperature"]
        if FAULT == "shuffled classes":
            logits = logits[[1, 2, 0]]
        if FAULT.startswith("probabilities"):
            scaled = logits / (1 if FAULT.endswith("raw") else card["temperature"])
            exponentials = np.exp(scaled - scaled.max())
            names = card["classes"][::-1]
            probabilities = exponentials / exponentials.sum()
            if "decimals" in FAULT:
                probabilities = probabilities.round(int(FAULT.split()[1]))
            print(json.dumps({"probabilities": probabilities.tolist()[::-1], "classes": names}))
        else:
            print(json.dumps({"logits": logits.tolist()}))


main()
