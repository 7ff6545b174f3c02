"""What is read of code, versions, sources and weights, without importing them."""

from pathlib import Path

import pytest

from components.interchange.errors import BadInput
from pipelines import fingerprints


def test_versions_are_those_of_the_steps_extra() -> None:
    assert "torch" in fingerprints.versions_of("train")
    assert "torch" not in fingerprints.versions_of("latency")
    assert fingerprints.versions_of(None) == {}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A package tree: the step uses `cards`, which uses `artifact`; nothing of it uses `page`."""
    files = {
        "step/run.py": "def run():\n    from components.interchange import cards\n",
        "step/page.css": "",
        "other/run.py": "",
        "interchange/__init__.py": "",
        "interchange/cards.py": "from components.interchange.artifact import digest\n",
        "interchange/artifact.py": "",
        "interchange/page.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", ["step/run.py", "step/page.css", "interchange/cards.py", "interchange/artifact.py"])
def test_code_that_a_step_uses_is_in_its_key(code: Path, name: str) -> None:
    before = fingerprints.code_of("step", code)
    (code / name).write_text((code / name).read_text() + "# changed\n")
    after = fingerprints.code_of("step", code)
    assert [changed for changed in after if after[changed] != before[changed]] == [name]


HIDDEN = (
    "def run():\n    if x:\n        pass\n    else:\n        {}\n",
    "try:\n    pass\nexcept ValueError:\n    {}\nfinally:\n    pass\n",
    "match x:\n    case 1:\n        {}\n",
    "class C:\n    async def f(self):\n        with x:\n            {}\n",
)


@pytest.mark.parametrize("place", HIDDEN)
@pytest.mark.parametrize("how", ["import components.interchange.page", "from components.interchange import a, page"])
def test_an_import_counts_wherever_it_stands(code: Path, place: str, how: str) -> None:
    (code / "step/run.py").write_text(place.format(how))
    assert "interchange/page.py" in fingerprints.code_of("step", code)


@pytest.mark.parametrize("name", ["interchange/page.py", "other/run.py"])
def test_code_that_a_step_does_not_use_is_not(code: Path, name: str) -> None:
    before = fingerprints.code_of("step", code)
    (code / name).write_text("# changed\n")
    assert fingerprints.code_of("step", code) == before


def test_the_real_steps_count_what_they_import() -> None:
    assert "interchange/classifier.py" in fingerprints.code_of("finetune")
    assert "interchange/classifier.py" not in fingerprints.code_of("gate")


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("missing.pth", "there is no such file"),
        ("n" * 300, "cannot be read"),
        ("/", "it is a folder"),
        ("package:no_such", "not installed"),
        ("package:json", "found none"),
    ],
)
def test_weights_that_are_not_there_are_refused(weights: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        fingerprints.weights(weights, "resnet18", None, None)
