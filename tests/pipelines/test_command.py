"""The graft command from outside: what it says, what it loads, how it ends."""

import importlib
import os
import re
import subprocess
import sys
import threading
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from urllib.request import proxy_bypass

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from components.interchange.errors import BadInput, in_words
from pipelines import fingerprints
from pipelines.cli import app
from pipelines.options import exit_codes
from pipelines.prefect_server import fault_of, past_proxies, wait

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "kfp", "prefect", "numpy", "pyarrow", "onnxruntime", "rich")


def graft(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["champion", "--help"], ["store", "--help"], ["--version"]]
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys, pipelines.cli\ntry:\n    pipelines.cli.app({arguments!r})\nexcept SystemExit as end:\n"
    code += f"    print(end.code, [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_planning_a_run_loads_neither_torch_nor_an_engine() -> None:
    absent = ("torch", "timm", "prefect", "kfp", "onnxruntime", "numpy")
    code = f"import sys, pipelines.session, pipelines.terminal\nprint([n for n in {absent!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


def test_help_names_every_command() -> None:
    shown = graft("--help").stdout
    assert "..." not in shown.partition("Commands:")[2], (
        "a line of the list is cut short: its first sentence is too long"
    )
    assert all(
        name in shown
        for name in ("demo", "run", "runs", "predict", "champion", "store", "weights", "recipes", "--version")
    )


def test_options_say_what_they_take_and_not_of_which_type_it_is() -> None:
    group = get_command(app)
    commands = [group, *group.commands.values()]  # type: ignore[attr-defined]
    commands += [one for command in commands[1:] for one in getattr(command, "commands", {}).values()]
    assert len(commands) > 25
    for command in commands:
        told = command.get_help(command.make_context(str(command.name), [], resilient_parsing=True))
        typed = [line for line in told.splitlines() if re.search(r"--.*<(str|int|float|path)", line)]
        assert not typed, command.name


def test_the_demo_offers_no_containers_which_have_no_weights_for_it() -> None:
    refused = graft("demo", "--runner", "docker")
    assert refused.returncode == 2 and "process" in refused.stderr and "--image-tag" not in refused.stderr


def test_ctrl_c_while_the_command_is_imported_is_no_traceback() -> None:
    code = """import os, signal, sys, pipelines.entry
class CtrlC:
    def find_spec(name, *_):
        if name == "pipelines.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, CtrlC)
signal.signal(signal.SIGINT, signal.default_int_handler)
pipelines.entry.main()"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (130, "graft: interrupted before anything was begun\n")


def test_a_closed_standard_output_is_no_traceback(tmp_path: Path) -> None:
    summary = tmp_path / "runs" / "20260101-000000-aaaa" / "summary.json"
    summary.parent.mkdir(parents=True)
    summary.write_text('{"model_name": "parts", "verdict": "keep"}')
    graft_itself = [sys.executable, "-c", "from pipelines.entry import main; main()", "runs", "--store", str(tmp_path)]
    closed = ["sh", "-c", '"$@" <&- >&-', "sh", *graft_itself]
    done = subprocess.run(closed, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_characters_that_the_terminal_lacks_are_escaped_and_no_traceback(tmp_path: Path) -> None:
    summary = tmp_path / "runs" / "20260101-000000-aaaa" / "summary.json"
    summary.parent.mkdir(parents=True)
    summary.write_text('{"model_name": "parts", "verdict": "keep", "reasons": ["class Bl\\u00fcte"]}')
    (summary.parent / "request.json").write_text('{"model_name": "parts"}')
    status = [sys.executable, "-c", "from pipelines.entry import main; main()", "status", "--store", str(tmp_path)]
    ascii_alone = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(status, capture_output=True, text=True, cwd=ROOT, env=ascii_alone)
    assert (done.stdout, done.stderr) == ("20260101-000000-aaaa parts: keep: class Bl\\xfcte\n", "")


@pytest.mark.parametrize("given", ["", "store.internal", "*"])
def test_a_server_of_ours_is_asked_past_a_proxy(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", given)
    monkeypatch.setenv("NO_PROXY", given)
    past_proxies("127.0.0.1")
    assert proxy_bypass("127.0.0.1")
    assert bool(proxy_bypass("store.internal")) == bool(given)
    assert bool(proxy_bypass("example.org")) == (given == "*")


def test_a_user_whom_the_system_does_not_list_has_a_home() -> None:
    """As a container's random user: Prefect, and the cache of a store on S3, ask for one."""
    code = (
        "import os, pwd; from pipelines import entry; os.getuid() or os.setuid(54321); os.environ.pop('HOME', None); "
    )
    code += "entry._home_for_nobody(); print(entry.Path.home())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "/\n" or os.getuid()  # Who is not root here stays as listed as they are.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runs"], "no runs in STORE"),
        (["runs", "--model-name", "m"], "no runs of model 'm' in STORE"),
        (["store", "ls"], "no artifacts in STORE"),
        (["status"], "there is no run in it yet"),
    ],
)
def test_an_empty_store_is_told(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(app, [*arguments, "--store", str(tmp_path)])
    assert done.stdout == "" and words.replace("STORE", str(tmp_path)) in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", "nowhere"], "there is no such folder or file"),
        (["--source", ""], "--source is empty: expected a folder"),
        (["--source", ".", "--recipe", "prod"], "unknown recipe 'prod'. Close: production"),
        (["--source", ".", "--set", "gate.max-p99=1"], "unknown parameter. Close: max-p99-ms"),
        (["--source", ".", "--store", "gs://bucket"], "expected a folder, file:///FOLDER or s3://BUCKET/PREFIX"),
        (["--source", ".", "--model-name", "a/b"], "--model-name 'a/b'"),
        (["--source", ".", "--engine", "airflow"], "airflow"),
        (["--source", ".", "--runner", "docker"], "Give --image-tag, as make images has printed it"),
        ([], "--source"),
    ],
)
def test_bad_input_ends_with_2_and_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["run", *arguments])
    assert done.exit_code == 2, done.exception
    assert words in done.stderr and "to do" not in done.stderr
    assert not list(tmp_path.rglob("*.files.json"))


@pytest.mark.parametrize("command", [["run"], ["serve", "--cron", "* * * * *"]])
@pytest.mark.parametrize("address", ["http://127.0.0.1:9/api", "nonsense"])
def test_a_prefect_server_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_source: Path, command: list[str], address: str
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", address)
    done = CliRunner().invoke(
        app, [*command, "--source", str(tiny_source), "--store", str(tmp_path), "--recipe", "demo"]
    )
    assert done.exit_code == 2, done.exception
    assert f"PREFECT_API_URL {address} does not answer" in done.stderr and "unset PREFECT_API_URL" in done.stderr


@pytest.mark.parametrize(
    ("code", "words"), [("input()", "did not answer within 0.1 s ("), ("exit(3)", "ended with code 3;")]
)
def test_a_server_of_ours_that_does_not_come_up_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, words: str
) -> None:
    monkeypatch.setattr("pipelines.prefect_server.START_S", 0.1)
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as closed:
        port = closed.server_port
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as server:
        if "exit" in code:
            server.wait()
        with pytest.raises(BadInput, match=re.escape(words)) as told:
            wait(server, port, tmp_path / "server.log")
    assert str(told.value).endswith(f"; its words are in {tmp_path}/server.log. A run may also go --engine none.")


def test_a_prefect_server_that_asks_who_we_are_answers() -> None:
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.handle_request).start()
        assert fault_of(f"http://127.0.0.1:{server.server_port}/api") == ""  # 404, as of Prefect's cloud.


def test_a_model_that_was_never_promoted_cannot_predict(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["predict", "--model", "champion:fabric", "--store", str(tmp_path), "image.png"])
    assert done.exit_code == 2
    assert "nothing was ever promoted under the name 'fabric'" in done.stderr


def test_recipes_are_listed_with_sources() -> None:
    shown = graft("recipes").stdout
    assert all(name in shown for name in ("scarce", "production", "accuracy", "edge", "large", "demo", "measured"))
    rows = [line.rstrip() for line in shown.splitlines() if line.startswith("│")]
    assert len(rows) > 100 and {row[-1] for row in rows} == {"│"}  # Nothing cut at the right.
    assert "finetune.stage_multipliers" in shown and "0.01,0.1,1.0,10.0" in shown


@pytest.mark.parametrize(("name", "code"), [("no_such_package", 2), ("components.no_such_module", None)])
def test_a_package_that_is_not_installed_is_a_line_and_a_module_of_our_own_a_crash(
    name: str, code: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModuleNotFoundError if code is None else typer.Exit) as ended, exit_codes():
        importlib.import_module(name)
    assert getattr(ended.value, "exit_code", None) == code
    if code is not None:
        said = capsys.readouterr().err
        assert said.startswith("graft: the package no_such_package is not installed. `graft doctor` names")


def test_a_module_that_an_installed_package_lacks_is_a_package_of_the_wrong_version() -> None:
    with pytest.raises(ModuleNotFoundError) as found:
        importlib.import_module("pytest.no_such_module")
    assert in_words(found.value).startswith("the pytest that is installed has no pytest.no_such_module: ")


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["serve", "--cron", "* * * * *", "--source", "."], "prefect"),
        (["doctor"], "prefect"),
        (["doctor", "--cluster", "--image-tag", "1"], "kfp"),
        (["runs", "--cluster"], "kfp"),
        (["submit", "x.yaml"], "kfp"),
        (["schedule", "x.yaml", "--cron", "* * * * *"], "kfp"),
    ],
)
def test_the_extra_that_a_command_lacks_is_named(
    words: list[str], extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ours in ("cluster_doctor", "kubeflow_api", "kubeflow_runs"):
        monkeypatch.delitem(sys.modules, f"pipelines.{ours}", raising=False)
    for package in ("cronsim", "kfp", "kfp_server_api", "prefect"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(fingerprints, "versions_of_packages", lambda names: dict.fromkeys(names))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2, done.exception
    assert f"Install graft[{extra}]" in done.output and "See to who may" not in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--encoding", "raw"], "--encoding (Possible options: --set ingest.encoding=VALUE)"),
        (["find-lr", "--freeze", "early"], "--freeze (Possible options: --set finetune.freeze=VALUE)"),
        (["run", "--weights=store"], "--set feature_extraction.weights=VALUE, --set finetune.weights=VALUE)"),
        (["serve", "--cron", "* * * * *", "--max_drop", "0.1"], "--set export_onnx.max-drop=VALUE)"),
        (["compile", "--min-top1", "0.9"], "--set gate.min-top1=VALUE)"),
        (["run", "--sorce", "x"], "--source"),
    ],
)
def test_of_an_option_of_a_step_it_is_said_how_it_is_given(words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert said in done.stderr
