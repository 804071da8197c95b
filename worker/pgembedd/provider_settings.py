"""Settings of providers of embeddings: servers that texts of pipelines are sent to."""

from dataclasses import dataclass

from pgembedd.setting_field import setting


@dataclass(frozen=True)
class ProviderSettings:
    """Without them no text of a pipeline leaves this process."""

    providers: str = setting(
        "",
        "PGEMBEDD_PROVIDERS",
        "Providers of embeddings that texts may be sent to, by comma: `ollama,house=http://10.0.0.7:8080`; none: none.",
    )
    providers_file: str = setting(
        "",
        "PGEMBEDD_PROVIDERS_FILE",
        "TOML file with a section for each further provider: its URL, key file and limits.",
    )
