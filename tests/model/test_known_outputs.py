"""Known outputs, and that the check of them can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pgembedd.model import Session, verify
from pgembedd.model.specs import GTE_SMALL


def test_the_real_model_passes(minilm: Session) -> None:
    checks = verify(minilm)
    assert len(checks) == 3
    assert [check for check in checks if not check.ok] == []


def test_another_model_does_not(minilm: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    known = minilm.spec.known[0]
    moved = replace(known, numbers=(known.numbers[0] + 2e-5, *known.numbers[1:]))
    monkeypatch.setattr(minilm, "spec", replace(minilm.spec, known=(moved, *GTE_SMALL.known)))
    checks = {check.name: check for check in verify(minilm)}
    assert not checks["vector of 'hello world'"].ok
    assert [check.ok for name, check in checks.items() if name.startswith("cosine of")] == [False]


def test_an_unknown_model_is_checked_for_its_norms(tiny_folder: Path) -> None:
    with Session("mine", model_dir=tiny_folder, cache_dir=tiny_folder / "cache") as session:
        assert [check.ok for check in verify(session)] == [True]
