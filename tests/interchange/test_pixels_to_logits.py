"""Normalisation is part of the model, and a fast one changes no bit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.interchange import classifier
from components.interchange.inference import predict_logits
from components.interchange.pixels_to_logits import PixelsToLogits, normalised


def test_normalisation_is_part_of_the_model(tiny_classifier: Path) -> None:
    model, card = classifier.load(tiny_classifier)
    pixels_NHWC = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    mean, std = np.array(card.preprocessing.mean), np.array(card.preprocessing.std)
    by_hand = torch.from_numpy(((pixels_NHWC / 255 - mean) / std).transpose(0, 3, 1, 2)).float()
    wrapped = PixelsToLogits(model, card.preprocessing)
    found = predict_logits(wrapped, iter([pixels_NHWC[:2], pixels_NHWC[2:]]), torch.device("cpu"))
    with torch.inference_mode():
        np.testing.assert_allclose(found, model(by_hand).numpy(), atol=1e-5)


@pytest.mark.parametrize("num_images", [1, 5, 13])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_normalising_in_the_cache_changes_no_bit(num_images: int, kind: torch.dtype) -> None:
    rng = np.random.default_rng(num_images)
    pixels_NHWC = torch.from_numpy(rng.integers(0, 256, (num_images, 9, 7, 3), np.uint8)).to(kind)
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in ([124.1, 116.3, 103.5], [58.4, 57.1, 57.4]))
    found = normalised(pixels_NHWC, mean, std)
    expected = (pixels_NHWC.permute(0, 3, 1, 2).float() - mean) / std
    assert torch.equal(found, expected) and found.stride() == expected.stride()
    assert torch.equal(normalised(pixels_NHWC[:, 1:8, 2:], mean, std), expected[:, :, 1:8, 2:])


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:FutureWarning", "ignore::DeprecationWarning")
def test_a_traced_model_takes_any_batch() -> None:
    """Who traces the model records the plain expression, not the arrays of one batch."""
    mean, std = torch.tensor([123.7, 116.3, 103.5]).view(1, 3, 1, 1), torch.tensor([58.4, 57.1, 57.4]).view(1, 3, 1, 1)
    few, more = (torch.randint(0, 256, (count, 6, 5, 3), dtype=torch.uint8) for count in (1, 3))
    traced = torch.jit.trace(lambda pixels: normalised(pixels, mean, std), few)
    assert torch.equal(traced(more), normalised(more, mean, std))
