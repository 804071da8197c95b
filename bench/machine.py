"""The machine that a bench runs on, in words, and the folder in bench/results for what is measured there.

`python -m bench.machine` makes the folder with its `machine.txt` and prints its path.
"""

import platform
import re
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
DESCRIPTION = "machine.txt"
CPUINFO = Path("/proc/cpuinfo")

INT8 = (
    ("AMX", {"amx_int8"}),
    ("VNNI", {"avx512_vnni", "avx_vnni"}),
    ("AVX-512 without VNNI", {"avx512f"}),
    ("AVX2 without VNNI", {"avx2"}),
    ("I8MM", {"i8mm"}),
    ("dot products", {"asimddp"}),
)
"""What decides how fast int8 is, the best first, and the flags of which one is enough; the last two are of ARM."""


def machine() -> str:
    """The processor, how many cores it shows, and which instructions for int8 it has."""
    return describe(CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.exists() else "")


def describe(cpuinfo: str) -> str:
    """Describes /proc/cpuinfo: 'AMD EPYC, 2 cores, VNNI, family 25 model 1'. ARM's has no name, and Features for flags.

    Family and model tell generations apart that sell under one name, with full or half width for AVX2.
    """

    def values(key: str) -> list[str]:
        return re.findall(rf"^{key}\s*: *(.*)$", cpuinfo, re.MULTILINE)

    flags = set(" ".join([*values("flags"), *values("Features")]).split())
    name = next(iter(values("model name")), platform.processor() or platform.machine())
    int8 = next((words for words, any_of in INT8 if any_of & flags), "no instructions for int8 known")
    generation = "".join(
        f", family {family} model {model}"
        for family, model in list(zip(values("cpu family"), values("model"), strict=False))[:1]
    )
    return f"{name.strip()}, {len(values('processor')) or '?'} cores, {int8}{generation}"


def results_folder(described: str, results: Path = RESULTS) -> Path:
    """The folder for results of the machine that is described so; made where it is not there."""
    folder = results / re.sub(r"[^a-z0-9]+", "-", described.lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DESCRIPTION).write_text(f"{described}\n", encoding="utf-8")
    return folder


if __name__ == "__main__":
    print(results_folder(machine()))
