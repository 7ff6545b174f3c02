"""What can be asked of a run on its command line. Every default stands here; nothing heavy is imported."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

Strategy = Literal["both", "feature_extraction", "finetune"]
Engine = Literal["prefect", "none"]
OnDrift = Literal["warn", "stop"]
Runner = Literal["process", "inline", "docker"]

DEFAULT_STORE = "./graft-store"
NOTIFY = "GRAFT_NOTIFY"  # The environment variable that stands for --notify.


@dataclass(frozen=True)
class RunOptions:
    """One run as it was asked for, before anything is looked up. `set` are STEP.PARAM=VALUE, `force` names of steps.

    `notify` is a command or an address that may hold a secret: it goes into no record. `metrics` is a file.
    """

    source: str
    store: str = DEFAULT_STORE
    recipe: str = "production"
    backbone: str | None = None
    model_name: str = "model"
    strategy: Strategy = "both"
    seed: int | None = None
    on_drift: OnDrift | None = None
    set: tuple[str, ...] = ()
    force: tuple[str, ...] = ()
    engine: Engine = "prefect"
    runner: Runner = "process"
    image_prefix: str = "graft-"
    image_tag: str | None = None
    notify: str | None = None
    metrics: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "RunOptions":
        """From values by name, as a command line or JSON has them; those of other names are left out."""
        lists = {"set": tuple(values.get("set") or ()), "force": tuple(values.get("force") or ())}
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values} | lists)
