import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.models import (
    DEFAULT_MODELS_DIR,
    EMBEDDING_MODEL,
    MODELS,
    RERANK_MODEL,
    Model,
    ModelCorrupt,
    ModelError,
    ModelFiles,
    ModelMissing,
    PinnedFile,
    UnknownModel,
    Wheel,
    fingerprint,
    locate,
    verify,
    verify_tokenizer,
)

ONNX, TOKENIZER = b"weights", b"{}"


def pinned(name: str, content: bytes) -> PinnedFile:
    return PinnedFile(name, f"package/{name}", len(content), hashlib.sha256(content).hexdigest())


def tiny(onnx: bytes = ONNX, tokenizer: bytes = TOKENIZER) -> Model:
    wheel = Wheel("package==1", "0" * 64, 1)
    return Model("tiny", "embedding", "MIT", wheel, pinned("model.onnx", onnx), pinned("tokenizer.json", tokenizer))


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(ONNX)
    (folder / "tokenizer.json").write_bytes(TOKENIZER)
    return tmp_path


@pytest.mark.parametrize("find", [locate, verify])
def test_intact_files_are_found_in_the_models_own_folder(models_dir: Path, find: Callable[..., ModelFiles]) -> None:
    found = find("tiny", models_dir, (tiny(),))
    assert found.onnx.read_bytes() == ONNX
    assert found.tokenizer.read_bytes() == TOKENIZER
    assert found.onnx.parent == models_dir / "tiny"


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json"])
def test_a_missing_file_is_named_with_what_to_do(models_dir: Path, file: str) -> None:
    (models_dir / "tiny" / file).unlink()
    with pytest.raises(ModelMissing, match=rf"{file} is missing: run `make setup`$"):
        locate("tiny", models_dir, (tiny(),))


def test_a_cut_off_file_is_noticed_without_reading_it(models_dir: Path) -> None:
    os.truncate(models_dir / "tiny" / "model.onnx", 3)
    with pytest.raises(ModelCorrupt, match=r"model\.onnx has 3 bytes, not 7: run `make setup`$"):
        locate("tiny", models_dir, (tiny(),))


def test_changed_content_of_the_same_size_is_noticed_by_its_hash(models_dir: Path) -> None:
    (models_dir / "tiny" / "model.onnx").write_bytes(ONNX[::-1])
    locate("tiny", models_dir, (tiny(),))
    with pytest.raises(ModelCorrupt, match=r"model\.onnx has sha256 \w{64}, not \w{64}: run `make setup`$"):
        verify("tiny", models_dir, (tiny(),))


def test_a_tokenizer_is_verified_by_itself_where_the_model_is_not_there(models_dir: Path) -> None:
    (models_dir / "tiny" / "model.onnx").unlink()
    assert verify_tokenizer("tiny", models_dir, (tiny(),)) == models_dir / "tiny" / "tokenizer.json"
    (models_dir / "tiny" / "tokenizer.json").write_bytes(TOKENIZER[::-1])
    with pytest.raises(ModelCorrupt, match=r"tokenizer\.json has sha256 \w{64}, not \w{64}: run `make setup`$"):
        verify_tokenizer("tiny", models_dir, (tiny(),))
    (models_dir / "tiny" / "tokenizer.json").unlink()
    with pytest.raises(ModelMissing, match=r"tokenizer\.json is missing: run `make setup`$"):
        verify_tokenizer("tiny", models_dir, (tiny(),))


def test_every_error_of_this_module_is_one_line_that_callers_can_catch_as_one(tmp_path: Path) -> None:
    for name in (EMBEDDING_MODEL, "no-such-model"):
        with pytest.raises(ModelError) as caught:
            locate(name, tmp_path)
        assert "\n" not in str(caught.value)


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=f"'bge'; known are: {EMBEDDING_MODEL}, {RERANK_MODEL}"):
        locate("bge", tmp_path)


def test_the_fingerprint_starts_with_the_name_and_the_onnx_hash() -> None:
    assert fingerprint(EMBEDDING_MODEL) == "bge-small-en-v1.5-int8@68807e3ff2ab.d241a60d5e8f"


@pytest.mark.parametrize("other", [tiny(onnx=b"retrained"), tiny(tokenizer=b"[]")])
def test_another_onnx_or_tokenizer_gives_another_fingerprint(other: Model) -> None:
    assert fingerprint("tiny", (other,)) != fingerprint("tiny", (tiny(),))


def test_the_manifest_names_each_model_once_and_pins_whole_hashes() -> None:
    assert len({model.name for model in MODELS}) == len(MODELS)
    assert {model.role for model in MODELS} == {"embedding", "rerank"}
    hashes = [file.sha256 for model in MODELS for file in model.files] + [model.wheel.sha256 for model in MODELS]
    assert all(len(sha256) == 64 and int(sha256, 16) for sha256 in hashes)


def test_the_models_lie_in_the_project_unless_told_otherwise() -> None:
    assert DEFAULT_MODELS_DIR.name == ".models"
    assert (DEFAULT_MODELS_DIR.parent / "shared" / "models.py").is_file()
