"""Sources that give train and test alone, or train and val: the third is taken out of train, by hash."""

import logging
from collections.abc import Sequence

from components.ingest.pictures import Picture
from components.ingest.splits import Earlier, Policy
from components.interchange.dataset import SPLITS

log = logging.getLogger("graft")


def with_all_splits(
    pictures: Sequence[Picture], policy: Policy, earlier: Sequence[Earlier]
) -> tuple[list[Picture], Policy, list[Earlier]]:
    """The pictures, those of train without a split where one is missing; a policy that keeps the other as given; and of
    the images of before those that the source has not moved out of that one into train.
    """
    given = {picture.source.split for picture in pictures}
    if None in given or "train" not in given or len(given) != len(SPLITS) - 1:
        return list(pictures), policy, list(earlier)
    [missing] = set(SPLITS) - given
    [kept] = given - {"train"}
    in_train = {one.id for one in pictures if one.source.split == "train"}
    log.info("the source has no %s: it is taken out of train, by hash", missing)
    if missing == "test":
        policy = policy._replace(val_is_given=True)
    elif policy.frozen is None:
        policy = policy._replace(frozen=frozenset(one.id for one in pictures if one.source.split == "test"))
    free = [
        one._replace(source=one.source._replace(split=None)) if one.source.split == "train" else one for one in pictures
    ]
    return free, policy, [image for image in earlier if image.split != kept or image.id not in in_train]
