"""Crops and flips of whole batches, and the order of batches, on hand-made images."""

import numpy as np
import pytest
import torch

from components.finetune.augment import flip, random_crops
from components.finetune.batches import Batch, batches_an_epoch, epoch_batches, prefetched
from components.interchange.dataset import Split


def coordinates(height: int, width: int) -> np.ndarray:
    """An image whose pixels say where they are: channel 0 the row, channel 1 the column."""
    image_HWC = np.zeros((height, width, 3), np.uint8)
    image_HWC[..., 0], image_HWC[..., 1] = np.arange(height)[:, None], np.arange(width)
    return image_HWC


def split_of(num_images: int) -> Split:
    images = [coordinates(10, 12 + number) for number in range(num_images)]
    for number, image in enumerate(images):
        image[..., 2] = number
    return Split("train", [str(n) for n in range(num_images)], np.arange(num_images, dtype=np.int64), images)


def test_a_crop_is_a_window_of_its_image_and_every_place_occurs() -> None:
    places = set()
    rng = np.random.default_rng(0)
    for _ in range(60):
        (crop_HWC,) = random_crops([coordinates(10, 11)], 8, rng)
        top, left = crop_HWC[0, 0, :2].astype(int)
        np.testing.assert_array_equal(crop_HWC, coordinates(10, 11)[top : top + 8, left : left + 8])
        places.add((top, left))
    assert places == {(top, left) for top in range(3) for left in range(4)}


def test_an_image_of_the_crops_size_is_taken_whole() -> None:
    (crop_HWC,) = random_crops([coordinates(8, 8)], 8, np.random.default_rng(0))
    np.testing.assert_array_equal(crop_HWC, coordinates(8, 8))


def test_flips_mirror_only_the_flagged_images() -> None:
    pixels_NHWC = torch.from_numpy(np.stack([coordinates(4, 4)] * 4))
    none, across, down, both = flip(
        pixels_NHWC, torch.tensor([False, True, False, True]), torch.tensor([False, False, True, True])
    )
    original = pixels_NHWC[0]
    assert torch.equal(none, original)
    assert torch.equal(across, original.flip(1)) and across[0, 0, 1] == 3
    assert torch.equal(down, original.flip(0)) and down[0, 0, 0] == 3
    assert torch.equal(both, original.flip(0, 1))


def test_an_epoch_draws_full_batches_of_distinct_images_with_their_labels() -> None:
    batches = list(epoch_batches(split_of(11), 4, 8, False, np.random.default_rng(0)))
    labels = torch.cat([batch.labels_N for batch in batches])
    assert [len(batch.labels_N) for batch in batches] == [4, 4]
    assert len(set(labels.tolist())) == 8
    for batch in batches:
        assert torch.equal(batch.pixels_NHWC[:, 0, 0, 2].long(), batch.labels_N)
        assert not batch.vertical_N.any()


def test_a_split_smaller_than_a_batch_makes_one_batch() -> None:
    assert batches_an_epoch(3, 32) == 1
    (batch,) = epoch_batches(split_of(3), 32, 8, True, np.random.default_rng(0))
    assert sorted(batch.labels_N.tolist()) == [0, 1, 2]


def test_a_seed_fixes_order_crops_and_flips_through_the_thread() -> None:
    def drawn(seed: int) -> list[Batch]:
        return list(prefetched(epoch_batches(split_of(16), 4, 8, True, np.random.default_rng(seed))))

    def equal(one: list[Batch], other: list[Batch]) -> bool:
        return all(torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))

    assert equal(drawn(0), drawn(0))
    assert not equal(drawn(0), drawn(1))
    assert equal(drawn(0), list(epoch_batches(split_of(16), 4, 8, True, np.random.default_rng(0))))


def test_an_error_in_the_thread_reaches_the_training_loop() -> None:
    with pytest.raises(ValueError):
        list(prefetched(epoch_batches(split_of(4), 4, 11, False, np.random.default_rng(0))))
