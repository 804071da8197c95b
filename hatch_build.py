"""Metadata that depends on where the project is published: the links of its page in a package index.

With PGEMBEDD_REPOSITORY_URL, the address of the repository, the metadata names it, and the README's relative links lead
there, at the tag of the version. Without it, as in a checkout, there are no addresses, and the README is as it stands.
PGEMBEDD_DOCUMENTATION_URL is the address of the site of the documentation, where there is one.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

VARIABLE = "PGEMBEDD_REPOSITORY_URL"
SITE = "PGEMBEDD_DOCUMENTATION_URL"
PAGES = {
    "Documentation": "blob/{tag}/docs/README.md",
    "Changelog": "blob/{tag}/CHANGELOG.md",
    "Security": "blob/{tag}/SECURITY.md",
    "Source": "tree/{tag}",
    "Issues": "issues",
}


class Published(MetadataHookInterface):
    """Sets `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["urls"] = {}
        if address := os.environ.get(VARIABLE, "").rstrip("/"):
            tag = f"v{metadata['version']}"
            metadata["urls"] = {name: f"{address}/{path.format(tag=tag)}" for name, path in PAGES.items()}
            if site := os.environ.get(SITE):
                metadata["urls"]["Documentation"] = site
            text = with_absolute_links(text, f"{address}/blob/{tag}", f"{address}/raw/{tag}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def with_absolute_links(text: str, pages: str, files: str) -> str:
    """Returns Markdown whose relative links begin with `pages`, and whose relative images begin with `files`."""
    relative = r"(?![a-z]+:|#)(?=[^)\s])"
    text = re.sub(rf"(!\[[^]]*\]\(){relative}", rf"\g<1>{files}/", text)
    return re.sub(rf"((?<!!)\[[^]]*\]\(){relative}", rf"\g<1>{pages}/", text)
