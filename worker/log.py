"""Structured logs: an event with fields, readable on a terminal, JSON elsewhere. Never the user's content."""

import logging
import sys

import structlog

# Without the values of local variables: they would be texts.
_TRACEBACK = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """The logger of the project; call it where it is used, so that tests can configure it."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
