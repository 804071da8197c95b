"""The figures of docs/explanation/capacity.md are those that were measured, and what follows from them."""

import re

from tests.project.docs_site import DOCS

PAGE = DOCS / "explanation" / "capacity.md"
ROW = re.compile(r"^\| (.+?) \| (.+?) \| \[\w+\]\((.+?)#(.+?)\) \|$", re.MULTILINE)


def figures() -> dict[str, str]:
    """Each case with its figure."""
    return {case: figure for case, figure, _, _ in ROW.findall(PAGE.read_text(encoding="utf-8"))}


def test_each_figure_stands_in_the_results() -> None:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))

    assert len(rows) > 8
    for case, figure, results, heading in rows:
        text = (PAGE.parent / results).read_text(encoding="utf-8")
        part = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        assert f"\n| {case} | {figure} |" in part, case


def test_what_is_computed_from_them_is_right() -> None:
    number = {case: float(figure.split()[0].replace(",", "")) for case, figure in figures().items()}
    end_to_end, alone = number["end to end, HNSW index"], number["null model, 1 worker"]

    assert round(end_to_end * 3600, -3) == 475_000
    assert round(1_000_000 / (end_to_end * 3600)) == 2
    assert round(alone / end_to_end, -2) == 100
    assert round(number["size of the index, 2300 rows, halfvec, index after"] * 1000 / 2300, 1) == 1.2
    assert (384 * 2 + 8, 384 * 4 + 8) == (776, 1544)
