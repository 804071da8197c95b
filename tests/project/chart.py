"""`python -m tests.project.chart` writes deploy/kubernetes.yaml, which is what the chart renders by default."""

import re
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.project.deploy import CHART, KUBERNETES, run_tool, tool

HEADER = """\
# A migration to run once per upgrade, and the workers: what deploy/chart makes by default, for clusters without Helm.
# Build the image with a model inside (Dockerfile), so that no pod needs the network for it, and push it to where your
# cluster pulls from. With the digest that your registry printed at the push (@sha256:...) no other image can take its
# place.
#
#   kubectl create secret generic pgembedd \\
#     --from-literal=owner-url='postgresql://owner:...@db/app' \\
#     --from-literal=worker-url='postgresql://embedder:...@db/app' \\
#     --from-literal=http-tokens="$(openssl rand -hex 32)"
#   kubectl delete job pgembedd-migrate --ignore-not-found    # one that is there cannot be altered
#   kubectl apply -f deploy/kubernetes.yaml
#
# `embedder` is a login role that the owner gave its rights with select pgembedd.grant_worker('embedder').
"""

# What says that Helm has installed it.
_OF_HELM = re.compile(
    r"^ *(?:# Source: .*|annotations:|helm\.sh/.*|app\.kubernetes\.io/managed-by: .*)\n", re.MULTILINE
)


def rendered(*options: str, release: str = "pgembedd") -> str:
    """What the chart makes with these options. AssertionError with Helm's own words where it refuses them."""
    outcome = run_tool(*tool("helm"), "template", release, str(CHART), *options)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def objects(text: str) -> dict[tuple[str, str], Any]:
    """The objects of a manifest, by kind and name."""
    documents = [document for document in yaml.safe_load_all(text) if document]
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def plain() -> str:
    """The manifest for `kubectl apply`."""
    return HEADER + re.sub(r"\n+---", "\n---", _OF_HELM.sub("", rendered()).removeprefix("---\n")).rstrip("\n") + "\n"


if __name__ == "__main__":
    KUBERNETES.write_text(plain(), encoding="utf-8")
