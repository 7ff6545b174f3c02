"""The ledger of learning rates: what the optimiser really used, group by group, read from it at every step."""

from collections.abc import Mapping, Sequence

import torch

Ledger = dict[str, list[float]]


def watch_rates(optimizer: torch.optim.Optimizer, ledger: Ledger) -> None:
    """Write the rate of every named group down at each step that the optimiser takes, before it takes it."""

    def note(stepping: torch.optim.Optimizer, *_: object) -> None:
        for group in stepping.param_groups:
            ledger.setdefault(group["name"], []).append(float(f"{group['lr']:.6g}"))

    optimizer.register_step_pre_hook(note)


def by_rates(ledger: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """The ledger with groups of equal rates under one name: `head/decay` and `head/no_decay` as `head`."""
    found: dict[str, Sequence[float]] = {}
    for name, rates in ledger.items():
        owner = name.partition("/")[0]
        if owner in found and list(found[owner]) != list(rates):
            return dict(ledger)
        found[owner] = rates
    return found
