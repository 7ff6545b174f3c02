"""What can be asked of a run on its command line. Every default stands here; nothing heavy is imported."""

from dataclasses import dataclass
from typing import Literal

Strategy = Literal["both", "feature_extraction", "finetune"]
Engine = Literal["prefect", "none"]
Runner = Literal["process", "inline"]

DEFAULT_STORE = "./graft-store"


@dataclass(frozen=True)
class RunOptions:
    """One run as it was asked for, before anything is looked up. `set` are STEP.PARAM=VALUE, `force` names of steps."""

    source: str
    store: str = DEFAULT_STORE
    recipe: str = "production"
    backbone: str | None = None
    model_name: str = "model"
    strategy: Strategy = "both"
    seed: int | None = None
    set: tuple[str, ...] = ()
    force: tuple[str, ...] = ()
    engine: Engine = "prefect"
    runner: Runner = "process"
