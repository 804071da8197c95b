"""Settings: each is defined and documented here, with its environment variable."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from difflib import get_close_matches

from pgembedd.language_settings import LANGUAGE_CHOICES, LANGUAGE_MAXIMUM, LANGUAGE_MINIMUM, LanguageSettings
from pgembedd.provider_settings import ProviderSettings
from pgembedd.setting_field import setting


@dataclass(frozen=True)
class Settings(ProviderSettings):
    """The settings of a worker. Every field is an option of `pgembedd run` and an environment variable."""

    claim_size: int = setting(
        0, "PGEMBEDD_CLAIM_SIZE", "Jobs per claim; 0 adapts the number to the speed of the model."
    )
    lease_s: int = setting(
        30,
        "PGEMBEDD_LEASE_S",
        "Seconds a claim is held; a heartbeat extends it, so only the jobs of a killed worker wait for its end.",
    )
    grace_s: float = setting(
        20.0,
        "PGEMBEDD_GRACE_S",
        "Seconds after SIGTERM to finish the jobs in flight; the rest is released.",
    )
    poll_max_s: float = setting(
        2.0,
        "PGEMBEDD_POLL_MAX_S",
        "Longest pause between two claims from empty queues; NOTIFY ends it earlier.",
    )
    wait: str = setting(
        "listen",
        "PGEMBEDD_WAIT",
        "How to wait for work: `listen` (NOTIFY), or `poll` (pgmq's long poll) behind a pooler that cannot LISTEN.",
    )
    sweep_every_s: float = setting(
        60.0, "PGEMBEDD_SWEEP_EVERY_S", "Seconds between two sweeps for rows that were not queued."
    )
    owner_timeout_s: float = setting(
        60.0,
        "PGEMBEDD_OWNER_TIMEOUT",
        "Seconds that code of a table's owner (content function, triggers, checks) may take in one statement.",
    )
    connections: int = setting(
        12,
        "PGEMBEDD_CONNECTIONS",
        "Most connections of this worker to the database; one that is not used for half a minute is closed.",
    )
    threads: int = setting(
        0, "PGEMBEDD_THREADS", "Texts embedded at the same time; 0 takes the CPUs this process may use."
    )
    precision: str = setting(
        "fp32",
        "PGEMBEDD_PRECISION",
        "`fp32` (exact) or `int8` (faster, twice or more with VNNI) of all models, or by model: `gte-small=int8,...`.",
    )
    index_memory_mb: int = setting(
        512,
        "PGEMBEDD_INDEX_MEMORY_MB",
        "Most memory, in MB, that Postgres may take to build an index after a backfill; 0: this worker builds none.",
    )
    index_workers: int = setting(
        2, "PGEMBEDD_INDEX_WORKERS", "Parallel workers of Postgres's that help to build an index; 0: none."
    )
    model_dir: str = setting(
        "", "PGEMBEDD_MODEL_DIR", "Directory with the model's files, for a machine without network."
    )
    log_format: str = setting(
        "auto", "PGEMBEDD_LOG_FORMAT", "`text`, `json`, or `auto`: text on a terminal, JSON elsewhere."
    )
    log_level: str = setting("info", "PGEMBEDD_LOG_LEVEL", "`debug`, `info`, `warning` or `error`.")


@dataclass(frozen=True)
class HttpSettings(LanguageSettings):
    """The settings of the HTTP service. Every field is an option of `pgembedd serve` and an environment variable."""

    http_host: str = setting(
        "127.0.0.1", "PGEMBEDD_HTTP_HOST", "Address to listen on; anything but a loopback address needs a token."
    )
    http_port: int = setting(8432, "PGEMBEDD_HTTP_PORT", "Port to listen on; 0 takes a free one and logs it.")
    http_token: str = setting(
        "", "PGEMBEDD_HTTP_TOKEN", "A bearer token that may do everything; never a command line option.", secret=True
    )
    http_token_file: str = setting(
        "",
        "PGEMBEDD_HTTP_TOKEN_FILE",
        "File of bearer tokens, one a line: the token, and its scopes (none: it may do everything).",
    )
    search_url: str = setting(
        "",
        "PGEMBEDD_SEARCH_URL",
        "Connection string of the role that searches by HTTP and MCP have the rights of; none: there are none.",
        secret=True,
    )
    http_jwt_secret: str = setting(
        "", "PGEMBEDD_HTTP_JWT_SECRET", "Secret that users' JWTs are signed with (HS256), as Supabase's.", secret=True
    )
    http_jwks: str = setting(
        "", "PGEMBEDD_HTTP_JWKS", "URL or file of the public keys (JWKS) that users' JWTs are signed with."
    )
    http_jwt_audience: str = setting(
        "", "PGEMBEDD_HTTP_JWT_AUDIENCE", "What a user's JWT must have in `aud`; none: anything."
    )
    http_models: str = setting(
        "",
        "PGEMBEDD_HTTP_MODELS",
        "Models served besides those of the pipelines, by comma; the first answers requests that name none.",
    )
    http_reranker: str = setting(
        "ms-marco-minilm-l12",
        "PGEMBEDD_HTTP_RERANKER",
        "The reranker, loaded when it is first asked for: its name, or the folder with its files; empty: none.",
    )
    http_max_body_kb: int = setting(4096, "PGEMBEDD_HTTP_MAX_BODY_KB", "Largest request body, in KB.")
    http_max_inputs: int = setting(2048, "PGEMBEDD_HTTP_MAX_INPUTS", "Most texts in one request.")
    http_max_tokens: int = setting(
        200_000,
        "PGEMBEDD_HTTP_MAX_TOKENS",
        "Most tokens in one request, counting a token for four bytes and no text for more than its model reads.",
    )
    http_max_waiting: int = setting(
        10_000,
        "PGEMBEDD_HTTP_MAX_WAITING",
        "Most texts that wait for the model; further requests are refused and may be repeated.",
    )
    http_max_connections: int = setting(
        512,
        "PGEMBEDD_HTTP_MAX_CONNECTIONS",
        "Most connections, and no more than half the files that the process may open; then the longest idle one ends.",
    )
    http_timeout_s: float = setting(
        60.0, "PGEMBEDD_HTTP_TIMEOUT_S", "Seconds a request may wait for its vectors, and a body for its end."
    )
    http_push_at_once: int = setting(
        2, "PGEMBEDD_HTTP_PUSH_AT_ONCE", "Requests with pushed jobs or webhooks that are processed by turns."
    )
    http_push_timeout_s: float = setting(
        120.0,
        "PGEMBEDD_HTTP_PUSH_TIMEOUT_S",
        "Seconds to process the jobs of a request; unfinished ones then return to the queue.",
    )
    http_max_listeners: int = setting(
        64, "PGEMBEDD_HTTP_MAX_LISTENERS", "Most clients that follow the events at a time; 0: none may."
    )
    http_heartbeat_s: float = setting(
        15.0,
        "PGEMBEDD_HTTP_HEARTBEAT_S",
        "Seconds between the comments that a client that follows the events gets.",
    )
    http_cors_origins: str = setting(
        "",
        "PGEMBEDD_HTTP_CORS_ORIGINS",
        "Origins whose pages may call the service from a browser, by comma; none: no page may.",
    )
    http_trusted_proxies: str = setting(
        "", "PGEMBEDD_HTTP_TRUSTED_PROXIES", "Addresses of proxies whose X-Forwarded-For is believed, by comma, or `*`."
    )
    http_token_ids: str = setting(
        "refuse", "PGEMBEDD_HTTP_TOKEN_IDS", "Token ids sent to /v1/embeddings: `refuse` them, or take them as `own`."
    )


SECRETS = {
    "http_token",
    "search_url",
    "http_jwt_secret",
}  # never options: every user of the machine can read a command line

CHOICES: dict[str, tuple[str, ...]] = {
    "wait": ("listen", "poll"),
    "log_format": ("auto", "text", "json"),
    "log_level": ("debug", "info", "warning", "error"),
    "http_token_ids": ("refuse", "own"),
    **LANGUAGE_CHOICES,
}

MINIMUM: dict[str, float] = {
    "claim_size": 0,
    "lease_s": 1,
    "grace_s": 0,
    "poll_max_s": 0.05,
    "sweep_every_s": 1,
    "owner_timeout_s": 0.1,
    "connections": 7,
    "threads": 0,
    "index_memory_mb": 0,
    "index_workers": 0,
    "http_port": 0,
    "http_max_body_kb": 1,
    "http_max_inputs": 1,
    "http_max_tokens": 1,
    "http_max_waiting": 1,
    "http_max_connections": 1,
    "http_timeout_s": 0.1,
    "http_push_at_once": 1,
    "http_push_timeout_s": 0.1,
    "http_max_listeners": 0,
    "http_heartbeat_s": 0.5,
    **LANGUAGE_MINIMUM,
}

MAXIMUM: dict[str, float] = {
    "claim_size": 100_000,
    "lease_s": 86_400,
    "grace_s": 86_400,
    "poll_max_s": 3_600,
    "sweep_every_s": 86_400,
    "owner_timeout_s": 86_400,
    "connections": 1_000,
    "threads": 4_096,
    "index_memory_mb": 1_000_000,
    "index_workers": 1_024,
    "http_port": 65_535,
    "http_max_body_kb": 1_000_000,
    "http_max_inputs": 1_000_000,
    "http_max_tokens": 1_000_000_000,
    "http_max_waiting": 10_000_000,
    "http_max_connections": 100_000,
    "http_timeout_s": 3_600,
    "http_push_at_once": 64,
    "http_push_timeout_s": 3_600,
    "http_max_listeners": 10_000,
    "http_heartbeat_s": 3_600,
    **LANGUAGE_MAXIMUM,
}


# Those that are no setting of a process: an option of `run`, and where files are.
OTHER_VARIABLES = ("PGEMBEDD_HTTP", "PGEMBEDD_CACHE_DIR", "PGEMBEDD_POSTGRES_DIR")


def variables() -> dict[str, str]:
    """Returns the help of every setting by environment variable."""
    return {f.metadata["variable"]: f.metadata["help"] for f in (*fields(Settings), *fields(HttpSettings))}


def unknown_variables(names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Returns the names that begin as ours do and are none, each with the two nearest that are."""
    known = [*variables(), *OTHER_VARIABLES]
    unknown = sorted(name for name in names if name.startswith("PGEMBEDD_") and name not in known)
    return [(name, get_close_matches(name, known, 2)) for name in unknown]
