"""The time and memory that the parsing of one file may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one file and of its process; the text of a file may have as many bytes as a file."""

    timeout_s: float = 60
    memory_mb: int = 512
    file_max_mb: int = 64

    @property
    def file_bytes(self) -> int:
        """Most bytes of a file, and of its text."""
        return self.file_max_mb * 1_000_000
