"""Held against the schema of KServe's own SDK: every key of an InferenceService known, every value of its type.

`python kserve_schema.py FILE`; ends with 1 and says where when something is not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kserve
import kubernetes.client
import yaml

PLAIN = {"str": str, "int": int, "float": (int, float), "bool": bool, "object": object}


def wrong(value: Any, kind: str, where: str) -> Iterator[str]:
    """Yield what is not as the type says."""
    if kind.startswith("list["):
        if not isinstance(value, list):
            yield f"{where}: no list"
            return
        for number, item in enumerate(value):
            yield from wrong(item, kind[5:-1], f"{where}[{number}]")
    elif kind.startswith("dict("):
        for key, item in value.items():
            yield from wrong(item, kind[5:-1].split(", ")[1], f"{where}.{key}")
    elif kind in PLAIN:
        if not isinstance(value, PLAIN[kind]):  # type: ignore[arg-type]
            yield f"{where}: {value!r} is no {kind}"
    else:
        model = getattr(kserve, kind, None) or getattr(kubernetes.client, kind, None)
        if model is None or not isinstance(value, dict):
            if model is not None:
                yield f"{where}: no block of keys"
            return
        known = {name: attribute for attribute, name in model.attribute_map.items()}
        for key, item in value.items():
            if key not in known:
                yield f"{where}.{key}: no such key of {kind}"
            else:
                yield from wrong(item, model.openapi_types[known[key]], f"{where}.{key}")


def main() -> int:
    """Check the file that the command line names."""
    manifest = yaml.safe_load(Path(sys.argv[1]).read_text("utf-8"))
    found = list(wrong(manifest, "V1beta1InferenceService", "InferenceService"))
    print("\n".join(found) or "ok   KServe's schema has every key of inferenceservice.yaml")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
