"""Gate: the order of work. It reads four reports and says one word; nothing is measured here."""

import logging

from components.gate import budgets, classes, rivalry
from components.gate.evidence import Evidence, read_evidence
from components.gate.rules import Finding
from components.gate.spec import Gate
from components.gate.verdict import decide
from components.interchange.blobs import open_blobs
from components.interchange.champion import ChampionRecord, read_pointer
from components.interchange.report import Row, write_report
from components.interchange.step import RunContext

log = logging.getLogger("graft")
LATENCY = ("p50_ms", "p90_ms", "p99_ms")


def run(spec: Gate, context: RunContext) -> None:
    """Judge every rule, write the verdict with its reasons, and what the next run needs to know of this model."""
    evidence = read_evidence(
        {
            "ingest": spec.ingest_report,
            "evaluate": spec.evaluate_report,
            "export_onnx": spec.export_report,
            "latency": spec.latency_report,
        }
    )
    champion = evidence.evaluated.champion
    findings = judge(spec, evidence)
    record = record_in_store(context)
    returned = rivalry.rolled_back(record, evidence.model, spec.allow_rolled_back)
    findings += [] if returned is None else [returned]
    verdict = decide(findings, has_champion=champion is not None)
    warnings = []
    if champion is not None and returned is None and verdict.word == "promote":
        warnings = rivalry.over_a_rollback(record, champion.digest)
    details = {
        "verdict": verdict.word,
        "reasons": verdict.reasons,
        "warnings": warnings,
        "findings": [{"rule": one.row.of, "outcome": one.outcome, "words": one.words} for one in findings],
        "compared_with": None if champion is None else champion.digest,
        "model": evidence.model,
        "contenders": evidence.contenders,
        "selected": evidence.evaluated.selected,
        "allow_rolled_back": spec.allow_rolled_back,
        "provider": evidence.measured.provider,
        "num_threads": evidence.measured.num_threads,
        "processor": evidence.measured.machine.processor,
        "noisy": evidence.measured.noisy,
    }
    spec.verdict.write_text(verdict.word, encoding="utf-8")  # No newline: Kubeflow compares the file as it is.
    write_report(spec.report, spec, [finding.row for finding in findings] + carried(evidence), details)
    for reason in verdict.reasons:
        log.info("verdict=%s reason=%s", verdict.word, reason)
    for warning in warnings:
        log.warning("warning: %s", warning)


def record_in_store(context: RunContext) -> ChampionRecord | None:
    """The store's record of the champion and those before it; None where there is none, or no store."""
    found = read_pointer(open_blobs(context.store), context.model_name) if context.store is not None else None
    return found[0] if found else None


def judge(spec: Gate, evidence: Evidence) -> list[Finding]:
    """Every rule that applies, in the order of the spec."""
    champion = evidence.evaluated.champion
    difference = evidence.difference
    findings = [budgets.sense_finding(evidence), *budgets.export_findings(evidence, spec.max_flips)]
    if spec.max_p99_ms is not None:
        findings.append(budgets.latency_finding(evidence, spec.max_p99_ms))
    if spec.min_top1 is not None:
        findings.append(budgets.top1_finding(evidence, spec.min_top1))
    if spec.min_gain is not None:
        findings.append(budgets.gain_finding(evidence, spec.min_gain, difference))
    if spec.max_ece is not None:
        findings.append(budgets.ece_finding(evidence, spec.max_ece))
    if spec.max_class_drop is not None:
        against = evidence.class_differences
        findings += [classes.drop(rows, spec.max_class_drop, opponent) for opponent, rows in against.items()]
        if not against:
            findings.append(classes.without_opponent(spec.max_class_drop, evidence.entrant == "baseline"))
        if (rows := evidence.precision_differences) is not None:
            findings.append(classes.drop(rows, spec.max_class_drop, "fp32 export"))
    if champion is None:
        return findings
    compared = rivalry.LATENCY if spec.promote_if == "faster" else ()
    measured = [evidence.row("latency", name, budgets.AT_BATCH_1) for name in compared]
    findings += rivalry.beats(
        spec.promote_if, spec.margin, difference, champion, measured, evidence.measured, evidence.in_precision
    )
    change = rivalry.class_change(champion, spec.allow_class_change)
    return findings + ([] if change is None else [change])


def carried(evidence: Evidence) -> list[Row]:
    """Rows of this model that a champion's record keeps: latency at batch 1, test top-1 and its differences."""
    compared = (evidence.entrant, "candidate-baseline", "selected-champion")
    return [
        *evidence.figures("latency", LATENCY, (budgets.AT_BATCH_1,)),
        *evidence.figures("evaluate", ("top1", "top1_difference"), compared, "test"),
    ]
