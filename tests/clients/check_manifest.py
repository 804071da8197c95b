"""Checks a manifest against the schemas of Kubernetes (argv[2], its version) and of KEDA, and prints each kind."""

import sys
from pathlib import Path

import kubernetes_validate  # type: ignore[import-not-found]
import yaml  # type: ignore[import-untyped]
from cloudcoil.models.keda import v1alpha1  # type: ignore[import-not-found]

for document in yaml.safe_load_all(Path(sys.argv[1]).read_text(encoding="utf-8")):
    if document["apiVersion"] == "keda.sh/v1alpha1":
        getattr(v1alpha1, document["kind"]).model_validate(document)
    elif document["kind"] != "PodMonitor":
        kubernetes_validate.validate(document, sys.argv[2], strict=True)
    print(document["kind"])
