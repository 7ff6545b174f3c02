"""Crops and flips of whole batches, and the order of batches, on hand-made images."""

import numpy as np
import pytest
import torch

from components.finetune.augment import flip, windows
from components.finetune.batches import Batch, epoch_batches, prefetched
from components.finetune.sampling import balanced_order, batches_an_epoch, epoch_order, model_seed
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
        (crop_HWC,) = windows([coordinates(10, 11)], 8, rng.random((1, 2)))
        top, left = crop_HWC[0, 0, :2].astype(int)
        np.testing.assert_array_equal(crop_HWC, coordinates(10, 11)[top : top + 8, left : left + 8])
        places.add((top, left))
    assert places == {(top, left) for top in range(3) for left in range(4)}


def test_an_image_of_the_crops_size_is_taken_whole() -> None:
    (crop_HWC,) = windows([coordinates(8, 8)], 8, np.array([[0.0, 0.999]]))
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
    batches = list(epoch_batches(split_of(11), 4, 8, False, seed=0, epoch=1))
    labels = torch.cat([batch.labels_N for batch in batches])
    assert [len(batch.labels_N) for batch in batches] == [4, 4]
    assert len(set(labels.tolist())) == 8
    for batch in batches:
        assert torch.equal(batch.pixels_NHWC[:, 0, 0, 2].long(), batch.labels_N)
        assert not batch.vertical_N.any()


def test_a_split_smaller_than_a_batch_makes_one_batch() -> None:
    assert batches_an_epoch(3, 32) == 1
    (batch,) = epoch_batches(split_of(3), 32, 8, True, seed=0, epoch=1)
    assert sorted(batch.labels_N.tolist()) == [0, 1, 2]


def equal(one: list[Batch], other: list[Batch]) -> bool:
    return all(
        np.array_equal(np.asarray(a), np.asarray(b))
        for x, y in zip(one, other, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def test_a_batch_depends_on_seed_epoch_and_number_alone() -> None:
    def drawn(seed: int, epoch: int, first: int = 0) -> list[Batch]:
        return list(epoch_batches(split_of(16), 4, 8, True, seed, epoch, first))

    whole = drawn(0, 1)
    assert equal(whole, list(prefetched(epoch_batches(split_of(16), 4, 8, True, 0, 1))))
    assert equal(whole[2:], drawn(0, 1, first=2))
    assert not equal(whole, drawn(1, 1)) and not equal(whole, drawn(0, 2))
    assert drawn(0, 1, first=4) == []


def test_balanced_epochs_hold_every_class_equally_and_waste_no_image() -> None:
    labels_N = np.array([0] * 40 + [1] * 8 + [2] * 3)
    order = balanced_order(labels_N, seed=0, epoch=1)
    assert np.bincount(labels_N[order]).tolist() == [17, 17, 17]
    times = np.bincount(order, minlength=51)
    assert set(times[:40]) == {0, 1} and set(times[40:48]) == {2, 3} and set(times[48:]) == {5, 6}
    assert sorted(epoch_order(51, 0, 1)) == list(range(51))
    assert not np.array_equal(order, balanced_order(labels_N, seed=0, epoch=2))


def test_the_seeds_of_steps_differ() -> None:
    seeds = {model_seed(seed, epoch, batch, rank) for seed in (0, 1) for epoch in (1, 2) for batch in (0, 1)
             for rank in (0, 1)}  # fmt: skip
    assert len(seeds) == 16


def test_an_error_in_the_thread_reaches_the_training_loop() -> None:
    with pytest.raises(ValueError):
        list(prefetched(epoch_batches(split_of(4), 4, 11, False, seed=0, epoch=1)))
