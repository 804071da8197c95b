"""`pgembedd mcp`"""

import click

from pgembedd.cli.options import http_options, settings_options
from pgembedd.cli.process import warn_of_unknown_settings
from pgembedd.errors import ConfigurationError
from pgembedd.log import configure_logging
from pgembedd.loop.model_loader import loader, reranker_loader
from pgembedd.model.vector_cache import VectorCache
from pgembedd.search.local_models import LocalModels
from pgembedd.search.role import check_search_url
from pgembedd.settings import HttpSettings, Settings
from pgembedd.settings.documentation import page


@click.command("mcp")
@http_options("search_url", "search_url_file")
@settings_options("model_dir", "precision", "device", "threads", "vector_cache_mb", "log_format", "log_level")
def command(http: HttpSettings, settings: Settings) -> None:
    """Serve tools that search to an assistant: the Model Context Protocol on standard input and output.

    The role of PGEMBEDD_SEARCH_URL searches: a login role of its own, in no other role. The service has the same tools
    at /mcp.
    """
    configure_logging(settings.log_format, settings.log_level)
    warn_of_unknown_settings()
    if not http.search_url:
        raise ConfigurationError(
            "There is no role to search as: set PGEMBEDD_SEARCH_URL to the URL of a login role of its own "
            f"({page('how-to/mcp.md')} makes one)."
        )
    check_search_url(http.search_url, "PGEMBEDD_SEARCH_URL")
    try:
        from pgembedd.mcp.local import serve_stdio
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"The package {error.name} is missing: pip install 'pgembedd[mcp]'.") from error
    cache = VectorCache(settings.vector_cache_mb * 1_000_000)
    models = LocalModels(loader(settings, offline=True), reranker_loader(settings, offline=True), cache)
    serve_stdio(http.search_url, models)
