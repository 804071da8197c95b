"""Structured logs: an event with fields, readable on a terminal, JSON elsewhere. Never the user's content."""

import logging
import sys
from typing import TextIO, cast

import structlog

# Without the values of local variables: they would be texts.
_TRACEBACK = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


class FaultTolerantStream:
    """Lines to a stream that may fail: a full disk or a reader that is gone must not end the work that is told of.

    What could not be written is counted, and told of with the next line that can be.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0

    def write(self, text: str) -> int:
        """Write, if it can be."""
        try:
            if self._lost:
                self._stream.write(f"({self._lost} lines of this log were lost: they could not be written)\n")
                self._lost = 0
            self._stream.write(text)
        except OSError:
            self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, if it can be."""
        try:
            self._stream.flush()
        except OSError:
            self._lost += 1


def configure_logging(log_format: str = "auto", log_level: str = "info") -> None:
    """Send events to standard error. `log_format`: text, json, or auto (text when that is a terminal)."""
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
    """The logger of the project; call it where it is used, so that tests can configure it."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
