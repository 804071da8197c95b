"""`python -m tests.project.release v0.2.0`: may this checkout be released under that tag?

The tag is the version, the documents name it, the changelog dates it, and they no longer say that the default model has
not run.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_RUN = "**Not run so far:**"


def objections(tag: str, root: Path = ROOT) -> Iterator[str]:
    """Returns a sentence for each thing that is in the way of a release."""
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if tag != f"v{version}":
        yield f"The tag is {tag or 'not given'}, and pyproject.toml says {version}."
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", (root / "CHANGELOG.md").read_text(), re.M):
        yield f"CHANGELOG.md has no date for {version}."
    named = re.findall(r"pgembedd[:-](\d[\d.]+\d)", (root / "docs/how-to/operations.md").read_text(encoding="utf-8"))
    if not named or {*named} != {version}:
        yield f"docs/how-to/operations.md checks the release {', '.join(named)}, not {version}."
    if NOT_RUN in (root / "docs/reference/models.md").read_text(encoding="utf-8"):
        yield "docs/reference/models.md says that the default model has not run: run `make test-default-model`."


def main() -> None:
    """Prints the objections; the exit code is 0 if there are none."""
    found = list(objections(sys.argv[1] if sys.argv[1:] else ""))
    sys.exit("\n".join(found) or 0)


if __name__ == "__main__":
    main()
