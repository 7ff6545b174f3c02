"""A step's command line, derived from its spec: parse, run, publish whole artifacts or nothing.

Exit codes: 0 done, 1 crash, 2 bad input, 130 Ctrl-C, 143 SIGTERM. Standard error carries one `key=value` line an event.
"""

import importlib
import json
import logging
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from itertools import permutations
from types import FrameType
from typing import Any, TypeVar, cast

from pydantic import ValidationError, create_model
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError
from tqdm.contrib.logging import logging_redirect_tqdm

from components import __version__
from components.interchange.artifact import RUN_FILE, digest, to_json
from components.interchange.blobs import open_blobs
from components.interchange.cores import prepare_threads
from components.interchange.errors import BadInput, in_words, listed, near
from components.interchange.executor_output import given_folders, write_executor_output
from components.interchange.heartbeat import beating
from components.interchange.ranks import first_to_say, is_first
from components.interchange.run_reports import keep_report
from components.interchange.step import (
    RunContext,
    Spec,
    flag,
    flag_words,
    given_parameters,
    input_folders,
    ports,
    step_name,
    task_name,
)
from components.interchange.step_help import step_help

log = logging.getLogger("graft")
S = TypeVar("S", bound=Spec)
VERSIONED = ("numpy", "pyarrow", "pillow", "torch", "torchvision", "timm", "onnx", "onnxruntime")


class _CommandLineOnly(BaseSettings):
    """Settings from the command line alone: no environment variable ever becomes a parameter."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", cli_kebab_case=True, cli_avoid_json=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def parse(spec_type: type[S], argv: Sequence[str]) -> tuple[S, RunContext]:
    """A spec and a run context from `--flag value` pairs; BadInput lists every wrong value."""
    name = f"python -m {_package(spec_type)}"
    if {"-h", "--help"} & set(argv):
        print(step_help(spec_type, name), end="")
        raise SystemExit(0)
    _check_text(argv)
    _check_flags(spec_type, name, argv)
    argv = [*argv, *_lists(spec_type, argv)]
    command = create_model(
        spec_type.__name__, __base__=cast(Any, (spec_type, RunContext, _CommandLineOnly)), __doc__=spec_type.__doc__
    )
    try:
        both = command(_cli_parse_args=argv, _cli_prog_name=name, _cli_implicit_flags=False)
    except ValidationError as error:
        raise BadInput(_sentence(error)) from None
    except SettingsError as error:
        raise BadInput(str(error)) from None
    values = both.model_dump()
    context = {key: values.pop(key) for key in RunContext.model_fields}
    return spec_type(**values), RunContext(**context)


def _check_text(argv: Sequence[str]) -> None:
    """A name of other bytes works as a path, but no record of the run can hold it."""
    for word in argv:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise BadInput(f"{word!r} is no UTF-8 text: rename the file or folder, or give a link to it.") from None


def _check_flags(spec_type: type[Spec], command: str, argv: Sequence[str]) -> None:
    """In a line what argparse would say after twenty of usage."""
    known = ["--help", *map(flag, [*spec_type.model_fields, *RunContext.model_fields])]
    given = [word.partition("=")[0] for word in argv if word.startswith("--")]
    faults = [f"unknown flag {word}.{near(word, known)}" for word in given if word not in known]
    if faults := faults or _unpaired(argv):
        raise BadInput(f"{'; '.join(faults)} `{command} --help` lists them all.")


def _unpaired(argv: Sequence[str]) -> list[str]:
    """Flags without a value, and words that are the value of none."""
    words, faults = iter(argv), []
    for word in words:
        if not word.startswith("--"):
            faults.append(f"{word!r} follows no flag: expected --NAME VALUE.")
        elif "=" not in word and next(words, "--").startswith("--"):
            faults.append(f"{word} has no value: expected {word} VALUE.")
            break  # What follows was taken for the value.
    return faults


def _lists(spec_type: type[Spec], argv: Sequence[str]) -> list[str]:
    """Flags of ports for many that Kubeflow has given in its --executor-input alone."""
    try:
        executor_input = argv[argv.index("--executor-input") + 1]
    except (ValueError, IndexError):
        return []
    absent = [port.name for port in ports(spec_type, "in") if port.many and flag(port.name) not in argv]
    found = [(name, list(map(str, given_folders(executor_input, name)))) for name in absent]
    return [word for name, folders in found for word in flag_words(name, folders)]


def _package(spec_type: type[Spec]) -> str:
    return spec_type.__module__.rpartition(".")[0]


def _sentence(error: ValidationError) -> str:
    def one(problem: Any) -> str:
        name = flag(".".join(str(part) for part in problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        if problem["type"] == "missing":
            return f"{name} is required"
        return f"{name}: {message}, got {problem['input']!r}" if problem["loc"] else message

    return "; ".join(one(problem) for problem in error.errors())


def argv_of(spec: Spec, context: RunContext | None = None) -> list[str]:
    """The flags that make `parse` return this spec again."""
    values = {**spec.model_dump(mode="json"), **(context.model_dump(mode="json") if context else {})}
    return [word for name, value in values.items() if value is not None for word in flag_words(name, value)]


def main(spec_type: type[Spec], argv: Sequence[str] | None = None) -> int:
    """Run one step from its command line and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)  # Of libraries, warnings only.
    log.setLevel(logging.INFO if is_first() else logging.ERROR)
    logging.getLogger("huggingface_hub").propagate = False  # It has a handler of its own.
    name = step_name(spec_type)
    prepare_threads()
    try:
        spec, context = parse(spec_type, sys.argv[1:] if argv is None else argv)
        with logging_redirect_tqdm() if sys.stderr.isatty() else nullcontext():  # A line above the bars, not in one.
            _run(name, spec, context)
        return 0
    except KeyboardInterrupt:
        print(f"{name}: interrupted; nothing was published", file=sys.stderr)
        return 130
    except Exception as error:
        words = in_words(error)
        if not words:
            raise
    if first_to_say(f"{name}: {words}"):
        print(f"{name}: {words}", file=sys.stderr)
    return 2


def _run(name: str, spec: Spec, context: RunContext) -> None:
    started = time.time()
    inputs = {port: digest(path) for port, path in input_folders(spec).items() if path.exists()}
    outputs = [port for port in ports(type(spec), "out") if getattr(spec, port.name) is not None]
    log.debug("step=%s spec=%s", name, json.dumps(given_parameters(spec)))
    put = open_blobs(context.store).put if context.store is not None and is_first() else None
    with beating(put, context.run_id, task_name(spec)), _whole_or_nothing(spec) as staged:
        facts = importlib.import_module(f"{_package(type(spec))}.run").run(staged, context) or {}
        record = {
            "step": name,
            "started": started,
            "seconds": time.time() - started,
            "run_id": context.run_id,
            "inputs": inputs,
            "host": platform.node(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            "versions": _versions(),
            **facts,
        }
        for port in outputs:
            folder = getattr(staged, port.name)
            if folder.is_dir():
                (folder / RUN_FILE).write_text(to_json(record), encoding="utf-8")
    if context.executor_input is not None and is_first():
        written = {port.name: getattr(spec, port.name) for port in outputs}
        if context.store is not None and context.run_id is not None and "report" in written:
            keep_report(open_blobs(context.store), context.run_id, task_name(spec), written["report"])
        write_executor_output(context.executor_input, written)
    log.info("step=%s done seconds=%.1f", name, time.time() - started)


def _versions() -> dict[str, str]:
    found = {"graft": __version__}
    for package in VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@contextmanager
def _whole_or_nothing(spec: S) -> Iterator[S]:
    """Outputs are written beside their place and moved there together when the step is done."""
    asked = {port.name: getattr(spec, port.name) for port in ports(type(spec), "out")}
    finals = {name: path for name, path in asked.items() if path is not None}
    taken = [str(path) for path in finals.values() if path.is_file() or (path.is_dir() and any(path.iterdir()))]
    if taken:
        raise BadInput(f"output is there already: {listed(taken)}. Remove it or name another place.")
    for one, other in permutations(finals, 2):
        if finals[one].absolute().is_relative_to(finals[other].absolute()):
            raise BadInput(f"{flag(one)} {finals[one]} lies in {flag(other)}: expected a place of its own for each.")
    staging = {name: path.parent / f".{path.name}.partial-{os.getpid()}" for name, path in finals.items()}
    for path in staging.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with terminated_by_exception():
            yield spec.model_copy(update=staging)
        missing = [name for name, path in staging.items() if not path.exists()]
        if missing:
            raise RuntimeError(f"the step did not write {listed(missing)}")
        if not is_first():  # What the other processes write is thrown away.
            return
        for name, path in staging.items():
            if finals[name].is_dir():
                finals[name].rmdir()
            path.rename(finals[name])
    finally:
        for path in staging.values():
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def terminated_by_exception() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C, so that nothing half-written stays behind.

    Only once: systemd sends it to every process of a service, and those that started others send it on to them. A
    second one would end what the first one gave time to.
    """

    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(128 + signum)

    with _on_sigterm(stop):
        yield


def sigterm_ignored() -> AbstractContextManager[None]:
    """Meanwhile SIGTERM does nothing, whoever would have handled it."""
    return _on_sigterm(signal.SIG_IGN)


@contextmanager
def _on_sigterm(handler: Any) -> Iterator[None]:
    try:
        previous = signal.signal(signal.SIGTERM, handler)
    except ValueError:  # Not the main thread: whoever runs us there owns the signals.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
