"""What a release directory holds: versions, safe file names, SHA256SUMS and latest.json."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mobcg.errors import InputError
from mobcg.records import atomic_path

CHECKSUMS = "SHA256SUMS"
LATEST = "latest.json"
# Bounds on what an untrusted list of files may ask of us.
MAX_FILES = 20_000
MAX_CHECKSUMS_BYTES = 8 * 2**20
_VERSION = re.compile(r"(\d{4})\.(1[0-2]|[1-9])\.(\d{1,6})(?:-([a-z0-9-]{1,64}))?")
_PART = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9._+-]{0,127}")
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


@dataclass(frozen=True, order=True)
class Version:
    """A calendar version YYYY.M.N, with a suffix (`-demo`) for what is no full release."""

    year: int
    month: int
    micro: int
    suffix: str = ""

    @classmethod
    def parse(cls, text: str) -> Version:
        """Return the version that a text names.

        Raises
        ------
        InputError
            It is no calendar version.
        """
        found = _VERSION.fullmatch(text)
        if not found:
            raise InputError("version", "", text, "YYYY.M.N or YYYY.M.N-suffix", "For example 2026.12.0.")
        year, month, micro, suffix = found.groups()
        return cls(int(year), int(month), int(micro), suffix or "")

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f"{self.year}.{self.month}.{self.micro}" + (f"-{self.suffix}" if self.suffix else "")

    def next_micro(self) -> Version:
        """Return the next version of the same month and suffix."""
        return Version(self.year, self.month, self.micro + 1, self.suffix)


def published_versions(releases_dir: Path) -> list[Version]:
    """Return the versions that have a directory, sorted."""
    names = (path.name for path in releases_dir.glob("*") if path.is_dir()) if releases_dir.is_dir() else ()
    return sorted(Version.parse(name) for name in names if _VERSION.fullmatch(name))


def previous_release(releases_dir: Path, version: Version) -> Path | None:
    """Return the newest published release older than `version` with the same suffix, None for the first."""
    older = [other for other in published_versions(releases_dir) if other < version and other.suffix == version.suffix]
    return releases_dir / str(older[-1]) if older else None


def safe_relative_path(name: str, where: object) -> PurePosixPath:
    """Return a file name of a manifest as a path that cannot leave its directory.

    Raises
    ------
    InputError
        It is absolute, climbs, hides, or holds a character that no release file has.
    """
    parts = name.split("/")
    if len(name) > 400 or not all(_PART.fullmatch(part) for part in parts):
        raise InputError(where, "", name, "relative paths of letters, digits and ._+-", "Do not use this release.")
    return PurePosixPath(*parts)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_checksums(path: Path) -> dict[str, str]:
    """Return file name → SHA-256 of a SHA256SUMS file, every name safe.

    Raises
    ------
    InputError
        The file is missing, too large, not text, or has a line that is no checksum, an unsafe or a repeated name.
    """
    if not path.is_file() or path.stat().st_size > MAX_CHECKSUMS_BYTES:
        raise InputError(path, "", "no such file, or too large", f"a {CHECKSUMS} file", "Download the release again.")
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(path, "", str(error), "ASCII text", "Download the release again.") from error
    return parse_checksums(lines, path)


def parse_checksums(lines: Iterable[str], where: object) -> dict[str, str]:
    """Return file name → SHA-256 of the lines of a SHA256SUMS file; raises as `read_checksums`."""
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        found = _LINE.fullmatch(line)
        if not found:
            raise InputError(f"{where}:{number}", "", line, "<64 hex digits>  <file>", "Download the release again.")
        digest, name = found.groups()
        safe_relative_path(name, f"{where}:{number}")
        if name in sums or name == CHECKSUMS:
            raise InputError(f"{where}:{number}", "", name, "every file once", "Do not use this release.")
        sums[name] = digest
    if not 0 < len(sums) <= MAX_FILES:
        raise InputError(where, "", f"{len(sums)} files", f"1 to {MAX_FILES} files", "Do not use this release.")
    return sums


def release_files(directory: Path) -> list[str]:
    """Return the names of all files below a directory but SHA256SUMS, sorted, with forward slashes."""
    names = (path.relative_to(directory).as_posix() for path in directory.rglob("*") if not path.is_dir())
    return sorted(name for name in names if name != CHECKSUMS)


def checksums_text(directory: Path) -> str:
    """Return the SHA256SUMS text of a directory, in the form that `sha256sum -c` reads."""
    return "".join(f"{sha256_of(directory / name)}  {name}\n" for name in release_files(directory))


def write_latest(releases_dir: Path) -> None:
    """Write latest.json: the newest version without a suffix and the SHA-256 of its SHA256SUMS."""
    full = [version for version in published_versions(releases_dir) if not version.suffix]
    if not full:
        return
    checksums = releases_dir / str(full[-1]) / CHECKSUMS
    content = {"version": str(full[-1]), "sha256sums": sha256_of(checksums)}
    with atomic_path(releases_dir / LATEST) as temporary:
        temporary.write_text(json_text(content), encoding="utf-8")


def latest_release(releases_dir: Path) -> Path:
    """Return the directory that latest.json names; raises `InputError` where there is none."""
    path = releases_dir / LATEST
    try:
        version = Version.parse(str(json.loads(path.read_text(encoding="utf-8"))["version"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(path, "version", str(error), "a published version", "Name a release directory.") from error
    return releases_dir / str(version)


def json_text(content: Mapping | Sequence) -> str:
    """Return JSON as every descriptor of a release is written: readable, Unicode, no NaN, a newline at the end."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
