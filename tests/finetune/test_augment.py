"""Crops, flips, maps, colours and mixes of whole batches, and the order of batches, on hand-made images."""

import numpy as np
import pytest
import torch

from components.finetune import colours, mixing, warp
from components.finetune.augment import Augmentation, Draws, augmented, draw, flip, windows
from components.finetune.batches import Batch, epoch_batches, prefetched
from components.finetune.sampling import balanced_order, batches_an_epoch, epoch_order, model_seed
from components.interchange.dataset import Split
from components.interchange.stored_images import StoredImages

PLAIN = Augmentation(crop_px=8, window_px=10)
EVERYTHING = Augmentation(8, 10, "resized", "randaugment", 0.5, True, 0.2, 1.0)


def coordinates(height: int, width: int) -> np.ndarray:
    """An image whose pixels say where they are: channel 0 the row, channel 1 the column."""
    image_HWC = np.zeros((height, width, 3), np.uint8)
    image_HWC[..., 0], image_HWC[..., 1] = np.arange(height)[:, None], np.arange(width)
    return image_HWC


def split_of(num_images: int) -> Split:
    images = [coordinates(10, 12 + number) for number in range(num_images)]
    for number, image in enumerate(images):
        image[..., 2] = number
    shapes_N2 = np.array([image.shape[:2] for image in images], np.int32)
    offsets = np.cumsum([0, *(image.size for image in images)])
    stored = StoredImages(shapes_N2, [offsets], [np.concatenate([image.ravel() for image in images])], "raw")
    return Split("train", [str(n) for n in range(num_images)], np.arange(num_images, dtype=np.int64), stored)


def batches(
    num_images: int, how: Augmentation = PLAIN, size: int = 4, seed: int = 0, epoch: int = 1, first: int = 0
) -> list[Batch]:
    return list(
        epoch_batches(split_of(num_images), epoch_order(num_images, seed, epoch), size, how, seed, epoch, first)
    )


def test_a_crop_is_a_window_of_its_image_and_every_place_occurs() -> None:
    places = set()
    rng = np.random.default_rng(0)
    for _ in range(60):
        (crop_HWC,) = windows([coordinates(10, 11)], 8, torch.from_numpy(rng.random((1, 2))))
        top, left = crop_HWC[0, 0, :2].astype(int)
        np.testing.assert_array_equal(crop_HWC, coordinates(10, 11)[top : top + 8, left : left + 8])
        places.add((top, left))
    assert places == {(top, left) for top in range(3) for left in range(4)}


def test_an_image_of_the_crops_size_is_taken_whole() -> None:
    (crop_HWC,) = windows([coordinates(8, 8)], 8, torch.tensor([[0.0, 0.999]]))
    np.testing.assert_array_equal(crop_HWC, coordinates(8, 8))


def test_bytes_are_mirrored_as_floats_are() -> None:
    rng = np.random.default_rng(0)
    pixels_NHWC = torch.from_numpy(rng.integers(0, 256, (16, 9, 7, 3), dtype=np.uint8))
    flags = [torch.from_numpy(rng.random(16) < 0.5) for _ in range(2)]
    assert torch.equal(flip(pixels_NHWC, *flags).float(), flip(pixels_NHWC.float(), *flags))
    assert torch.equal(flip(pixels_NHWC[::2], *(each[::2] for each in flags)), flip(pixels_NHWC, *flags)[::2])


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
    drawn = batches(11)
    labels = torch.cat([batch.labels_N for batch in drawn])
    assert [len(batch) for batch in drawn] == [4, 4]
    assert len(set(labels.tolist())) == 8
    for batch in drawn:
        assert torch.equal(batch.pixels_NHWC[:, 0, 0, 2].long(), batch.labels_N)
        assert not batch.draws.vertical_N.any()


def test_a_split_smaller_than_a_batch_makes_one_batch() -> None:
    assert batches_an_epoch(3, 32) == 1
    (batch,) = batches(3, size=32)
    assert sorted(batch.labels_N.tolist()) == [0, 1, 2]


def equal(one: list[Batch], other: list[Batch]) -> bool:
    def tensors(batch: Batch) -> list[torch.Tensor]:
        drawn = [each for each in batch.draws if each is not None]
        return [batch.pixels_NHWC, batch.labels_N, torch.from_numpy(batch.rows_N), *drawn]

    return all(
        torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(tensors(x), tensors(y), strict=True)
    )


@pytest.mark.parametrize("how", [PLAIN, EVERYTHING], ids=["plain", "everything"])
def test_a_batch_depends_on_seed_epoch_and_number_alone(how: Augmentation) -> None:
    whole = batches(16, how)
    assert equal(whole, list(prefetched(iter(batches(16, how)))))
    assert equal(whole[2:], batches(16, how, first=2))
    assert not equal(whole, batches(16, how, seed=1)) and not equal(whole, batches(16, how, epoch=2))
    assert batches(16, how, first=4) == []


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
    too_small = epoch_batches(split_of(4), np.arange(4), 4, Augmentation(11, 11), seed=0, epoch=1)
    with pytest.raises(ValueError):
        list(prefetched(too_small))


def photograph(size: int = 24) -> torch.Tensor:
    """A smooth image in colour, uint8 [1, size, size, 3]."""
    across = torch.linspace(0, 1, size)
    image = torch.stack([across.expand(size, size), across[:, None].expand(size, size), torch.full((size, size), 0.3)])
    return (255 * image.permute(1, 2, 0)).round().to(torch.uint8)[None]


STILL = np.zeros((1, len(warp.OPERATIONS)))
WHOLE = np.array([[0.0, 0.0, 1.0, 1.0]])


@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True), (True, True)])
def test_a_map_of_the_whole_window_only_mirrors(flips: tuple[bool, bool]) -> None:
    pixels = photograph()
    found = warp.warped(pixels, torch.from_numpy(warp.maps(WHOLE, np.array(flips)[:, None], STILL)), 24)
    expected = flip(pixels, torch.tensor([flips[0]]), torch.tensor([flips[1]]))
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_a_window_at_stored_scale_is_what_cutting_gives() -> None:
    pixels = photograph()
    part = np.array([[4 / 24, -4 / 24, 16 / 24, 16 / 24]])  # 16 pixels from column 6 and row 2.
    found = warp.warped(pixels, torch.from_numpy(warp.maps(part, np.zeros((2, 1), bool), STILL)), 16)
    torch.testing.assert_close(found, pixels[:, 2:18, 6:22], atol=0, rtol=0)


def test_bytes_are_scaled_as_floats_are() -> None:
    rng = np.random.default_rng(0)
    parts = warp.parts_of_window(True, 0.9, 40, rng)
    maps = torch.from_numpy(warp.maps(parts, rng.random((2, 40)) < 0.5, np.repeat(STILL, 40, 0)))
    pixels = photograph(64).expand(40, -1, -1, -1).contiguous()
    found, expected = warp.warped(pixels, maps, 48), warp.warped(pixels.float(), maps, 48)
    assert (found.dtype, expected.dtype) == (torch.uint8, torch.float32)
    torch.testing.assert_close(found.float(), expected, atol=1, rtol=0)
    assert (found.float() - expected).abs().mean() < 0.4


def test_a_quarter_turn_is_rot90() -> None:
    pixels = photograph()
    turn = np.array([[np.radians(90) / warp.LIMITS["rotation"], 0, 0, 0, 0]])
    found = warp.warped(pixels, torch.from_numpy(warp.maps(WHOLE, np.zeros((2, 1), bool), turn)), 24)
    torch.testing.assert_close(found, pixels.float().rot90(1, (1, 2)), atol=1e-2, rtol=0)


def test_random_parts_stay_in_the_window_and_vary_in_area_and_shape() -> None:
    parts = warp.parts_of_window(True, 0.9, 2000, np.random.default_rng(0))
    assert (np.abs(parts[:, :2]) + parts[:, 2:] <= 1 + 1e-9).all()
    area, ratio = parts[:, 2] * parts[:, 3], parts[:, 2] / parts[:, 3]
    assert 0.35 <= area.min() < 0.4 and area.max() > 0.9
    assert 0.75 <= ratio.min() < 0.8 and 1.25 < ratio.max() <= 4 / 3


def test_colour_operations_do_what_they_say() -> None:
    pixels = photograph().float()

    def after(**magnitudes: float) -> torch.Tensor:
        row = torch.tensor([[magnitudes.get(name, 0.0) for name in colours.OPERATIONS]])
        return colours.recoloured(pixels, row)

    torch.testing.assert_close(after(), pixels)
    assert after(brightness=-0.5).mean() < pixels.mean() < after(brightness=0.5).mean()
    assert after(contrast=-0.5).std() < pixels.std()
    grey = after(saturation=-1 / colours.RANGE)
    torch.testing.assert_close(grey[..., 0], grey[..., 2], atol=1e-3, rtol=0)
    assert set(after(posterise=1.0).unique().tolist()) <= set(range(0, 256, 16))
    torch.testing.assert_close(after(solarise=1.0), 255 - pixels)


def test_randaugment_draws_two_operations_an_image() -> None:
    drawn = draw(Augmentation(8, 10, policy="randaugment", strength=1.0), 400, np.random.default_rng(0))
    assert drawn.maps_N23 is not None and drawn.colours_NK is not None
    num_colours = (drawn.colours_NK != 0).sum(1)
    assert set(num_colours.tolist()) == {0, 1, 2}
    assert num_colours.float().mean() == pytest.approx(1.0, abs=0.1)


def test_mixing_keeps_pairs_and_their_shares() -> None:
    pixels = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 20, 20, 3) * 10
    for alphas in ((0.4, 0.0), (0.0, 1.0), (0.4, 1.0)):
        mixes = torch.from_numpy(mixing.draw(*alphas, 5, np.random.default_rng(0)))
        mixed = mixing.mixed(pixels, mixes)
        other = torch.tensor([1, 0, 3, 2, 4])
        expected = mixes[:, 0] * torch.arange(5.0) * 10 + (1 - mixes[:, 0]) * other * 10
        torch.testing.assert_close(mixed.mean((1, 2, 3)), expected, atol=1.5, rtol=0)
        assert mixes[4, 0] == 1 and torch.equal(mixes[0], mixes[1])
        first, second = mixing.mixed(pixels[:2], mixes[:2]), mixing.mixed(pixels[2:], mixes[2:])
        assert torch.equal(torch.cat([first, second]), mixed)


def test_cutmix_pastes_a_box_and_counts_it() -> None:
    mixes = torch.tensor([[0.75, 0.0, 0.5, 0.5, 1.0]] * 2)
    pixels = torch.tensor([0.0, 100.0]).view(2, 1, 1, 1).expand(2, 4, 4, 3)
    mixed = mixing.mixed(pixels, mixes)
    assert (mixed[0, :2, 2:] == 100).all() and mixed[0].sum() == 4 * 3 * 100
    assert mixed[0].mean() == (1 - 0.75) * 100


def test_everything_at_once_keeps_shape_and_range() -> None:
    (batch,) = batches(6, EVERYTHING, size=6)
    found = augmented(batch.pixels_NHWC, batch.draws, 8)
    assert found.shape == (6, 8, 8, 3) and found.dtype == torch.float32
    assert found.min() >= 0 and found.max() <= 255
    none = Draws(batch.draws.places_N2, batch.draws.horizontal_N, batch.draws.vertical_N, None, None, None)
    assert augmented(batch.pixels_NHWC, none, 8).dtype == torch.uint8
