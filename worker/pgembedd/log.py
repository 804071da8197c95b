"""Structured logs: an event with fields, text on a terminal, JSON elsewhere. Never the user's content."""

import logging
import sys
from typing import TextIO, cast

import structlog

# Without the values of local variables: they would be texts.
_TRACEBACK = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


class FaultTolerantStream:
    """A stream whose write errors are ignored: a full disk or a closed pipe must not end the process.

    Lost lines are counted and reported with the next line that can be written.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0

    def write(self, text: str) -> int:
        """Writes the text, or counts it as lost."""
        try:
            if self._lost:
                self._stream.write(f"(Lines of this log that were lost, as they could not be written: {self._lost})\n")
                self._lost = 0
            self._stream.write(text)
        except OSError:
            self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Flushes the buffer, or counts a loss."""
        try:
            self._stream.flush()
        except OSError:
            self._lost += 1


def configure_logging(log_format: str = "auto", log_level: str = "info") -> None:
    """Sends events to standard error. `log_format`: text, json, or auto (text when that is a terminal)."""
    as_text = sys.stderr.isatty() if log_format == "auto" else log_format == "text"
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if as_text else _TRACEBACK,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if as_text else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[log_level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, FaultTolerantStream(sys.stderr))),
        cache_logger_on_first_use=False,
    )


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Returns the logger of the project; call it at each use, so that tests can configure it."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
