"""Pictures with the statistics of photographs: things before things (dead leaves), texture, a lens, sensor noise.

Occluding shapes whose sizes follow a power law have the edges and the 1/f spectrum of natural scenes (Lee, Mumford and
Huang, "Occlusion models for natural images", 2001).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

NUM_SHAPES = 8000
SMALLEST_PART, LARGEST_PART = 1 / 300, 1 / 3  # Radii, as a part of the short side.
TEXTURE_LEVELS = 9.0  # Standard deviations, of 255.
NOISE_LEVELS = 3.0  # A phone by daylight.
LENS_PX = 0.8


def photograph(width_px: int, height_px: int, seed: int) -> Image.Image:
    """One picture, another one for every seed; RGB."""
    rng = np.random.default_rng(seed)
    scene = _scene(width_px, height_px, rng)
    texture_HW = TEXTURE_LEVELS * _texture(height_px, width_px, rng)
    lit_HWC = np.asarray(scene, np.float32) + texture_HW[..., None]
    seen = Image.fromarray(np.clip(lit_HWC, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(LENS_PX))
    noise_HW1 = NOISE_LEVELS * rng.standard_normal((height_px, width_px, 1), np.float32)
    return Image.fromarray(np.clip(np.asarray(seen) + noise_HW1, 0, 255).astype(np.uint8))


def write_photographs(folder: Path, names: list[str], width_px: int, height_px: int, quality: int = 92) -> Path:
    """A JPEG a name below `folder`; those that are there stay, so that they are made once."""
    for seed, name in enumerate(names):
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".unfinished")
            photograph(width_px, height_px, seed).save(unfinished, "JPEG", quality=quality)
            unfinished.rename(path)
    return folder


def _scene(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Ellipses and rectangles, each before the ones drawn earlier; radii are spread as 1/r^3."""
    scene = Image.new("RGB", (width, height), _colour(rng))
    draw = ImageDraw.Draw(scene)
    smallest, largest = (part * min(width, height) for part in (SMALLEST_PART, LARGEST_PART))
    for _ in range(NUM_SHAPES):
        radius = (smallest**-2 - rng.random() * (smallest**-2 - largest**-2)) ** -0.5
        x, y, stretch = rng.random() * width, rng.random() * height, rng.uniform(0.4, 1.0)
        box = (x - radius, y - stretch * radius, x + radius, y + stretch * radius)
        (draw.ellipse if rng.random() < 0.6 else draw.rectangle)(box, fill=_colour(rng))
    return scene


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """Mostly a grey, with some colour."""
    red, green, blue = np.clip(rng.uniform(20, 235) + rng.normal(0, 25, 3), 0, 255).astype(int).tolist()
    return red, green, blue


def _texture(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise whose amplitude falls with 1/f; mean 0, standard deviation 1. float32 [H, W]."""
    spectrum = np.fft.rfft2(rng.standard_normal((height, width), np.float32))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    texture_HW: NDArray[np.float32] = np.fft.irfft2(spectrum / frequency, (height, width)).astype(np.float32)
    return texture_HW / texture_HW.std()
