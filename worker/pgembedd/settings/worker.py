"""The settings of a worker."""

from dataclasses import dataclass

from pgembedd.settings.field import setting


@dataclass(frozen=True)
class Settings:
    """The settings of a worker. Every field is an option of `pgembedd run` and an environment variable.

    Without `providers` no text of a pipeline leaves this process.
    """

    providers: str = setting(
        "",
        "Providers of embeddings that texts may be sent to, by comma: `ollama,house=http://10.0.0.7:8080`; none: none.",
    )
    providers_file: str = setting(
        "", "TOML file with a section for each further provider: its URL, key file and limits."
    )
    claim_size: int = setting(0, "Jobs per claim; 0 adapts the number to the speed of the model.", bounds=(0, 100_000))
    lease_s: int = setting(
        30,
        "Seconds a claim is held; a heartbeat extends it, so only the jobs of a killed worker wait for its end.",
        bounds=(1, 86_400),
    )
    grace_s: float = setting(
        20.0, "Seconds after SIGTERM to finish the jobs in flight; the rest is released.", bounds=(0, 86_400)
    )
    poll_max_s: float = setting(
        2.0, "Longest pause between two claims from empty queues; NOTIFY ends it earlier.", bounds=(0.05, 3_600)
    )
    wait: str = setting(
        "listen",
        "How to wait for work: `listen` (NOTIFY), or `poll` (inside a statement) behind a pooler that cannot LISTEN.",
        choices=("listen", "poll"),
    )
    sweep_every_s: float = setting(
        60.0, "Seconds between two sweeps for rows that were not queued.", bounds=(1, 86_400)
    )
    owner_timeout_s: float = setting(
        60.0,
        "Seconds that code of a table's owner (content function, triggers, checks) may take in one statement.",
        bounds=(0.1, 86_400),
    )
    max_connections: int = setting(
        12,
        "Most connections of this worker to the database; one that is not used for half a minute is closed.",
        bounds=(7, 1_000),
    )
    threads: int = setting(
        0, "Texts embedded at the same time; 0 takes the CPUs this process may use.", bounds=(0, 4_096)
    )
    precision: str = setting(
        "fp32",
        "`fp32` (exact) or `int8` (faster, twice or more with VNNI) of all models, or by model: `gte-small=int8,...`.",
    )
    device: str = setting(
        "cpu",
        "Where models run: `cpu`, or `cuda`: checkpoints on an NVIDIA GPU, at fp16; all else remains on the CPU.",
        choices=("cpu", "cuda"),
    )
    vector_cache_mb: int = setting(
        64,
        "Memory, in MB, for vectors of texts and queries that were embedded lately, so not computed again; 0: none.",
        bounds=(0, 1_000_000),
    )
    parse_processes: int = setting(1, "Processes that parse files, each one file at a time.", bounds=(1, 1_000))
    parse_timeout_s: float = setting(60.0, "Seconds that the parsing of one file may take.", bounds=(0.1, 86_400))
    parse_memory_mb: int = setting(512, "Most memory, in MB, of a process that parses files.", bounds=(64, 1_000_000))
    file_max_mb: int = setting(64, "Most MB of a file that is parsed, and of all files of a claim.", bounds=(1, 1_000))
    uris: str = setting(
        "", "What URIs of files may begin with, by comma: `file:///srv/manuals/,https://docs.example.com/`; none: none."
    )
    buckets_file: str = setting(
        "", 'TOML file with a section for each bucket of such URIs, as `["s3://manuals"]`: its endpoint and key files.'
    )
    index_memory_mb: int = setting(
        512,
        "Most memory, in MB, that Postgres may take to build an index after a backfill; 0: this worker builds none.",
        bounds=(0, 1_000_000),
    )
    index_workers: int = setting(
        2, "Parallel workers of Postgres's that help to build an index; 0: none.", bounds=(0, 1_024)
    )
    model_dir: str = setting("", "Directory with the model's files, for a machine without network.")
    provider_batch: str = setting(
        "", "Providers, by comma, that get the texts of backfills as batches: for half the price, within a day."
    )
    log_format: str = setting(
        "auto", "`text`, `json`, or `auto`: text on a terminal, JSON elsewhere.", choices=("auto", "text", "json")
    )
    log_level: str = setting(
        "info", "`debug`, `info`, `warning` or `error`.", choices=("debug", "info", "warning", "error")
    )
