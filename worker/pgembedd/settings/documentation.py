"""The address of the documentation, which the build sets: the URL `Documentation` of the package's metadata."""

from collections.abc import Iterable
from functools import cache


def page(path: str) -> str:
    """Returns where a page is, such as "how-to/rights.md": in the site, else the file in the folder docs/."""
    return page_of(_project_urls(), path)


def page_of(urls: Iterable[str], path: str) -> str:
    """Returns the same for a package with these URLs, each as `label, url`: that of the site, or of docs/README.md."""
    home = dict(url.split(", ", 1) for url in urls).get("Documentation")
    if home is None:
        return f"docs/{path}"
    if home.endswith("/README.md"):
        return home.removesuffix("README.md") + path
    return f"{home.rstrip('/')}/{path.removesuffix('.md')}/"


@cache
def _project_urls() -> tuple[str, ...]:
    """Returns what the metadata list, which hatch_build.py writes."""
    from importlib.metadata import PackageNotFoundError, metadata  # slow to import, and only sentences need it

    try:
        return tuple(metadata("pgembedd").get_all("Project-URL") or ())
    except PackageNotFoundError:  # a checkout on the path that is not installed
        return ()
