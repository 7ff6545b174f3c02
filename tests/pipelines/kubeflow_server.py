"""A real HTTP server on loopback that speaks Kubeflow Pipelines' v2beta1 API, with the published models of
kfp-server-api. It is no cluster: it keeps what it is told in memory and runs nothing. Like the real one it refuses a
second pipeline or version of one name, lets several schedules have one name, and reads cron in six fields."""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import kfp_server_api as api

CLIENT = api.ApiClient()
PAGE = 2  # Small, so that every list of the tests has several.


@dataclass
class Answer:
    """What the generated client's deserialiser wants of a response."""

    data: str


def read(kind: str, body: bytes) -> Any:
    """A published model from a request's JSON; ValueError where it is none."""
    return CLIENT.deserialize(Answer(body.decode()), kind)


@dataclass
class Cluster:
    """The server's state. `states` are what a run shows at each further look; `refuse` answers instead of it, and to
    everything, with status 200, does `page`.

    `packages` are the uploaded files by version; `started` is called with a new run, and may change it.
    """

    token: str | None = None
    multi_user: bool = False
    pipelines: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    experiments: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)
    schedules: dict[str, Any] = field(default_factory=dict)
    states: list[str] = field(default_factory=lambda: ["PENDING", "RUNNING", "SUCCEEDED"])
    refuse: dict[str, int] = field(default_factory=dict)
    page: str | None = None
    calls: list[str] = field(default_factory=list)
    packages: dict[str, bytes] = field(default_factory=dict)
    release: str = "2.17.0"
    started: Callable[[Any], None] = lambda run: None
    address: str = ""

    def writes(self) -> list[str]:
        return [call for call in self.calls if not call.startswith("GET")]

    def enabled(self) -> list[Any]:
        return [one for one in self.schedules.values() if one.status == "ENABLED"]


class Refusal(Exception):
    """A status and what is said about it."""


class Handler(BaseHTTPRequestHandler):
    cluster: Cluster

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path).removeprefix("/apis/v2beta1/")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.cluster.calls.append(f"{method} {path}")
        try:
            if self.cluster.token and self.headers.get("authorization") != f"Bearer {self.cluster.token}":
                raise Refusal(401, "no valid token")
            for start, status in list(self.cluster.refuse.items()):
                if f"{method} {path}".startswith(start):
                    del self.cluster.refuse[start]
                    raise Refusal(status, "refused by the test")
            found, status = self._do(method, path, query, body), 200
        except Refusal as refusal:
            status, found = refusal.args[0], {"code": 1, "message": refusal.args[1]}
        except ValueError as error:
            status, found = 400, {"code": 3, "message": str(error)}
        data = json.dumps(CLIENT.sanitize_for_serialization(found)).encode()
        if self.cluster.page is not None:
            status, data = 200, self.cluster.page.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _do(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        cluster, last = self.cluster, path.rpartition("/")[2]
        if path == "healthz":
            return {"tag_name": cluster.release, "multi_user": cluster.multi_user}  # The published model lacks the tag.
        if path == "pipelines/upload":
            return self._pipeline(query["name"], query["name"], body)
        if path == "pipelines/upload_version":
            return self._version(query["pipelineid"], query["name"], body)
        if path == "pipelines":
            return paged("pipelines", api.V2beta1ListPipelinesResponse, cluster.pipelines.values(), query)
        if path.endswith("/versions"):
            of = [one for one in cluster.versions.values() if one.pipeline_id == path.split("/")[1]]
            return paged("pipeline_versions", api.V2beta1ListPipelineVersionsResponse, of, query)
        if path == "experiments" and method == "GET":
            return paged("experiments", api.V2beta1ListExperimentsResponse, cluster.experiments.values(), query)
        if path == "experiments":
            return self._keep(cluster.experiments, "experiment_id", read("V2beta1Experiment", body))
        if path == "runs" and method == "GET":
            newest = sorted(cluster.runs.values(), key=lambda run: run.created_at, reverse=True)
            return paged("runs", api.V2beta1ListRunsResponse, newest, query)
        if path == "runs":
            return self._start(read("V2beta1Run", body))
        if path.startswith("runs/"):
            return self._look(last)
        if path == "recurringruns" and method == "GET":
            of = [one for one in cluster.schedules.values() if one.experiment_id == query["experiment_id"]]
            return paged("recurringRuns", api.V2beta1ListRecurringRunsResponse, of, query)
        if path == "recurringruns":
            return self._schedule(read("V2beta1RecurringRun", body))
        if path.startswith("recurringruns/"):
            return self._change(method, *last.partition(":")[::2])
        raise Refusal(404, path)

    def _keep(self, shelf: dict[str, Any], id_field: str, one: Any) -> Any:
        setattr(one, id_field, str(uuid.uuid4()))
        one.created_at = datetime.now(UTC) + timedelta(seconds=len(shelf))
        return shelf.setdefault(getattr(one, id_field), one)

    def _pipeline(self, name: str, version: str, body: bytes) -> Any:
        if any(one.name == name for one in self.cluster.pipelines.values()):
            raise Refusal(409, f"pipeline {name} exists")
        made = self._keep(self.cluster.pipelines, "pipeline_id", api.V2beta1Pipeline(name=name, display_name=name))
        self._version(made.pipeline_id, version, body)
        return made

    def _version(self, pipeline_id: str, name: str, body: bytes) -> Any:
        if b"pipelineInfo" not in body:
            raise ValueError("no pipeline in the upload")
        if any((one.pipeline_id, one.name) == (pipeline_id, name) for one in self.cluster.versions.values()):
            raise Refusal(409, f"version {name} exists")
        one = api.V2beta1PipelineVersion(pipeline_id=pipeline_id, name=name, display_name=name)
        kept = self._keep(self.cluster.versions, "pipeline_version_id", one)
        self.cluster.packages[kept.pipeline_version_id] = body
        return kept

    def _start(self, run: Any) -> Any:
        if run.pipeline_version_reference.pipeline_version_id not in self.cluster.versions:
            raise ValueError("no such version")
        run.state, run.finished_at = "PENDING", datetime(1970, 1, 1, tzinfo=UTC)
        kept = self._keep(self.cluster.runs, "run_id", run)
        self.cluster.started(kept)
        return kept

    def _look(self, run_id: str) -> Any:
        if run_id not in self.cluster.runs:
            raise Refusal(404, f"run {run_id}")
        run = self.cluster.runs[run_id]
        run.state = self.cluster.states.pop(0) if len(self.cluster.states) > 1 else self.cluster.states[0]
        return run

    def _schedule(self, one: Any) -> Any:
        if not re.fullmatch(r"\S+( \S+){5}", one.trigger.cron_schedule.cron):
            raise ValueError("cron: expected six fields")
        if not 1 <= int(one.max_concurrency) <= 10:
            raise ValueError("max_concurrency: expected 1 to 10")
        one.status = "DISABLED" if one.mode == "DISABLE" else "ENABLED"
        return self._keep(self.cluster.schedules, "recurring_run_id", one)

    def _change(self, method: str, recurring_run_id: str, verb: str) -> Any:
        if recurring_run_id not in self.cluster.schedules:
            raise Refusal(404, f"schedule {recurring_run_id}")
        if method == "DELETE":
            del self.cluster.schedules[recurring_run_id]
        else:
            self.cluster.schedules[recurring_run_id].status = {"enable": "ENABLED", "disable": "DISABLED"}[verb]
        return {}


def paged(field: str, kind: Any, found: Any, query: dict[str, str]) -> Any:
    """One page of a list, with the token of the next."""
    everything, start = list(found), int(query.get("page_token") or 0)
    name = {"recurringRuns": "recurring_runs"}.get(field, field)
    token = str(start + PAGE) if start + PAGE < len(everything) else None
    return kind(**{name: everything[start : start + PAGE], "next_page_token": token})


@contextmanager
def kubeflow_server(**settings: Any) -> Iterator[Cluster]:
    """The server, for as long as the block lasts."""
    cluster = Cluster(**settings)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"cluster": cluster}))
    cluster.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
