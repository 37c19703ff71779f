"""Held against the schema of KServe's own SDK: every key of an InferenceService known, every value of its type.

`python kserve_schema.py FILE` ends with 1 and says where when something is not, or when what is recorded beside this
file, for tests without the SDK, is not the SDK's; `--record` writes it anew.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import kserve
import kubernetes.client
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from manifest_schema import wrong

RECORDED = Path(__file__).with_suffix(".json")
TOP = "V1beta1InferenceService"


class Sdk(dict[str, dict[str, str]]):
    """The SDK's schema, kind by kind as they are asked for."""

    def get(self, kind: str, default: Any = None) -> Any:
        """Return the keys of a kind of block."""
        return self[kind] if kind in self else self.__missing__(kind)

    def __missing__(self, kind: str) -> dict[str, str]:
        model = getattr(kserve, kind, None) or getattr(kubernetes.client, kind, None)
        if model is None:
            raise KeyError(kind)
        types = {name: model.openapi_types[attribute] for attribute, name in model.attribute_map.items()}
        # Newer generators write types as Python does.
        self[kind] = {
            name: re.sub(r"^Dict\[(.*)\]$", r"dict(\1)", each).replace("List[", "list[") for name, each in types.items()
        }
        return self[kind]


def main() -> int:
    """Check the file that the command line names."""
    manifest, sdk = yaml.safe_load(Path(sys.argv[1]).read_text("utf-8")), Sdk()
    found = list(wrong(manifest, TOP, "InferenceService", sdk))
    if "--record" in sys.argv:
        RECORDED.write_text(json.dumps(sdk, indent=0, sort_keys=True) + "\n")
    elif json.loads(RECORDED.read_text()) != sdk:
        found.append(f"{RECORDED.name} is not the SDK's schema: record it again with --record")
    print("\n".join(found) or "ok   KServe's schema has every key of inferenceservice.yaml")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
