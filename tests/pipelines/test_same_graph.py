"""The Prefect flow, written out by hand, has the edges of the one list of steps."""

import ast
import subprocess
import sys
from pathlib import Path

from components.interchange.step import ports
from pipelines.steps import STEPS, edges, graph_for

ROOT = Path(__file__).parents[2]
TRACE = """
from components.interchange.step import ports
from pipelines.prefect_flow import graph
from pipelines.steps import BY_NAME

class Recorder:
    def __init__(self, **words):
        self.words, self.found, self.left_out = words, {}, []
    def __call__(self, name, **inputs):
        self.found[name] = {(ref, f"{name}.{port}") for port, ref in inputs.items() if ref is not None}
        return {port.name: f"{name}.{port.name}" for port in ports(BY_NAME[name].spec, "out")}
    def word(self, digest):
        return self.words[digest.partition(".")[0]]
    def skip(self, name, why):
        self.left_out.append((name, why))

for strategy in ("both", "feature_extraction", "finetune"):
    recorder = Recorder(ingest="go_on", gate="promote")
    graph(recorder, strategy)
    print((strategy, list(recorder.found), set().union(*recorder.found.values())))
for words in ({"ingest": "go_on", "gate": "keep"}, {"ingest": "stop"}):
    recorder = Recorder(**words)
    graph(recorder, "both")
    print((list(recorder.found)[-1], recorder.left_out))
"""


def test_the_flow_has_the_edges_of_the_steps() -> None:
    done = subprocess.run([sys.executable, "-c", TRACE], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    *traced, kept, stopped = [ast.literal_eval(line) for line in done.stdout.splitlines()]
    for strategy, names, found in traced:
        assert names == [step.name for step in graph_for(strategy)]
        assert found == edges(graph_for(strategy))
    assert kept == ("gate", [("promote", "the verdict is keep")])
    after_ingest = [step.name for step in graph_for("both")][1:]
    assert stopped == ("ingest", [(name, "the images drifted since the champion") for name in after_ingest])


def test_every_required_input_is_wired_to_an_output_of_its_kind() -> None:
    kinds = {f"{step.name}.{port.name}": port.kind for step in STEPS for port in ports(step.spec, "out")}
    for step in STEPS:
        read = {port.name: port for port in ports(step.spec, "in")}
        assert {name for name, port in read.items() if not port.optional} <= step.inputs.keys() <= read.keys()
        assert all(kinds[ref] == read[port].kind for port, ref in step.inputs.items())


def test_a_strategy_leaves_the_other_training_out() -> None:
    names = [step.name for step in graph_for("feature_extraction")]
    assert "finetune" not in names and len(names) == 7
    assert "candidate" not in next(step for step in graph_for("feature_extraction") if step.name == "evaluate").inputs
