"""`graft doctor`: whether this machine, or a cluster, has what a run needs, and what to change where it has not."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cluster_options import (
    AccountOption,
    ClusterOptions,
    EndpointOption,
    ExperimentOption,
    NamespaceOption,
    TokenOption,
    with_cluster_options,
)
from pipelines.options import ImagePrefixOption, ImageTagOption, JsonOption, RunnerOption, StoreOption, exit_codes
from pipelines.run_options import RunOptions

if TYPE_CHECKING:
    from components.doctor.check import Check


@with_cluster_options
def doctor(
    store: StoreOption = RunOptions.store,
    runner: RunnerOption = RunOptions.runner,
    image_prefix: ImagePrefixOption = RunOptions.image_prefix,
    image_tag: ImageTagOption = RunOptions.image_tag,
    json: JsonOption = False,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Look from inside a pod instead; what follows is for this alone.")
    ] = False,
    endpoint: EndpointOption = None,
    namespace: NamespaceOption = None,
    token: TokenOption = None,
    experiment: ExperimentOption = "graft",
    service_account: AccountOption = None,
    asked: ClusterOptions = ClusterOptions(),  # noqa: B008  Frozen; its fields are the options.
    poll_s: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.01, help="Seconds between two looks at the run.")
    ] = 10.0,
    wait_s: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="Seconds to wait for the run at most.")
    ] = 900.0,
) -> None:
    """Check what a run needs, here or on a cluster. Exit code 2 where something fails."""
    with exit_codes():
        if not cluster:
            checks = _machine(store, runner, image_prefix, image_tag)
        else:
            from components.interchange.errors import BadInput
            from pipelines.cluster import check_installed

            check_installed()
            from pipelines.cluster_commands import connected
            from pipelines.cluster_doctor import look

            if image_tag is None:
                raise BadInput("--cluster: which images? Give --image-prefix and --image-tag, as to graft compile.")
            there = asked.cluster(image_prefix, image_tag)
            server = connected(endpoint, namespace, token)
            checks = look(server, there, store, experiment, service_account, _tell, poll_s, wait_s)
        _show(checks, json)
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(2)


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _machine(store: str, runner: str, image_prefix: str, image_tag: str | None) -> "list[Check]":
    from components.doctor.check import Check
    from components.doctor.store import store_checks
    from components.interchange.errors import BadInput
    from pipelines import doctor_machine
    from pipelines.store import open_store

    places, history = {"temporary": doctor_machine.temporary_folder()}, None
    try:
        opened = open_store(store)
        places = {"store" if opened.in_place else "copies of artifacts": opened.root, **places}
        history = opened.root / "prefect"
        of_the_store = store_checks(store)
    except BadInput as error:
        of_the_store = [Check("store", "fail", str(error), "Check --store, and what else is named here.")]
    checks = [
        doctor_machine.python_check(),
        *doctor_machine.package_checks(),
        doctor_machine.processor_check(),
        doctor_machine.memory_check(),
        doctor_machine.gpu_on_this_machine_check(),
        *doctor_machine.disk_checks(places),
        *of_the_store,
        doctor_machine.prefect_check(history),
    ]
    return [*checks, doctor_machine.docker_check(image_prefix, image_tag)] if runner == "docker" else checks


def _show(checks: "list[Check]", json: bool) -> None:
    from pipelines import terminal

    if json:
        terminal.as_json({"checks": [asdict(check) for check in checks]})
        return
    width = max(len(check.name) for check in checks)
    for check in checks:
        terminal.hanging(f"{check.state:<5} {check.name:<{width}}  ", check.found)
        if check.remedy:
            terminal.hanging(f"{'':<6}{'':<{width}}  ", f"-> {check.remedy}")
