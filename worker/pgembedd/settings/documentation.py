"""The address of the documentation, which the build sets: the URL `Documentation` of pyproject.toml."""

from collections.abc import Iterable
from functools import cache


def page(path: str) -> str:
    """Returns where a page is, such as "how-to/rights.md": in the site, else the file in the source's folder docs/."""
    return page_of(_project_urls(), path)


def page_of(urls: Iterable[str], path: str) -> str:
    """Returns the same for a package with these URLs, each as `label, url`."""
    sites = dict(url.split(", ", 1) for url in urls)
    if "Documentation" not in sites:
        return f"docs/{path}"
    return f"{sites['Documentation'].rstrip('/')}/{path.removesuffix('.md')}/"


@cache
def _project_urls() -> tuple[str, ...]:
    """Returns what [project.urls] of pyproject.toml lists."""
    from importlib.metadata import PackageNotFoundError, metadata  # slow to import, and only sentences need it

    try:
        return tuple(metadata("pgembedd").get_all("Project-URL") or ())
    except PackageNotFoundError:  # a checkout on the path that is not installed
        return ()
