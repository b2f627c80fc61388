"""get_file keeps whole files with the right hash, and says what to do where there is no network."""

import hashlib
import http.server
import io
import os
import tarfile
import threading
import zipfile

import pytest

from pellucid.utils import get_file

CONTENT = b"some data" * 1000


def tar_of(entries):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, data in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def zip_of(entries):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return made.getvalue()


FILES = {
    "/data.bin": CONTENT,
    "/a.tar.gz": tar_of({"inside/one.txt": b"1", "inside/two.txt": b"2"}),
    "/a.zip": zip_of({"inside/one.txt": b"1"}),
    "/bad.tar.gz": tar_of({"../outside.txt": b"1"}),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path not in FILES and self.path != "/half.bin":
            return self.send_error(404)
        body = FILES.get(self.path, CONTENT)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/half.bin" else body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.asked = []
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def url(server, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server.asked.clear()
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_file_is_downloaded_once(url, server, home, capsys):
    path = get_file(origin=f"{url}/data.bin")
    assert path == str(home / "datasets" / "data.bin") and os.listdir(home / "datasets") == ["data.bin"]
    assert f"Downloading data from {url}/data.bin" in capsys.readouterr().err
    with open(path, "rb") as file:
        assert file.read() == CONTENT
    assert get_file(origin=f"{url}/data.bin") == path and server.asked == ["/data.bin"]
    get_file(origin=f"{url}/data.bin", force_download=True)
    assert server.asked == ["/data.bin"] * 2


def test_where_it_is_kept(url, home, tmp_path):
    assert get_file("b.bin", f"{url}/data.bin", cache_subdir="x") == str(home / "x" / "b.bin")
    assert get_file("b.bin", f"{url}/data.bin", cache_dir=tmp_path / "c") == str(tmp_path / "c" / "datasets" / "b.bin")
    assert get_file("b.bin", f"{url}/data.bin", cache_subdir=str(tmp_path / "d")) == str(tmp_path / "d" / "b.bin")


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_the_hash_is_checked(algorithm, url, server, home):
    right = hashlib.new(algorithm, CONTENT).hexdigest()
    wrong = hashlib.new(algorithm, b"other").hexdigest()
    with pytest.raises(ValueError, match=f"data.bin gives has the hash {right}; expected {wrong}. It was not kept"):
        get_file(origin=f"{url}/data.bin", file_hash=wrong)
    assert os.listdir(home / "datasets") == []
    path = get_file(origin=f"{url}/data.bin", file_hash=right)
    get_file(origin=f"{url}/data.bin", file_hash=right, hash_algorithm=algorithm)
    assert server.asked == ["/data.bin"] * 2
    with open(path, "wb") as file:
        file.write(b"changed")
    get_file(origin=f"{url}/data.bin", **({"md5_hash": right} if algorithm == "md5" else {"file_hash": right}))
    with open(path, "rb") as file:
        assert file.read() == CONTENT


def test_a_download_that_breaks_off_leaves_what_was_there(url, home):
    with pytest.raises(ConnectionError, match=f"broke off after {len(CONTENT) // 2} of {len(CONTENT)} bytes|IncompleteRead"):
        get_file(origin=f"{url}/half.bin")
    assert os.listdir(home / "datasets") == []
    (home / "datasets" / "half.bin").write_bytes(b"before")
    with pytest.raises(ConnectionError):
        get_file(origin=f"{url}/half.bin", force_download=True)
    assert (home / "datasets" / "half.bin").read_bytes() == b"before"


def test_without_a_network_it_says_what_to_put_where(url, home):
    with pytest.raises(ConnectionError, match=rf"{url}/none.bin cannot be downloaded: Not Found\. Where .* put it here: .*none\.bin"):
        get_file(origin=f"{url}/none.bin")
    (home / "datasets" / "none.bin").write_bytes(b"old")
    with pytest.raises(ConnectionError, match="The file that is there has the hash .*; expected 0000"):
        get_file(origin=f"{url}/none.bin", file_hash="0" * 64)
    with pytest.raises(ConnectionError, match="cannot be downloaded"):
        get_file(origin="http://127.0.0.1:1/x.bin")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_archives_are_unpacked_once(name, url, server, home):
    folder = get_file("things", f"{url}/{name}", extract=True)
    assert folder == str(home / "datasets" / "things") and "one.txt" in os.listdir(os.path.join(folder, "inside"))
    assert sorted(os.listdir(home / "datasets")) == ["things", "things_archive"]
    assert get_file("things", f"{url}/{name}", extract=True) == folder and server.asked == [f"/{name}"]
    os.remove(home / "datasets" / "things_archive")  # the folder alone will do
    assert get_file("things", f"{url}/{name}", extract=True) == folder and server.asked == [f"/{name}"]
    assert get_file(name, f"{url}/{name}", extract=True) == str(home / "datasets" / "a_extracted")


def test_archives_that_are_none_or_reach_outside(url, home):
    with pytest.raises(ValueError, match="is no archive of the form tar or zip"):
        get_file(origin=f"{url}/data.bin", extract=True)
    with pytest.raises(ValueError, match="is no archive of the form tar"):
        get_file(origin=f"{url}/a.zip", untar=True)
    with pytest.raises(tarfile.OutsideDestinationError):
        get_file("bad", f"{url}/bad.tar.gz", extract=True)
    assert not (home / "datasets" / "bad").exists() and not (home / "outside.txt").exists()
    with pytest.raises(ValueError, match="archive_format='rar'; expected 'tar', 'zip' or 'auto'"):
        get_file("other", f"{url}/a.zip", extract=True, archive_format="rar")


def test_arguments_that_do_not_fit(url):
    with pytest.raises(ValueError, match="origin=None; expected the URL"):
        get_file("a")
    for name, origin in (("a/b", f"{url}/data.bin"), (None, f"{url}/")):
        with pytest.raises(ValueError, match="expected a name of a file without folders"):
            get_file(name, origin)
    get_file(origin=f"{url}/data.bin")
    with pytest.raises(ValueError, match="hash_algorithm='crc'; expected 'sha256'"):
        get_file(origin=f"{url}/data.bin", file_hash="1", hash_algorithm="crc")
