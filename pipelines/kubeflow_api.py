"""Kubeflow Pipelines' own API: pipelines, versions, runs and schedules, with errors that say what to check.

Uses the generated client alone: kfp's own keeps a namespace in the user's home and hides what a server refuses.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp_server_api as api
import urllib3
import yaml

from components.interchange.champion import pointer_key
from components.interchange.errors import BadInput, listed, near
from pipelines.parameters import fault_of

PAGE_SIZE = 100
TIMEOUT_S = 30
SHOWN = 60  # Characters of an answer that is not Kubeflow's.
NUMBERS: dict[str, Callable[[str], Any]] = {"NUMBER_INTEGER": int, "NUMBER_DOUBLE": float}
PLACES = ("source", "store")


@dataclass(frozen=True)
class Package:
    """A compiled pipeline: its file, its name, and the parameters of a run by name."""

    path: Path
    name: str
    version: str
    parameters: Mapping[str, Mapping[str, Any]]


def read_package(path: Path) -> Package:
    """Read what `graft compile` wrote. The version is named by the content."""
    try:
        data = path.read_bytes()
        spec = next(yaml.safe_load_all(data))
        name, parameters = spec["pipelineInfo"]["name"], spec["root"].get("inputDefinitions", {}).get("parameters", {})
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}. Expected a file that graft compile wrote.") from None
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, StopIteration):
        raise BadInput(f"{path} is no compiled pipeline. Expected a file that graft compile wrote.") from None
    return Package(path, name, f"sha-{hashlib.sha256(data).hexdigest()[:12]}", parameters)


def parameters_of(package: Package, assignments: list[str]) -> dict[str, Any]:
    """`name=value` pairs as Kubeflow's parameters; BadInput lists the unknown, the wrong and the lacking."""
    found, wrong = {}, []
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.replace("-", "_")
        if not equals:
            wrong.append(f"{assignment} (expected NAME=VALUE)")
            continue
        if name not in package.parameters:
            wrong.append(f"{assignment} (no such parameter.{near(name, package.parameters)})")
            continue
        if name in PLACES and "://" not in text and not text.startswith("/"):
            wrong.append(
                f"{assignment} (a path of this machine; expected one that every pod sees, like s3://BUCKET/PREFIX)"
            )
            continue
        kind = package.parameters[name]["parameterType"]
        try:
            found[name] = NUMBERS.get(kind, str)(text)
        except ValueError:
            wrong.append(f"{assignment} (expected a {'whole ' if kind == 'NUMBER_INTEGER' else ''}number)")
            continue
        if fault := fault_of(name, found[name]):  # The step that it is for may come after hours of training.
            wrong.append(f"{assignment} ({fault})")
    lacking = [name for name, one in package.parameters.items() if not one.get("isOptional") and name not in found]
    wrong += [f"{name} is required" for name in lacking if not any(one.startswith(f"{name}=") for one in wrong)]
    pointer_key(found.get("model_name", "model"))  # Refuses a name that is no file name.
    if wrong:
        raise BadInput(f"--param: {listed(wrong)}. Parameters of {package.path}: {', '.join(package.parameters)}.")
    return found


class _Client(api.ApiClient):  # type: ignore[misc]
    """The generated client, which makes an empty answer of whatever is none, as of a page for signing in."""

    def deserialize(self, response: Any, response_type: Any) -> Any:
        """ValueError where the answer is no JSON object."""
        try:
            is_object = isinstance(json.loads(response.data), dict)
        except ValueError:
            is_object = False
        if not is_object:
            begins = " ".join(str(response.data)[:SHOWN].split())
            raise ValueError(f"its answer is {begins!r}; if that is a page for signing in, the token has expired")
        return super().deserialize(response, response_type)


class Kubeflow:
    """One Kubeflow Pipelines server. `namespace` is needed where Kubeflow has several users."""

    def __init__(self, endpoint: str, namespace: str | None = None, token: str | None = None) -> None:
        if not endpoint.startswith(("http://", "https://")):
            raise BadInput(f"--endpoint {endpoint}: expected an address like http://localhost:8080.")
        self.endpoint, self.namespace = endpoint.rstrip("/"), namespace
        configuration = api.Configuration(host=self.endpoint)
        configuration.retries = urllib3.Retry(connect=2, read=0, backoff_factor=0.2)
        if token is not None:
            configuration.api_key, configuration.api_key_prefix = {"authorization": token}, {"authorization": "Bearer"}
        client = _Client(configuration)
        self._health = api.HealthzServiceApi(client)
        self._pipelines = api.PipelineServiceApi(client)
        self._uploads = api.PipelineUploadServiceApi(client)
        self._experiments = api.ExperimentServiceApi(client)
        self._runs = api.RunServiceApi(client)
        self._schedules = api.RecurringRunServiceApi(client)

    def check(self) -> None:
        """BadInput where the server does not answer as Kubeflow does, or where it needs a namespace."""
        if self._call(self._health.healthz_service_get_healthz).multi_user and self.namespace is None:
            raise BadInput(f"{self.endpoint} serves several users: give --namespace, or set KF_PIPELINES_NAMESPACE.")

    def release(self) -> str | None:
        """Kubeflow's version, which its health has and the published model lacks; None where it does not tell."""
        answer = self._call(self._health.healthz_service_get_healthz, _preload_content=False)
        health = json.loads(answer.data)
        told = health.get("tag_name") or health.get("apiServerTagName")  # The user interface has its own spelling.
        return None if told in (None, "", "unknown") else str(told)

    def version_of(self, package: Package) -> Any:
        """The pipeline's version of this content, uploaded unless it is there: its pipeline_id and its own id."""
        pipeline_id = self._pipeline_id(package)
        found = [one for one in self._versions(pipeline_id) if one.name == package.version]
        if not found:
            named = {"name": package.version, "display_name": package.version, "pipelineid": pipeline_id}
            with self._readable(), _already_there():
                self._uploads.upload_pipeline_version(str(package.path), **named, _request_timeout=TIMEOUT_S)
            found = [one for one in self._versions(pipeline_id) if one.name == package.version]
        if not found:
            raise self._not_listed(package)
        return api.V2beta1PipelineVersionReference(
            pipeline_id=pipeline_id, pipeline_version_id=found[0].pipeline_version_id
        )

    def experiment_id(self, name: str) -> str:
        """The experiment of that name, made unless it is there."""
        listed_by = self._experiments.experiment_service_list_experiments
        for one in self._pages(listed_by, "experiments", **self._in_namespace()):
            if one.display_name == name:
                return str(one.experiment_id)
        body = api.V2beta1Experiment(display_name=name, namespace=self.namespace)
        return str(self._call(self._experiments.experiment_service_create_experiment, body).experiment_id)

    def start(
        self, version: Any, experiment_id: str, name: str, parameters: Mapping[str, Any], account: str | None = None
    ) -> str:
        """Start a run and return its id."""
        body = api.V2beta1Run(
            display_name=name,
            experiment_id=experiment_id,
            pipeline_version_reference=version,
            runtime_config=api.V2beta1RuntimeConfig(parameters=dict(parameters)),
            service_account=account,
        )
        return str(self._call(self._runs.run_service_create_run, body).run_id)

    def run(self, run_id: str) -> Any:
        """A run as it is now."""
        return self._call(self._runs.run_service_get_run, run_id)

    def runs(self) -> Iterator[Any]:
        """Runs, newest first."""
        return self._pages(self._runs.run_service_list_runs, "runs", sort_by="created_at desc", **self._in_namespace())

    def address(self, run_id: str) -> str:
        """Where a browser shows a run."""
        return f"{self.endpoint}/#/runs/details/{run_id}"

    def schedules(self, experiment_id: str, name: str) -> list[Any]:
        """Schedules of that name: Kubeflow lets there be several."""
        listed_by = self._schedules.recurring_run_service_list_recurring_runs
        found = self._pages(listed_by, "recurring_runs", experiment_id=experiment_id, **self._in_namespace())
        return [one for one in found if one.display_name == name]

    def add_schedule(self, body: Any) -> Any:
        """Make a schedule."""
        return self._call(self._schedules.recurring_run_service_create_recurring_run, body)

    def delete_schedule(self, recurring_run_id: str) -> None:
        """Remove a schedule; its runs stay."""
        self._call(self._schedules.recurring_run_service_delete_recurring_run, recurring_run_id)

    def enable_schedule(self, recurring_run_id: str) -> None:
        """Let a schedule start runs."""
        self._call(self._schedules.recurring_run_service_enable_recurring_run, recurring_run_id)

    def _pipeline_id(self, package: Package) -> str:
        found = self._pipeline(package.name)
        if found is None:
            with self._readable(), _already_there():  # Someone else may upload it this moment.
                self._uploads.upload_pipeline(
                    str(package.path),
                    name=package.name,
                    display_name=package.name,
                    **self._in_namespace(),
                    _request_timeout=TIMEOUT_S,
                )
            found = self._pipeline(package.name)
        if found is None:
            raise self._not_listed(package)
        return str(found.pipeline_id)

    def _not_listed(self, package: Package) -> BadInput:
        return BadInput(f"{self.endpoint} {NO_API}: it took {package.path} and does not list it. {ADDRESS}")

    def _pipeline(self, name: str) -> Any:
        listed_by = self._pipelines.pipeline_service_list_pipelines
        found = self._pages(listed_by, "pipelines", **self._in_namespace())
        return next((one for one in found if one.name == name), None)

    def _versions(self, pipeline_id: str) -> Iterator[Any]:
        listed_by = self._pipelines.pipeline_service_list_pipeline_versions
        return self._pages(lambda **more: listed_by(pipeline_id, **more), "pipeline_versions")

    def _in_namespace(self) -> dict[str, str]:
        return {} if self.namespace is None else {"namespace": self.namespace}

    def _pages(self, method: Callable[..., Any], field: str, **given: Any) -> Iterator[Any]:
        """Every element of a list that the server gives in pages."""
        token = ""
        while True:
            page = self._call(method, page_size=PAGE_SIZE, page_token=token, **given)
            yield from getattr(page, field) or []
            token = page.next_page_token or ""
            if not token:
                return

    def _call(self, method: Callable[..., Any], *given: Any, **named: Any) -> Any:
        with self._readable():
            return method(*given, **named, _request_timeout=TIMEOUT_S)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """A refusal of the server as one sentence that says what to check."""
        try:
            yield
        except urllib3.exceptions.HTTPError as error:
            why = getattr(error, "reason", None) or error
            raise BadInput(f"no answer from {self.endpoint} ({why}). {ADDRESS}") from None
        except api.ApiException as error:
            refusal = _refusal(error, self.endpoint)
            if refusal is None:
                raise
            raise refusal from None
        except (ValueError, AttributeError, TypeError) as error:
            raise BadInput(f"{self.endpoint} {NO_API}: {error}. {ADDRESS}") from None


NO_API = "does not answer as Kubeflow Pipelines does"
ADDRESS = (
    "Check --endpoint or KF_PIPELINES_ENDPOINT: http://localhost:8080 behind `kubectl port-forward --namespace "
    "kubeflow service/ml-pipeline-ui 8080:80`, or https://HOST/pipeline of a full Kubeflow."
)


def _refusal(error: Any, endpoint: str) -> BadInput | None:
    """The BadInput for what a user can mend; None where a caller has to look at it."""
    said = str(error.body or error.reason or "")[:300]
    if error.status == 401:
        return BadInput(f"{endpoint} does not accept the token. Check --token or KF_PIPELINES_TOKEN; has it expired?")
    if error.status == 403:
        return BadInput(f"{endpoint} forbids it: {said}. Check --namespace, and the token's rights in it.")
    if error.status == 404:
        return BadInput(f"{endpoint} has no such thing: {said}. {ADDRESS}")
    if error.status == 409:
        return None
    return BadInput(f"{endpoint} refuses ({error.status}): {said}")


@contextmanager
def _already_there() -> Iterator[None]:
    """What another upload has made meanwhile is as good as ours: names are made of content."""
    try:
        yield
    except api.ApiException as error:
        if error.status != 409:
            raise
