"""Downloads from a real HTTP server on this machine: one that resumes, breaks, lies, floods or climbs."""

import json
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mobcg.database import download as module
from mobcg.database.download import DownloadError, download, main
from mobcg.database.manifest import release_files, sha256_of, write_latest
from mobcg.database.validate import validate
from mobcg.errors import InputError


class Server(ThreadingHTTPServer):
    """Serves a directory; what it does wrong is set by its attributes."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(root)))
        self.root = root
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True
        self.break_after: int | None = None  # bytes of a large file sent before the connection is closed
        self.breaks_left = 0
        self.wrong_byte_in: str | None = None
        self.flood = False  # send without end and without a length
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def names(self) -> list[str]:
        return [path.rsplit("/", 1)[-1] for path, _ in self.requests]


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        if not path.is_file():
            self.send_error(404)
            return
        content = bytearray(path.read_bytes())
        if self.server.wrong_byte_in == path.name:
            content[len(content) // 2] ^= 1
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if first >= len(content) and first:
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if self.server.flood:
            self.end_headers()
            self._flood()
            return
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        limit = self.server.break_after
        if limit is not None and self.server.breaks_left and len(content) - first > limit:
            self.server.breaks_left -= 1
            self.wfile.write(content[first : first + limit])
            self.close_connection = True
            return
        self.wfile.write(content[first:])

    def _flood(self):
        try:
            for _ in range(100_000):
                self.wfile.write(b"x" * 65536)
        except OSError:
            self.server.flooded = True


@pytest.fixture
def server(release):
    made = Server(release.parent)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def hostile(tmp_path):
    """A server of a directory in which the test puts what it likes."""
    (tmp_path / "evil" / "2026.1.0").mkdir(parents=True)
    made = Server(tmp_path / "evil")
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def same(one: Path, other: Path) -> bool:
    names = release_files(one)
    return names == release_files(other) and all(sha256_of(one / name) == sha256_of(other / name) for name in names)


def test_release_comes_whole_from_a_web_server(server, release, tmp_path):
    made = download(release.name, server.url, tmp_path)
    assert made == tmp_path / release.name
    assert same(made, release)
    assert validate(made) == []
    assert [path.name for path in tmp_path.iterdir()] == [release.name]


def test_release_comes_whole_from_a_directory(release, tmp_path):
    assert same(download(release.name, str(release.parent), tmp_path), release)


def test_broken_connection_is_resumed_where_it_broke(server, release, tmp_path):
    server.break_after, server.breaks_left = 40_000, 3
    assert same(download(release.name, server.url, tmp_path), release)
    resumed = [asked for _, asked in server.requests if asked]
    assert len(resumed) == 3
    assert resumed[0] == f"bytes={40_000 // module.PIECE_BYTES * module.PIECE_BYTES}-"


def test_server_without_ranges_is_asked_from_the_beginning(server, release, tmp_path):
    server.ranges, server.break_after, server.breaks_left = False, 40_000, 2
    assert same(download(release.name, server.url, tmp_path), release)


def test_download_that_was_given_up_goes_on_with_the_next_call(server, release, tmp_path):
    server.break_after, server.breaks_left = 10_000, module.ATTEMPTS
    with pytest.raises(DownloadError, match="run the same command again"):
        download(release.name, server.url, tmp_path)
    assert not (tmp_path / release.name).exists()
    first = server.names()
    server.requests.clear()
    assert same(download(release.name, server.url, tmp_path), release)
    finished = set(first[:-1]) - {first[-1], "SHA256SUMS"}
    assert finished
    assert not finished & set(server.names())


def test_wrong_byte_is_refused(server, release, tmp_path):
    server.wrong_byte_in = "coarse.parquet"
    with pytest.raises(DownloadError, match=r"coarse\.parquet does not have the SHA-256"):
        download(release.name, server.url, tmp_path)
    assert not (tmp_path / release.name).exists()
    server.wrong_byte_in = None
    assert same(download(release.name, server.url, tmp_path), release)


def test_wrong_start_of_a_resumed_file_is_fetched_once_more(server, release, tmp_path):
    part = tmp_path / f".{release.name}.part" / "files" / "data"
    part.mkdir(parents=True)
    (part / ".coarse.parquet.partial").write_bytes(b"?" * 5000)
    assert same(download(release.name, server.url, tmp_path), release)


def test_wrong_byte_in_a_directory_is_refused(editable, tmp_path):
    path = editable.table("coarse")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DownloadError, match="coarse"):
        download(editable.path.name, str(editable.path.parent), tmp_path / "to")
    assert not (tmp_path / "to" / editable.path.name).exists()


def test_checksums_must_have_the_digest_that_was_asked_for(server, release, tmp_path):
    with pytest.raises(DownloadError, match="SHA256SUMS does not have"):
        download(release.name, server.url, tmp_path, sha256="0" * 64)
    assert download(release.name, server.url, tmp_path, sha256=sha256_of(release / "SHA256SUMS")).exists()


def test_present_release_is_verified_and_not_fetched_again(server, release, tmp_path):
    made = download(release.name, server.url, tmp_path)
    server.requests.clear()
    assert download(release.name, server.url, tmp_path) == made
    assert server.names() == ["SHA256SUMS"]
    (made / "README.md").write_text("mine")
    with pytest.raises(InputError, match=r"README\.md"):
        download(release.name, server.url, tmp_path)
    assert (made / "README.md").read_text() == "mine"


def test_version_that_was_published_anew_is_refused(editable, release, server, tmp_path, capsys):
    """A stale copy is whole by its own SHA256SUMS, and another release than that of the source."""
    to = tmp_path / "to"
    download(editable.path.name, str(editable.path.parent), to)
    assert download(release.name, server.url, to) == to / release.name
    (editable.path / "LICENSE-DATA").write_text("another licence\n")
    editable.sign()
    with pytest.raises(InputError, match=r"another release: LICENSE-DATA"):
        download(editable.path.name, str(editable.path.parent), to)
    assert (to / release.name / "LICENSE-DATA").read_text() != "another licence\n"
    assert "not compared" not in capsys.readouterr().err


def test_present_release_is_taken_where_the_source_is_silent(server, release, tmp_path, capsys, monkeypatch):
    made = download(release.name, server.url, tmp_path)
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    assert download(release.name, "http://127.0.0.1:9", tmp_path) == made
    assert "not compared with the source" in capsys.readouterr().err


def test_latest_is_what_the_server_names(server, release, tmp_path):
    (server.root / "2026.1.0").mkdir()
    (server.root / "2026.1.0" / "SHA256SUMS").write_text("")
    try:
        write_latest(server.root)
        with pytest.raises(InputError, match="0 files"):
            download("latest", server.url, tmp_path)
        assert "/2026.1.0/SHA256SUMS" in [path for path, _ in server.requests]
        (server.root / "latest.json").write_text(json.dumps({"version": "../../etc"}))
        with pytest.raises(InputError, match="version"):
            download("latest", server.url, tmp_path)
    finally:
        (server.root / "2026.1.0" / "SHA256SUMS").unlink()
        (server.root / "2026.1.0").rmdir()
        (server.root / "latest.json").unlink(missing_ok=True)


@pytest.mark.parametrize(
    "name", ["../../outside", "/etc/passwd", "data/../../outside", "data//x", "a\\..\\b", ".hidden", "data/.x", "~/x"]
)
def test_name_that_leaves_the_directory_is_refused(hostile, tmp_path, name):
    (hostile.root / "2026.1.0" / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(InputError, match="Do not use this release"):
        download("2026.1.0", hostile.url, tmp_path / "to")
    assert len(hostile.requests) == 1
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("version", ["../2026.1.0", "2026.1.0/../x", "", "-", "2026.1"])
def test_version_that_is_no_version_is_refused(hostile, tmp_path, version):
    with pytest.raises(InputError):
        download(version, hostile.url, tmp_path / "to")
    assert hostile.requests == []


@pytest.mark.parametrize("source", ["ftp://example.org/x", "file:///etc", "/nowhere/at/all"])
def test_source_must_be_a_web_address_or_a_directory(tmp_path, source):
    with pytest.raises(InputError, match="--from"):
        download("2026.1.0", source, tmp_path)


def test_download_is_bounded_in_size(server, release, tmp_path):
    with pytest.raises(DownloadError, match="larger"):
        download(release.name, server.url, tmp_path, max_bytes=30_000)
    written = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert written < 40_000
    with pytest.raises(DownloadError, match="larger"):
        download(release.name, str(release.parent), tmp_path / "copy", max_bytes=30_000)


def test_endless_answer_is_cut_off(hostile, tmp_path, monkeypatch):
    hostile.flood = True
    (hostile.root / "2026.1.0" / "SHA256SUMS").write_text("x")
    monkeypatch.setattr(module, "MAX_CHECKSUMS_BYTES", 10**6)
    with pytest.raises(DownloadError, match="larger"):
        download("2026.1.0", hostile.url, tmp_path / "to")
    assert sum(path.stat().st_size for path in (tmp_path / "to").rglob("*") if path.is_file()) <= 10**6


def test_missing_version_and_unreachable_server_are_named(server, tmp_path, monkeypatch):
    with pytest.raises(DownloadError, match="404"):
        download("2030.1.0", server.url, tmp_path)
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    with pytest.raises(DownloadError, match="again"):
        download("2030.1.0", "http://127.0.0.1:9", tmp_path)


def test_command_line(server, release, tmp_path, capsys, monkeypatch):
    assert main([release.name, "--from", server.url, "--to", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / release.name}\n"
    monkeypatch.delenv("MOBCG_RELEASES", raising=False)
    assert main([release.name, "--to", str(tmp_path)]) == 2
    assert "MOBCG_RELEASES" in capsys.readouterr().err


LIGHT = """
import sys
absent = {"rdkit", "freud", "torch", "sklearn", "snakemake", "MDAnalysis", "matplotlib", "pandas", "psutil"}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent:
            raise ImportError(f"{name} is not installed")
sys.meta_path.insert(0, Absent())
from pathlib import Path
from mobcg.database import diff, download, validate
from mobcg.database.dataset import load
release = download.download(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
assert validate.validate(release) == []
assert diff.main([str(release), str(release)]) == 0
assert load("training", release)["rdf"].shape[1] == 150
"""


def test_light_installation_downloads_validates_compares_and_loads(release, tmp_path):
    """Neither RDKit nor freud, torch or Snakemake is needed by someone who only reads releases."""
    command = [sys.executable, "-c", LIGHT, release.name, str(release.parent), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
