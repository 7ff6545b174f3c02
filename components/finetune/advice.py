"""What a careful colleague would say of a training: of its settings beforehand, of its course afterwards. In words."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.interchange.dataset import FEW_TRAIN_IMAGES

FEW_IMAGES_A_CLASS = 20
IMBALANCE = 5.0
ROSE = 1.5


def of_rates(multipliers: Sequence[float], lr_policy: str, layer_decay: float) -> list[str]:
    """Whether deeper layers learn faster, and the head fastest. Multipliers are of early, middle, late and head, those
    of stages that stay frozen left out.
    """
    *backbone, head = multipliers
    if not backbone:
        return []
    fastest = max(backbone) if lr_policy == "stages" else 1.0
    found = []
    if lr_policy == "stages" and len(set(multipliers)) == 1:
        found.append(
            "all layers learn at one rate: one that suits the new head tears up what the backbone knows. The default "
            "--stage-multipliers are 0.01,0.1,1,10"
        )
    elif head <= fastest:
        found.append(
            f"the head's rate ({head:g} times base_lr) is not above the backbone's ({fastest:g} times): the head is "
            "new and has the most to learn. Raise the last of --stage-multipliers"
        )
    elif lr_policy == "stages" and list(backbone) != sorted(backbone):
        found.append("a stage nearer to the input learns faster than a later one: --stage-multipliers usually rise")
    if lr_policy == "layer-decay" and layer_decay == 1.0:
        found.append("--layer-decay 1: all layers of the backbone learn at one rate")
    return found


def of_data(counts: Mapping[str, int], weighed: bool) -> list[str]:
    """Whether the training images are enough, and even. `weighed`: classes are balanced by weights or sampling."""
    total, fewest, most = sum(counts.values()), min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    found = []
    if total < FEW_TRAIN_IMAGES:
        found.append(
            f"{total:,} training images, under {FEW_TRAIN_IMAGES}: fine-tuning may learn little but their noise; the "
            "baseline is expected to win"
        )
    few = [name for name, count in counts.items() if count < FEW_IMAGES_A_CLASS]
    if few:
        found.append(
            f"{len(few):,} of {len(counts):,} classes have under {FEW_IMAGES_A_CLASS} training images (fewest: "
            f"{fewest}, {counts[fewest]}): their recall on test will be uncertain"
        )
    if counts[most] >= IMBALANCE * max(counts[fewest], 1) and not weighed:
        found.append(
            f"{most} has {counts[most] / max(counts[fewest], 1):.1f} times the training images of {fewest}, and "
            "nothing balances them: the loss is mostly that of the large classes. Try --class-weights balanced"
        )
    return found


def of_size(crop_px: int, pretrained_px: int, resampled: bool) -> list[str]:
    """Whether images enter at another size than the weights were trained with."""
    if crop_px == pretrained_px:
        return []
    words = f"the input is {crop_px} px, the weights were trained with {pretrained_px} px"
    return [f"{words}: the position embeddings were resampled" if resampled else words]


def of_unfreezing(unfreeze_at: Sequence[int], trained: int) -> list[str]:
    """Whether the training was over before all that was to be unfrozen was."""
    late = [str(due) for due in unfreeze_at if due > trained]
    words = f"the training ended after epoch {trained}, before --unfreeze-at {', '.join(late)}: what was to be unfrozen"
    return [f"{words} then stayed frozen"] if late else []


def of_course(history: Sequence[Mapping[str, Any]], best_epoch: int, num_epochs: int) -> list[str]:
    """Divergence, the end of learning, and epochs that were too few or for nothing."""
    losses = [record["train_loss"] for record in history]
    found = []
    lowest = losses[0]
    for epoch, loss in enumerate(losses[1:], 2):
        if loss > ROSE * lowest:
            found.append(
                f"the train loss rose to {loss:.3f} in epoch {epoch}, from {lowest:.3f}: the rate is likely too high. "
                "Lower --base-lr"
            )
            break
        lowest = min(lowest, loss)
    if len(history) == num_epochs > 1 and best_epoch == num_epochs:
        found.append("the last epoch was the best: more --num-epochs may help")
    if best_epoch == 1 and len(history) > 1:
        found.append("no epoch was better than the first: the rate may be too high, or the images too few")
    return found
