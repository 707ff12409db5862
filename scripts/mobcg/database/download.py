"""Fetch a published release from a web server or a directory, and believe nothing that does not verify.

`mobcg release download VERSION [--from URL|DIRECTORY] [--to DIRECTORY] [--sha256 DIGEST] [--trajectories]`. SHA256SUMS
comes first; every file that it names is fetched, resumed where a connection broke, and compared with it; the release
appears under its name when all of it is there. With `--sha256` SHA256SUMS itself must have that digest. The bead
trajectories that trajectories.json names come on demand only, from `trajectories/` beside the release.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

import pooch
import requests

from mobcg.database.manifest import (
    CHECKSUMS,
    LATEST,
    MAX_CHECKSUMS_BYTES,
    Version,
    read_checksums,
    release_files,
    sha256_of,
)
from mobcg.database.trajectories import read_index
from mobcg.errors import InputError
from mobcg.records import atomic_path, work_directory
from mobcg.schema import TRAJECTORIES, TRAJECTORIES_FILE

SOURCE_VARIABLE = "MOBCG_RELEASES"
DEFAULT_MAX_BYTES = 20 * 10**9
MAX_LATEST_BYTES = 10_000
ATTEMPTS = 5
TIMEOUT_S = 30
# A piece that the connection breaks in is lost, so pieces are small.
PIECE_BYTES = 2**14

# Name of a file, where to put it, the SHA-256 it must have (None: not known), and the most bytes it may have.
Fetch = Callable[[str, Path, str | None, int], None]


class DownloadError(Exception):
    """The source cannot be reached, does not have a file, or does not give what SHA256SUMS promises."""


def download_directory() -> Path:
    """Return where downloads go when nothing else is said: the user's cache directory."""
    return Path(pooch.os_cache("mobcg")) / "releases"


def download(
    version: str,
    source: str,
    destination: Path | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    sha256: str | None = None,
    trajectories: bool = False,
) -> Path:
    """Fetch a release and return its directory, `destination`/`version`.

    An unfinished download is kept beside it and continued by the next call. A directory that is there already is
    compared with its own SHA256SUMS, and that with the one of the source where it answers, and not fetched again.

    Parameters
    ----------
    version
        Calendar version, or `latest`: what latest.json of the source names.
    source
        http(s) address or directory that holds `<version>/SHA256SUMS`.
    destination
        `download_directory()` by default.
    max_bytes
        Bound on the size of all files together; nothing beyond it is written.
    sha256
        Digest that SHA256SUMS must have; without it the source is trusted for what the release is, and checked only
        for having arrived whole.
    trajectories
        Fetch the bead trajectories that the release names as well, into `destination`/trajectories.

    Raises
    ------
    InputError
        Version or source is no such thing, a file name is unsafe, or what is there already does not verify or is
        another release than that of the source.
    DownloadError
        A file could not be had whole and true within `ATTEMPTS` attempts or `max_bytes`.
    """
    destination = destination or download_directory()
    if version == "latest":
        version, sha256 = _latest(source, destination, sha256)
    version = str(Version.parse(version))
    target = destination / version
    fetch = _fetcher(f"{source.rstrip('/')}/{version}")
    with work_directory(destination / f".{version}.part") as part:
        if target.exists():
            _check_present(target, sha256)
            _check_same(target, fetch, part / CHECKSUMS)
        else:
            files = part / "files"
            files.mkdir(exist_ok=True)
            (files / CHECKSUMS).unlink(missing_ok=True)
            fetch(CHECKSUMS, files / CHECKSUMS, sha256, MAX_CHECKSUMS_BYTES)
            sums = read_checksums(files / CHECKSUMS)
            _fetch_files(fetch, sums, files, max_bytes)
            _remove_strangers(files, sums)
            files.rename(target)
        shutil.rmtree(part)
    if trajectories:
        _download_trajectories(target, source, max_bytes)
    return target


def _download_trajectories(release: Path, source: str, max_bytes: int) -> None:
    """Fetch the bead trajectories of a release that are not there yet, each to its place when it is whole.

    Raises
    ------
    InputError
        The release names none, or a file that is there already does not verify.
    DownloadError
        As `download`.
    """
    rows = read_index(release)
    if not rows:
        allowed = f"a release with {TRAJECTORIES_FILE}"
        raise InputError("--trajectories", "", str(release), allowed, "This release publishes no bead trajectories.")
    place = release.parent / TRAJECTORIES
    for row in rows:
        if (place / row["file"]).exists() and not _is_whole(place / row["file"], row["sha256"]):
            advice = "Delete it and download again."
            raise InputError(place / row["file"], "", "another file", f"SHA-256 {row['sha256']}", advice)
    missing = {row["file"]: row["sha256"] for row in rows if not (place / row["file"]).exists()}
    if not missing:
        return
    with work_directory(release.parent / f".{TRAJECTORIES}.part") as part:
        files = part / "files"
        _fetch_files(_fetcher(f"{source.rstrip('/')}/{TRAJECTORIES}"), missing, files, max_bytes)
        place.mkdir(exist_ok=True)
        for name in missing:
            (files / name).rename(place / name)
        shutil.rmtree(part)


def _latest(source: str, destination: Path, sha256: str | None) -> tuple[str, str]:
    with work_directory(destination / f".{LATEST}.part") as part:
        (part / LATEST).unlink(missing_ok=True)
        _fetcher(source.rstrip("/"))(LATEST, part / LATEST, None, MAX_LATEST_BYTES)
        try:
            content = json.loads((part / LATEST).read_text(encoding="utf-8"))
            return str(Version.parse(str(content["version"]))), sha256 or str(content["sha256sums"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DownloadError(f"{LATEST} of {source} names no version: {error}") from error
        finally:
            shutil.rmtree(part)


def _check_present(target: Path, sha256: str | None) -> None:
    """Raise unless a directory is exactly what its SHA256SUMS says."""
    sums = read_checksums(target / CHECKSUMS)
    wrong = [name for name, digest in sums.items() if not _is_whole(target / name, digest)]
    wrong += sorted(set(release_files(target)) - sums.keys())
    if sha256 and sha256_of(target / CHECKSUMS) != sha256:
        wrong.append(CHECKSUMS)
    if wrong:
        advice = "Delete the directory and download again."
        raise InputError(target, "", f"changed: {', '.join(wrong[:5])}", "files as in SHA256SUMS", advice)


def _check_same(target: Path, fetch: Fetch, checksums: Path) -> None:
    """Raise if the source publishes something else under the version of a directory; a source that is silent may."""
    checksums.unlink(missing_ok=True)
    try:
        fetch(CHECKSUMS, checksums, None, MAX_CHECKSUMS_BYTES)
    except DownloadError as error:
        print(f"not compared with the source, which does not answer: {error}", file=sys.stderr, flush=True)
        return
    if checksums.read_bytes() != (target / CHECKSUMS).read_bytes():
        here, there = read_checksums(target / CHECKSUMS), read_checksums(checksums)
        differing = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
        advice = "A published version should never change: ask. For that of the source delete the directory first."
        raise InputError(
            target, "", f"another release: {', '.join(differing[:5])}", f"{CHECKSUMS} of the source", advice
        )


def _is_whole(path: Path, digest: str) -> bool:
    return path.is_file() and not path.is_symlink() and sha256_of(path) == digest


def _fetch_files(fetch: Fetch, sums: dict[str, str], directory: Path, max_bytes: int) -> None:
    left = max_bytes
    for number, (name, digest) in enumerate(sums.items(), start=1):
        path = directory / name
        if not _is_whole(path, digest):
            print(f"{number}/{len(sums)} {name}", file=sys.stderr, flush=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            fetch(name, path, digest, left)
        left -= path.stat().st_size
        if left < 0:
            raise DownloadError(f"the release is larger than {max_bytes} bytes; raise --max-bytes if it may be")


def _remove_strangers(directory: Path, sums: dict[str, str]) -> None:
    """Remove what an earlier attempt at another state of the source left behind."""
    for name in release_files(directory):
        if name not in sums:
            (directory / name).unlink()


def _fetcher(source: str) -> Fetch:
    """Return what brings a file of a source to a path, and raises unless it is the one that is meant."""
    scheme = urlsplit(source).scheme
    if scheme in ("http", "https"):
        return lambda name, path, digest, limit: _fetch_http(f"{source}/{quote(name)}", path, digest, limit)
    if len(scheme) > 1:
        raise InputError("--from", "", source, "an http or https address, or a directory", "Correct the address.")
    directory = Path(source)
    if not directory.is_dir():
        raise InputError("--from", "", source, "a directory that is there, or a web address", "Check the name.")
    return lambda name, path, digest, limit: _fetch_local(directory / name, path, digest, limit)


def _fetch_local(source: Path, path: Path, digest: str | None, max_bytes: int) -> None:
    if source.is_symlink() or not source.is_file():
        raise DownloadError(f"{source}: no such file")
    if source.stat().st_size > max_bytes:
        raise DownloadError(f"{source} is larger than the {max_bytes} bytes that are left; see --max-bytes")
    with atomic_path(path) as temporary:
        shutil.copyfile(source, temporary)
        if digest and sha256_of(temporary) != digest:
            raise DownloadError(f"{source} does not have the SHA-256 {digest}; do not use this source")


def _fetch_http(url: str, path: Path, digest: str | None, max_bytes: int) -> None:
    """Fetch one file through pooch, continuing where the connection broke, at most `ATTEMPTS` times."""
    partial = path.with_name(f".{path.name}.partial")

    def continued(url: str, output: str, _pooch: object) -> None:
        _continue_http(url, partial, max_bytes)
        os.replace(partial, output)

    for attempt in range(1, ATTEMPTS + 1):
        resumed = partial.exists()
        try:
            pooch.retrieve(url, known_hash=digest, fname=path.name, path=path.parent, downloader=continued)
            return
        except requests.HTTPError as error:
            raise DownloadError(f"{url}: {error}") from error
        except requests.RequestException as error:
            if attempt == ATTEMPTS:
                raise DownloadError(f"{url}: {error}; run the same command again to continue") from error
        except ValueError as error:
            # pooch raises it for a wrong hash. The start of a resumed file may be to blame: once more, all of it.
            if not resumed or attempt == ATTEMPTS:
                raise DownloadError(f"{url} does not have the SHA-256 {digest}; do not use this source") from error


def _continue_http(url: str, partial: Path, max_bytes: int) -> None:
    """Append to a partial file what a server still has of it, never beyond `max_bytes`.

    Raises
    ------
    requests.RequestException
        The connection broke; what came before that is in the file.
    DownloadError
        The file is larger than `max_bytes`.
    """
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # the file was whole already; its checksum decides
        answer.raise_for_status()
        resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if not (have and answer.status_code == requests.codes.partial_content and resumed):
            have = 0
        expected = have + int(answer.headers.get("Content-Length", 0))
        if expected > max_bytes:
            raise DownloadError(f"{url} is larger than the {max_bytes} bytes that are left; see --max-bytes")
        with partial.open("ab" if have else "wb") as stream:
            for piece in answer.iter_content(PIECE_BYTES):
                have += len(piece)
                if have > max_bytes:
                    raise DownloadError(f"{url} is larger than the {max_bytes} bytes that are left; see --max-bytes")
                stream.write(piece)
    if have < expected:
        raise requests.ConnectionError(f"{have} of {expected} bytes came")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints the directory of the release."""
    parser = argparse.ArgumentParser(prog="mobcg release download", description=__doc__.splitlines()[0])
    parser.add_argument("version", help="calendar version such as 2026.12.0, or latest: what latest.json says")
    parser.add_argument(
        "--from",
        dest="source",
        default=os.environ.get(SOURCE_VARIABLE),
        help=f"web address or directory that holds the releases (default: the variable {SOURCE_VARIABLE})",
    )
    parser.add_argument("--to", type=Path, help=f"directory to put it in (default: {download_directory()})")
    parser.add_argument("--max-bytes", type=int, default=DEFAULT_MAX_BYTES, help="bound on the size of the release")
    parser.add_argument("--sha256", help="digest that SHA256SUMS must have")
    parser.add_argument("--trajectories", action="store_true", help="fetch the bead trajectories as well")
    options = parser.parse_args(arguments)
    pooch.get_logger().setLevel("WARNING")
    try:
        if not options.source:
            raise InputError("--from", "", None, "a web address or a directory", f"Or set {SOURCE_VARIABLE}.")
        bounds = options.max_bytes, options.sha256
        print(download(options.version, options.source, options.to, *bounds, trajectories=options.trajectories))
    except (InputError, DownloadError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
