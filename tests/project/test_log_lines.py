"""A log that cannot be written ends nothing, and says afterwards what it lost."""

from __future__ import annotations

import errno
import io

from pgembedd.log import FaultTolerantStream


class Disk(io.StringIO):
    """A stream on a disk that is full as long as it is said to be."""

    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_a_full_disk_loses_lines_and_says_so() -> None:
    disk = Disk()
    lines = FaultTolerantStream(disk)
    lines.write("one\n")
    disk.full = True
    lines.write("two\n")
    lines.write("three\n")
    disk.full = False
    lines.write("four\n")
    lines.write("five\n")

    assert disk.getvalue().splitlines() == [
        "one",
        "(Lines of this log that were lost, as they could not be written: 2)",
        "four",
        "five",
    ]
