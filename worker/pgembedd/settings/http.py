"""The settings of the HTTP service."""

from dataclasses import dataclass, replace

from pgembedd.settings.field import setting
from pgembedd.settings.files import read_secret
from pgembedd.settings.language import LanguageSettings


@dataclass(frozen=True)
class HttpSettings(LanguageSettings):
    """The settings of the HTTP service. Every field is an option of `pgembedd serve` and an environment variable."""

    http_host: str = setting("127.0.0.1", "Address to listen on; anything but a loopback address needs a token.")
    http_port: int = setting(8432, "Port to listen on; 0 takes a free one and logs it.", bounds=(0, 65_535))
    http_token: str = setting("", "A bearer token that may do everything; never a command line option.", secret=True)
    http_tokens_file: str = setting(
        "", "File of bearer tokens, one a line: the token, and its scopes (none: it may do everything)."
    )
    search_url: str = setting(
        "",
        "Connection string of the role that searches by HTTP and MCP have the rights of; none: there are none.",
        secret=True,
    )
    search_url_file: str = setting("", "File with that connection string, where it is not in the environment.")
    http_jwt_secret: str = setting("", "Secret that users' JWTs are signed with (HS256), as Supabase's.", secret=True)
    http_jwt_secret_file: str = setting("", "File with that secret, where it is not in the environment.")
    http_jwks: str = setting("", "URL or file of the public keys (JWKS) that users' JWTs are signed with.")
    http_jwt_audience: str = setting("", "What a user's JWT must have in `aud`; none: anything.")
    http_models: str = setting(
        "", "Models served besides those of the pipelines, by comma; the first answers requests that name none."
    )
    http_reranker: str = setting(
        "ms-marco-minilm-l12",
        "The reranker, loaded when it is first asked for: its name, or the folder with its files; empty: none.",
    )
    http_max_body_kb: int = setting(4096, "Largest request body, in KB.", bounds=(1, 1_000_000))
    http_max_inputs: int = setting(2048, "Most texts in one request.", bounds=(1, 1_000_000))
    http_max_input_tokens: int = setting(
        200_000,
        "Most tokens in one request, counting a token for four bytes and no text for more than its model reads.",
        bounds=(1, 1_000_000_000),
    )
    http_max_waiting: int = setting(
        10_000,
        "Most texts that wait for the model; further requests are refused and may be repeated.",
        bounds=(1, 10_000_000),
    )
    http_max_connections: int = setting(
        2500,
        "Most connections, and no more than half the files that the process may open; then the longest idle one ends.",
        bounds=(1, 100_000),
    )
    http_timeout_s: float = setting(
        60.0, "Seconds a request may wait for its vectors, and a body for its end.", bounds=(0.1, 3_600)
    )
    http_push_at_once: int = setting(
        2, "Requests with pushed jobs or webhooks that are processed by turns.", bounds=(1, 64)
    )
    http_push_timeout_s: float = setting(
        120.0,
        "Seconds to process the jobs of a request; unfinished ones then return to the queue.",
        bounds=(0.1, 3_600),
    )
    http_max_listeners: int = setting(
        1000, "Most clients that follow the events, and that watch answers, at a time; 0: none may.", bounds=(0, 10_000)
    )
    http_heartbeat_s: float = setting(
        15.0, "Seconds between the comments that a client that follows the events gets.", bounds=(0.5, 3_600)
    )
    http_cors_origins: str = setting(
        "", "Origins whose pages may call the service from a browser, by comma; none: no page may."
    )
    http_trusted_proxies: str = setting("", "Addresses of proxies whose X-Forwarded-For is believed, by comma, or `*`.")
    http_input_token_ids: str = setting(
        "refuse", "Token ids sent to /v1/embeddings: `refuse` them, or take them as `own`.", choices=("refuse", "own")
    )
    http_truncate: str = setting(
        "off",
        "`on`: cut texts sent to /v1/embeddings that are too long, unless a request refuses.",
        choices=("off", "on"),
    )

    def with_secrets(self) -> "HttpSettings":
        """Returns the settings with the secrets that stand in files. ConfigurationError for a file without one."""
        search_url, jwt_secret = self.search_url, self.http_jwt_secret
        if self.search_url_file and not search_url:
            search_url = read_secret(self.search_url_file, "PGEMBEDD_SEARCH_URL_FILE")
        if self.http_jwt_secret_file and not jwt_secret:
            jwt_secret = read_secret(self.http_jwt_secret_file, "PGEMBEDD_HTTP_JWT_SECRET_FILE")
        return replace(self, search_url=search_url, http_jwt_secret=jwt_secret)
