"""`graft submit`, `schedule` and `runs --cluster`, against a server that speaks Kubeflow's API and is no cluster."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from components.interchange.errors import BadInput
from pipelines.cli import app
from pipelines.cron import six_fields
from tests.pipelines.kubeflow_server import Cluster, kubeflow_server

NEEDED = ["--param", "source=s3://images/parts", "--param", "store=s3://graft/store"]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What graft compile wrote."""
    path = tmp_path_factory.mktemp("package") / "pipeline.yaml"
    words = ["compile", "--output", str(path), "--image-prefix", "r/graft-", "--image-tag", "1", "--recipe", "demo"]
    assert CliRunner().invoke(app, words).exit_code == 0
    return path


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with kubeflow_server() as server:
        yield server


def graft(cluster: Cluster, command: str, *words: object, **environment: str) -> Result:
    given = {"KF_PIPELINES_ENDPOINT": cluster.address, **environment}
    return CliRunner().invoke(app, [command, *(str(word) for word in words)], env=given)


def submit(cluster: Cluster, package: Path, *more: object, **environment: str) -> Result:
    return graft(cluster, "submit", package, *NEEDED, "--poll-s", 0.01, *more, **environment)


def schedule(cluster: Cluster, package: Path, *more: object, cron: str = "0 2 * * 1-5") -> Result:
    return graft(cluster, "schedule", package, *NEEDED, "--cron", cron, *more)


def test_the_same_pipeline_is_uploaded_once(cluster: Cluster, package: Path, tmp_path: Path) -> None:
    first = submit(cluster, package, "--param", "seed=3", "--param", "max-p99-ms=25")
    assert first.exit_code == 0, first.output
    again = submit(cluster, package)
    changed = tmp_path / "changed.yaml"
    changed.write_text(package.read_text() + "# changed\n")
    assert submit(cluster, changed).exit_code == again.exit_code == 0

    assert len(cluster.pipelines) == 1 and len(cluster.experiments) == 1 and len(cluster.runs) == 3
    assert sorted(one.name[:4] for one in cluster.versions.values()) == ["graf", "sha-", "sha-"]
    run = next(iter(cluster.runs.values()))
    assert first.output.strip() == f"{cluster.address}/#/runs/details/{run.run_id}"
    assert run.runtime_config.parameters == {
        "source": "s3://images/parts",
        "store": "s3://graft/store",
        "seed": 3,
        "max_p99_ms": 25.0,
    }


def test_another_upload_at_the_same_moment_is_as_good(cluster: Cluster, package: Path) -> None:
    assert submit(cluster, package).exit_code == 0
    cluster.versions = {key: one for key, one in cluster.versions.items() if one.name.startswith("sha-")}
    cluster.refuse = {"GET pipelines/": 503}
    assert submit(cluster, package).exit_code == 2
    assert submit(cluster, package).exit_code == 0
    assert len([one for one in cluster.versions.values() if one.name.startswith("sha-")]) == 1


@pytest.mark.parametrize(("end", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 1)])
def test_waiting_ends_with_the_run(cluster: Cluster, package: Path, end: str, code: int) -> None:
    cluster.states = ["PENDING", "RUNNING", "RUNNING", end]
    cluster.refuse = {"GET runs/": 503}  # One lost answer on the way.
    done = submit(cluster, package, "--wait")

    assert done.exit_code == code
    assert done.stdout.splitlines()[1:] == ["PENDING", "RUNNING", end]
    assert ("has ended as" in done.stderr) == (code == 1)


def test_a_schedule_is_made_kept_replaced_and_never_doubled(cluster: Cluster, package: Path) -> None:
    made = schedule(cluster, package)
    assert made.exit_code == 0, made.output
    (one,) = cluster.enabled()
    assert one.trigger.cron_schedule.cron == "0 0 2 * * 1-5"
    assert (one.max_concurrency, one.no_catchup, one.display_name) == ("1", True, "graft-model")
    cluster.calls.clear()
    assert "as it was" in schedule(cluster, package).output
    assert cluster.writes() == []

    assert schedule(cluster, package, cron="30 3 * * *").exit_code == 0
    assert [found.trigger.cron_schedule.cron for found in cluster.schedules.values()] == ["0 30 3 * * *"]
    assert cluster.writes()[0] == "POST recurringruns" and cluster.writes()[-1].endswith(":enable")
    assert schedule(cluster, package, "--param", "model-name=other").exit_code == 0
    assert {found.display_name for found in cluster.enabled()} == {"graft-model", "graft-other"}


@pytest.mark.parametrize("cut", ["DELETE recurringruns", "POST recurringruns/"])
def test_a_rerun_repairs_an_interruption(cluster: Cluster, package: Path, cut: str) -> None:
    assert schedule(cluster, package).exit_code == 0
    cluster.refuse = {cut: 500}
    assert schedule(cluster, package, cron="30 3 * * *").exit_code == 2
    assert len(cluster.enabled()) <= 1

    assert schedule(cluster, package, cron="30 3 * * *").exit_code == 0
    assert [one.trigger.cron_schedule.cron for one in cluster.schedules.values()] == ["0 30 3 * * *"]
    assert len(cluster.enabled()) == 1


def test_several_schedules_of_one_name_become_one(cluster: Cluster, package: Path) -> None:
    assert schedule(cluster, package).exit_code == 0
    (one,) = cluster.schedules.values()
    for number in range(4):
        cluster.schedules[f"by hand {number}"] = type(one)(**{**one.to_dict(), "recurring_run_id": f"by hand {number}"})
        cluster.schedules[f"by hand {number}"].trigger = one.trigger
        cluster.schedules[f"by hand {number}"].pipeline_version_reference = one.pipeline_version_reference
        cluster.schedules[f"by hand {number}"].runtime_config = one.runtime_config
    assert schedule(cluster, package).exit_code == 0
    assert len(cluster.schedules) == len(cluster.enabled()) == 1


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("0 0 2 * * *", "6 fields"),
        ("@daily", "1 field;"),
        ("61 2 * * *", "minute"),
        ("0 2 30 2 *", "day-of-month"),
        ("0 2 * * 7", "write 0 for 7"),
        ("0 2 L * *", "does not know 'L'"),
        ("0 2 * * 5#2", "does not know '5#2'"),
        ("every day", "2 fields"),
    ],
)
def test_nonsense_is_refused_in_words(cron: str, said: str) -> None:
    with pytest.raises(BadInput, match=r"--cron .*expected five fields|write 0 for 7") as error:
        six_fields(cron)
    assert said in str(error.value)


def test_names_of_days_and_months_are_known() -> None:
    assert six_fields(" 0 2 *  JAN,JUL MON-FRI ") == "0 0 2 * JAN,JUL MON-FRI"


def test_the_runs_of_a_cluster_are_listed_newest_first(cluster: Cluster, package: Path) -> None:
    for model in ("a", "b", "a"):
        assert submit(cluster, package, "--param", f"model_name={model}", "--param", "seed=1").exit_code == 0
    ids = list(cluster.runs)
    found = json.loads(graft(cluster, "runs", "--cluster", "--json").stdout)
    assert [run["run_id"] for run in found] == ids[::-1]
    assert found[0].items() >= {"model_name": "a", "state": "PENDING", "scheduled": False, "seconds": None}.items()
    of_a = graft(cluster, "runs", "--cluster", "--model-name", "a", "--limit", "1", "--json")
    assert [run["run_id"] for run in json.loads(of_a.stdout)] == ids[2:]


def test_wrong_parameters_are_listed_before_anything_is_uploaded(cluster: Cluster, package: Path) -> None:
    words = ["sed=1", "min_top1=high", "seed=1.5", "model_name", "source=./my-images"]
    done = graft(cluster, "submit", package, *(word for pair in words for word in ("--param", pair)))

    assert done.exit_code == 2 and cluster.calls == []
    assert (
        "--param: sed=1 (no such parameter. Close: seed, store.), min_top1=high (expected a number), "
        "seed=1.5 (expected a whole number), model_name (expected NAME=VALUE), "
        "source=./my-images (a path of this machine; expected one that every pod sees, like s3://BUCKET/PREFIX) "
        "and 1 more. "
    ) in done.stderr


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("max_p99_ms=-1", "max_p99_ms=-1 (input should be greater than 0)"),
        ("min_top1=95", "min_top1=95 (input should be less than or equal to 1)"),
        ("seed=-1", "seed=-1 (input should be greater than or equal to 0)"),
        ("model_name=a/b", "--model-name 'a/b': expected letters"),
    ],
)
def test_what_a_step_would_refuse_after_hours_is_refused_at_once(
    cluster: Cluster, package: Path, pair: str, words: str
) -> None:
    done = graft(cluster, "submit", package, *NEEDED, "--param", pair)
    assert done.exit_code == 2 and cluster.calls == [] and words in done.stderr


def refusals(package: Path, tmp_path: Path) -> Iterator[tuple[dict[str, Any], list[object], dict[str, str], str]]:
    yield {"token": "secret"}, [], {}, "KF_PIPELINES_TOKEN"
    yield {"multi_user": True}, [], {}, "KF_PIPELINES_NAMESPACE"
    yield {"refuse": {"GET pipelines": 403}}, [], {}, "Check --namespace"
    yield {"refuse": {"GET healthz": 404}}, [], {}, "https://HOST/pipeline"
    yield {}, ["--endpoint", "http://127.0.0.1:9"], {}, "no answer from http://127.0.0.1:9"
    yield {}, ["--endpoint", "localhost:8080"], {}, "expected an address"
    yield {}, [], {"KF_PIPELINES_ENDPOINT": ""}, "set KF_PIPELINES_ENDPOINT"


@pytest.mark.parametrize("number", range(7))
def test_errors_say_what_to_check(number: int, package: Path, tmp_path: Path) -> None:
    settings, words, environment, said = list(refusals(package, tmp_path))[number]
    with kubeflow_server(**settings) as cluster:
        done = submit(cluster, package, *words, **environment)
    assert done.exit_code == 2, done.output
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("page", ["<html>Sign in</html>", "", "[]"])
def test_a_page_instead_of_an_answer_is_no_empty_answer(page: str, package: Path) -> None:
    """An expired session of a full Kubeflow ends at a page for signing in, with status 200."""
    with kubeflow_server(page=page) as cluster:
        ended = [submit(cluster, package), graft(cluster, "runs", "--cluster")]
    for done in ended:
        assert done.exit_code == 2 and not done.stdout, done.output
        assert f"its answer is {page!r}" in done.stderr and "the token has expired" in done.stderr


def test_an_upload_that_is_not_listed_is_said(package: Path) -> None:
    with kubeflow_server(page="{}") as cluster:
        done = submit(cluster, package)
    assert done.exit_code == 2 and "does not list it" in done.stderr


def test_a_token_and_a_namespace_from_the_environment(package: Path) -> None:
    with kubeflow_server(token="secret", multi_user=True) as cluster:
        done = submit(cluster, package, KF_PIPELINES_TOKEN="secret", KF_PIPELINES_NAMESPACE="vision")
    assert done.exit_code == 0, done.output


def test_a_file_that_no_pod_has_is_not_compiled_in(tmp_path: Path) -> None:
    words = ["--output", tmp_path / "p.yaml", "--image-prefix", "r/graft-", "--image-tag", "1"]
    words += ["--set", "finetune.weights=./mine.pth", "--set", "ingest.test-manifest=frozen.csv"]
    done = CliRunner().invoke(app, ["compile", *map(str, words)])
    assert done.exit_code == 2 and not (tmp_path / "p.yaml").exists()
    assert "--set ingest.test_manifest=frozen.csv, finetune.weights=./mine.pth: a path of this machine" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "finetune.device=cuda"], "--set finetune.device=cuda: no pod of that step has a GPU"),
        (
            ["--set", "latency.device=cuda", "--gpu", "nvidia.com/gpu=1"],
            "--set latency.device=cuda: no pod of that step",
        ),
        (["--gpu", "gpu=1"], "--gpu gpu=1: expected RESOURCE=COUNT, like nvidia.com/gpu=1"),
        (["--image-prefix", "r/Graft-"], "r/Graft-control:1 cannot be an image's name"),
        (["--image-tag", "1+abc"], "r/graft-control:1+abc cannot be an image's name"),
        (["--set", "finetune.checkpoint-uri=s3://a/b"], "a run saves its training in its store"),
    ],
)
def test_what_pods_would_refuse_or_never_hear_of_is_not_compiled(tmp_path: Path, words: list[str], said: str) -> None:
    place = ["--output", str(tmp_path / "p.yaml"), "--image-prefix", "r/graft-", "--image-tag", "1"]
    done = CliRunner().invoke(app, ["compile", *place, *words])
    assert done.exit_code == 2 and said in done.stderr and not (tmp_path / "p.yaml").exists()


def test_no_compiled_pipeline_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("a: 1\n")
    for name in ("other.yaml", "nowhere.yaml"):
        done = graft(cluster, "submit", tmp_path / name)
        assert done.exit_code == 2 and "graft compile" in done.stderr
