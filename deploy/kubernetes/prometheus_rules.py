"""`python -m deploy.kubernetes.prometheus_rules` makes the PrometheusRule of `observability/prometheus`."""

import sys
from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path(__file__).resolve().parent
RULES: Final = FOLDER.parents[1] / "observability" / "prometheus" / "rules"
TARGET: Final = FOLDER / "components" / "monitoring" / "rules.yaml"
_HEADER: Final = "# Made of observability/prometheus/rules by `make kubernetes`: edit those.\n"


def text() -> str:
    """Return what the file has to hold."""
    groups = [group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]]
    rule: dict[str, Any] = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "rag",
            "labels": {"app.kubernetes.io/part-of": "rag", "release": "kube-prometheus-stack"},
        },
        "spec": {"groups": groups},
    }
    return _HEADER + yaml.dump(rule, Dumper=_WithoutAliases, sort_keys=False, width=110, allow_unicode=True)


class _WithoutAliases(yaml.SafeDumper):
    """Rules that share an annotation write it out: the diff of the one shows in the other."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def main() -> int:
    """Write the file."""
    TARGET.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
