"""Results in a file, and the comparison of later ones with them."""

import errno
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pgembedd.errors import ConfigurationError
from pgembedd.evaluation.evaluate import Measured
from pgembedd.evaluation.questions import Question

Values = dict[str, dict[str, float]]
"""Metrics by the name of the way to search."""


def digest(questions: Sequence[Question]) -> str:
    """Returns what tells one set of questions and judgements from another, whatever their order."""
    lines = sorted(json.dumps([each.query, each.relevant], sort_keys=True) for each in questions)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def to_json(pipeline: str, model: str, questions: Sequence[Question], results: Sequence[Measured]) -> dict[str, Any]:
    """Returns the results as they are stored and printed with --json."""
    return {
        "pipeline": pipeline,
        "model": model,
        "questions": len(questions),
        "digest": digest(questions),
        "results": {each.name: {name: round(value, 6) for name, value in each.values.items()} for each in results},
    }


def save(path: Path, results: dict[str, Any]) -> None:
    """Writes the results. ConfigurationError where that is not possible."""
    write(path, json.dumps(results, indent=1) + "\n")


def write(path: Path, text: str) -> None:
    """Writes a file of the user's. ConfigurationError where that is not possible."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"The file {path} cannot be written: {error.strerror}.") from error


def check_writable(path: Path) -> None:
    """Raises ConfigurationError where `write` would, before anything is measured."""
    if not path.parent.is_dir():
        raise ConfigurationError(f"The file {path} cannot be written: there is no folder {path.parent}.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigurationError(f"The file {path} cannot be written: {os.strerror(errno.EACCES)}.")


def load(path: Path, questions: Sequence[Question]) -> Values:
    """Returns the results in a file of `save`. ConfigurationError for another file, and for other questions."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        results: Values = {
            str(way): {str(name): float(value) for name, value in values.items()}
            for way, values in stored["results"].items()
        }
        measured_on = stored["digest"]
    except OSError as error:
        raise ConfigurationError(f"The baseline {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path} is no baseline: make one with --save.") from error
    if measured_on != digest(questions):
        raise ConfigurationError(f"The baseline {path} was measured on other questions: make another with --save.")
    return results


def falls(baseline: Values, results: Sequence[Measured], tolerance: float) -> list[str]:
    """Returns a phrase for each metric that is lower than in the baseline by more than `tolerance`.

    A way to search that the baseline has and that was not measured counts as well.
    """
    measured = {each.name: each.values for each in results}
    found = [f"{way} was not measured" for way in baseline if way not in measured]
    for way, values in measured.items():
        for name, before in baseline.get(way, {}).items():
            now = values.get(name, 0.0)
            if before - now > tolerance:
                found.append(f"{name} of {way} fell from {before:.3f} to {now:.3f}")
    return found
