"""Several processes that share a batch: what they compute is what one does."""

import dataclasses
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from components.finetune.batches import epoch_batches
from components.finetune.devices import Hardware
from components.finetune.distributed import World, connected
from components.finetune.gradients import Loss, leave_gradients
from components.finetune.validate import validate
from components.finetune.whole_batch_norm import whole_batch_norm
from components.interchange.cards import read_classifier_card
from components.interchange.dataset import open_dataset
from components.interchange.errors import BadInput
from components.interchange.pixels_to_logits import PixelsToLogits
from tests.finetune.killing import SERVER, step
from tests.finetune.test_loop import CPU, PLAN, PREPROCESSING, fitted, model, state_of


def as_rank(rank: int, size: int, port: int) -> None:
    """The environment that torchrun gives its processes."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def step_as_rank(rank: int, size: int, port: int, argv: list[str], said: str) -> None:
    as_rank(rank, size, port)
    step(argv, said)


def work_as_rank(rank: int, port: int, place: Path, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    as_rank(rank, 2, port)
    with connected() as world:
        torch.save(work(Hardware(torch.device("cpu"), "fp32", world), *arguments), place / f"{rank}.pt")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def in_two(place: Path, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work`, given hardware and arguments, returns in each of two processes."""
    port = free_port()
    processes = [
        SERVER.Process(target=work_as_rank, args=(rank, port, place, work, arguments), daemon=True) for rank in range(2)
    ]
    for process in processes:
        process.start()
    processes[0].join(60)
    processes[1].join(10)
    codes = [process.exitcode for process in processes]
    for process in processes:  # Who waits for the other waits for ever.
        process.kill()
    assert codes == [0, 0]
    return [torch.load(place / f"{rank}.pt", weights_only=False) for rank in range(2)]


def test_two_processes_train_the_model_that_one_does(tiny_dataset: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(timm.create_model("test_efficientnet", num_classes=10).state_dict(), tmp_path / "weights.safetensors")

    def argv(name: str) -> list[str]:
        return [
            *("--dataset", str(tiny_dataset), "--classifier", str(tmp_path / name), "--weights"),
            *(
                str(tmp_path / "weights.safetensors"),
                "--report",
                str(tmp_path / f"{name} report"),
                "--backbone",
                "test_efficientnet",
            ),
            *("--input-size-px", "32", "--device", "cpu", "--batch-size", "12", "--num-epochs", "2", "--freeze"),
            *("early", "--unfreeze-at", "2", "--mixup", "0.2", "--stage-multipliers", "1,1,1,10"),
            *("--checkpoint-uri", str(tmp_path / f"{name} checkpoints"), "--checkpoint-every-s", "0"),
        ]

    port = free_port()
    processes = [
        SERVER.Process(target=step_as_rank, args=(rank, 2, port, argv("two"), str(tmp_path / "said")))
        for rank in range(2)
    ]
    processes += [SERVER.Process(target=step, args=(argv("one"),))]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    one, two = (read_classifier_card(tmp_path / name).history for name in ("one", "two"))
    assert [record["val_top1"] for record in two] == [record["val_top1"] for record in one]
    assert [record["train_loss"] for record in two] == pytest.approx([r["train_loss"] for r in one], rel=1e-2)
    assert not list(tmp_path.glob(".*partial*"))
    assert (tmp_path / "said").read_text().count("epoch=2/2") == 1  # The first process speaks alone.


def test_parts_of_a_batch_are_whole_pairs_and_cover_it() -> None:
    for num_images in (6, 7, 32):
        parts = [World(rank, 3).part(num_images) for rank in range(3)]
        assert [row for part in parts for row in range(part.start, part.stop)] == list(range(num_images))
        assert all(part.start % 2 == 0 for part in parts)
    with pytest.raises(BadInput, match="a batch of 2 images cannot be shared by 2 processes"):
        World(0, 2).part(2)


def test_passes_are_as_many_in_every_process() -> None:
    assert [World(0, 1).passes(num_images, 6) for num_images in (5, 6, 7, 12, 13)] == [1, 1, 2, 2, 3]
    assert World(0, 1).passes(7, 7) == 1 and World(0, 1).passes(8, 3) == 4
    assert [World(0, 1).passes(num_images, 2) for num_images in (3, 4, 5)] == [1, 2, 2]
    assert [World(rank, 2).passes(10, 4) for rank in range(2)] == [2, 2]  # Of 4 and of 6 images.
    with pytest.raises(BadInput, match=r"equally many parts of 2\. Make --batch-size a multiple of 4"):
        World(0, 2).passes(10, 2)


def test_a_val_too_small_for_the_processes_is_refused(tiny_dataset: Path) -> None:
    with pytest.raises(BadInput, match="30 val images cannot be shared by 31 processes"):
        fitted(tiny_dataset, PLAN, hardware=dataclasses.replace(CPU, world=World(0, 31)))


NORMS = {
    "plain": lambda: nn.BatchNorm2d(3),
    "with activation": lambda: BatchNormAct2d(3, act_layer=nn.SiLU),
    "of features": lambda: nn.BatchNorm1d(3),
}


def normalised(norm: nn.Module, images: Tensor, rows: slice = slice(None)) -> dict[str, Tensor]:
    """Outputs, gradients and statistics of a norm that is `norm[0]`, by some of the images."""
    own = images[rows].clone().requires_grad_()
    found = norm(own)
    weights = torch.linspace(-1, 1, images.numel()).view_as(images)[rows]
    (found * weights).sum().backward()
    assert own.grad is not None
    return {
        "out": found.detach(),
        "grad": own.grad,
        **{name: parameter.grad for name, parameter in norm.named_parameters() if parameter.grad is not None},
        **{name: buffer.clone() for name, buffer in norm.named_buffers()},
    }


def normalised_in_part(hardware: Hardware, kind: str, images: Tensor) -> dict[str, Tensor]:
    return normalised(whole_batch_norm(nn.Sequential(NORMS[kind]()), hardware.device), images, hardware.world.part(10))


@pytest.mark.parametrize("kind", NORMS)
def test_batchnorm_follows_the_batch_of_both(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    images = 30 + 0.1 * torch.randn((10, 3) if kind == "of features" else (10, 3, 4, 5))
    one, other = in_two(tmp_path, normalised_in_part, kind, images)
    expected = normalised(nn.Sequential(NORMS[kind]()), images)
    assert len(one["out"]) == 4 and len(other["out"]) == 6
    for name, value in expected.items():
        if name in ("out", "grad"):
            found = torch.cat([one[name], other[name]])
        elif name in ("0.weight", "0.bias"):
            found = one[name] + other[name]  # DistributedDataParallel's work.
        else:
            assert torch.equal(one[name], other[name])
            found = one[name]
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-3, msg=lambda words, name=name: f"{name}: {words}")


def gradients_in_parts(hardware: Hardware, dataset: Path, name: str) -> dict[str, Tensor]:
    """Of ten images: one process has four of them, the other six, and each takes four at a time at most."""
    train, module = open_dataset(dataset).split("train"), model(name)
    if hardware.world.size > 1:
        module = whole_batch_norm(module, hardware.device)
    batch = next(epoch_batches(train, np.arange(60), 10, PLAN.augmentation, 0, 1, world=hardware.world))
    joined = hardware.world.joined(PixelsToLogits(module, PREPROCESSING))
    leave_gradients(joined, Loss(torch.ones(3), 0.0), batch, 32, state_of(module, 4), hardware)
    found = {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}
    return found | {name: buffer for name, buffer in module.named_buffers() if name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_unequal_shares_are_taken_in_equally_many_parts(name: str, tiny_dataset: Path, tmp_path: Path) -> None:
    one, other = in_two(tmp_path, gradients_in_parts, tiny_dataset, name)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    expected = gradients_in_parts(CPU, tiny_dataset, name)
    if name == "test_vit":  # A part of one process's has other images than that of both have: BatchNorm sees it.
        for key, value in expected.items():
            torch.testing.assert_close(one[key], value, rtol=1e-3, atol=1e-5)
    assert {int(value) for key, value in one.items() if key.endswith("tracked")} <= {2}


def scores_with_pauses(hardware: Hardware, dataset: Path) -> tuple[tuple[float, float], int]:
    """Scores of 25 val images in batches of 12: the first process has 13 of them."""
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1
        assert hardware.world.greatest(pauses) == pauses

    val = open_dataset(dataset).split("val")
    some = dataclasses.replace(val, ids=val.ids[:25], labels_N=val.labels_N[:25])
    scores = validate(PixelsToLogits(model(), PREPROCESSING), some, 32, 12, hardware, pause)
    return tuple(scores), pauses


def test_val_is_scored_with_the_same_pauses_in_both(tiny_dataset: Path, tmp_path: Path) -> None:
    one, other = in_two(tmp_path, scores_with_pauses, tiny_dataset)
    assert one == other and one[1] == 2
    assert one[0] == pytest.approx(scores_with_pauses(CPU, tiny_dataset)[0], rel=1e-5)


def vit_trained(hardware: Hardware, dataset: Path) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    plan = dataclasses.replace(PLAN, num_epochs=2, freeze="early", unfreeze_at=(2,), ema_decay=0.9, clip_norm=1.0)
    plan = dataclasses.replace(plan, augmentation=dataclasses.replace(PLAN.augmentation, mixup_alpha=0.2))
    _, found = fitted(dataset, plan, "test_vit", hardware=hardware)
    return found.history, found.best_state


def test_a_vit_learns_in_two_processes_what_it_does_in_one(tiny_dataset: Path, tmp_path: Path) -> None:
    one, other = in_two(tmp_path, vit_trained, tiny_dataset)
    expected_history, expected = vit_trained(CPU, tiny_dataset)
    assert one[0] == other[0]
    assert [record["val_top1"] for record in one[0]] == [record["val_top1"] for record in expected_history]
    for name, tensor in expected.items():
        assert torch.equal(one[1][name], other[1][name])
        torch.testing.assert_close(one[1][name], tensor, rtol=1e-2, atol=1e-3)
