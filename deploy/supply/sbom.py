"""The software bill of materials: what a running platform is made of, as CycloneDX 1.6 JSON.

Packages and their hashes come from the runtime lock (cyclonedx-py), models from the manifest that set-up goes by.
"""

import json
from pathlib import Path
from typing import Any, Final

from deploy.supply.tools import Tools
from shared.models import MODELS, Model, PinnedFile

SPEC_VERSION: Final = "1.6"
SBOM: Final = Path("sbom.cdx.json")


def write_sbom(tools: Tools, path: Path) -> int:
    """Write the bill to `path`, valid by the schema of CycloneDX, and return how many components it lists."""
    options = ("--spec-version", SPEC_VERSION, "--output-format", "JSON", "--output-reproducible", "--short-PURLs")
    made = tools.run("cyclonedx_py", "requirements", *options, "requirements/runtime.txt").stdout
    bill = with_models(json.loads(made))
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(json.dumps(bill, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    tools.run("deploy.supply.bom_schema", SPEC_VERSION, str(draft))
    draft.replace(path)
    return len(bill["components"])


def with_models(bill: dict[str, Any], models: tuple[Model, ...] = MODELS) -> dict[str, Any]:
    """Return the bill with the models and their files."""
    return {**bill, "components": [*bill.get("components", []), *(_model(model) for model in models)]}


def _model(model: Model) -> dict[str, Any]:
    name, _, version = model.wheel.requirement.partition("==")
    return {
        "bom-ref": f"model-{model.name}",
        "type": "machine-learning-model",
        "name": model.name,
        "description": f"{model.role} model, files of the wheel {model.wheel.requirement}",
        "licenses": [{"license": {"id": model.license}}],
        "purl": f"pkg:pypi/{name}@{version}",
        "hashes": [{"alg": "SHA-256", "content": model.wheel.sha256}],
        "components": [_file(model, file) for file in model.files],
    }


def _file(model: Model, file: PinnedFile) -> dict[str, Any]:
    return {
        "bom-ref": f"model-{model.name}-{file.name}",
        "type": "file",
        "name": file.name,
        "hashes": [{"alg": "SHA-256", "content": file.sha256}],
    }
