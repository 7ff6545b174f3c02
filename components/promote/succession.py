"""Who may follow whom: only the champion that the evaluation compared with may be replaced."""

from datetime import UTC, datetime

from components.interchange.blobs import Blobs
from components.interchange.cards import OnnxCard
from components.interchange.champion import ChampionRecord, EarlierRecord, opponent_record, read_pointer
from components.interchange.errors import BadInput
from components.promote.approval import Approval


def stale(found: str | None, compared_with: str | None) -> BadInput:
    """The refusal to replace a champion that the evaluation did not see."""
    return BadInput(
        f"champion changed since evaluation: it was {compared_with or 'none'}, now it is {found or 'none'}; "
        "the pointer was not changed. Run again to compare with the new one."
    )


def winner(blobs: Blobs, model_name: str, model_digest: str, approved: Approval) -> ChampionRecord:
    """The pointer after a lost swap: fine if someone else promoted this very model meanwhile, else BadInput."""
    found = read_pointer(blobs, model_name)
    if found is None or found[0].digest != model_digest:
        raise stale(found[0].digest if found else None, approved.compared_with)
    return found[0]


def check_unchanged(champion: ChampionRecord | None, approved: Approval, classifier_digest: str) -> None:
    """BadInput unless today's champion is the one that the evaluation competed with.

    A champion made from this run's own classifiers was left out by the evaluation, in favour of the one before it; the
    same rule is applied here.
    """
    contenders = {*approved.contenders, classifier_digest}
    seen = opponent_record(champion, contenders) if champion else None
    if (seen.digest if seen else None) != approved.compared_with:
        raise stale(champion.digest if champion else None, approved.compared_with)


def check_not_rolled_back(champion: ChampionRecord | None, approved: Approval, model_digest: str) -> None:
    """BadInput where this model was rolled back, unless the gate was told to allow it."""
    when = champion.rolled_back_models().get(model_digest) if champion else None
    if when is not None and not approved.allow_rolled_back:
        raise BadInput(
            f"this model was rolled back on {when}; the pointer was not changed. "
            "Allow it with --allow-rolled-back true of gate, or graft run --force promote."
        )


def new_record(
    champion: ChampionRecord | None, approved: Approval, card: OnnxCard, model_digest: str, run_id: str | None
) -> ChampionRecord:
    """The record of the model that replaces `champion`."""
    record = EarlierRecord(
        digest=model_digest,
        classifier_digest=card.classifier_digest,
        dataset_digest=card.dataset_digest,
        replaced=champion.digest if champion else None,
        run_id=run_id,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        latency=approved.latency,
        provider=approved.provider,
        num_threads=approved.num_threads,
        processor=approved.processor,
        noisy=approved.noisy,
        top1=approved.top1,
    )
    return champion.successor(record) if champion else ChampionRecord(**record.model_dump())
