"""The perceptual hash: SciPy's DCT as the reference, what leaves a picture's hash alone and what does not."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dct

from components.ingest.perceptual import NO_STRUCTURE, perceptual_hash
from components.ingest.statistics import pixel_sums


def scene(seed: int) -> Image.Image:
    """Soft shapes, as in photographs."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)).resize((360, 256), Image.Resampling.BICUBIC)


def bits_apart(one: Image.Image, other: Image.Image) -> int:
    return (int(perceptual_hash(one), 16) ^ int(perceptual_hash(other), 16)).bit_count()


def test_bits_are_those_of_scipys_cosine_transform() -> None:
    for seed in range(20):
        luma = np.asarray(
            scene(seed).convert("L").resize((32, 32), Image.Resampling.LANCZOS, reducing_gap=2.0), np.float64
        )
        low = dct(dct(luma, axis=0), axis=1)[:8, :8]
        bits = "".join("01"[int(bit)] for bit in (low > np.median(low)).ravel())
        assert perceptual_hash(scene(seed)) == f"{int(bits, 2):016x}"


def test_a_picture_is_known_again_when_it_was_scaled_compressed_or_brightened() -> None:
    for seed in range(10):
        picture = scene(seed)
        packed = io.BytesIO()
        picture.save(packed, "JPEG", quality=40)
        assert bits_apart(picture, Image.open(packed)) <= 4
        assert bits_apart(picture, picture.resize((120, 85))) <= 4
        assert bits_apart(picture, picture.point(lambda level: level * 0.8 + 30)) <= 4
        assert bits_apart(picture, scene(seed + 100)) > 10


def test_a_picture_of_one_tone_has_nothing_to_compare() -> None:
    for tone in (0, 9, 77, 255):
        picture = Image.new("RGB", (40, 31), (tone, tone, tone))
        assert perceptual_hash(picture) == NO_STRUCTURE
        assert pixel_sums(picture).brightness() == pytest.approx(tone / 255)


def test_brightness_is_the_mean_of_pillows_luma() -> None:
    for seed in range(5):
        picture = scene(seed)
        mean = np.asarray(picture.convert("L"), np.float64).mean()
        assert pixel_sums(picture).brightness() * 255 == pytest.approx(mean, abs=0.1)
