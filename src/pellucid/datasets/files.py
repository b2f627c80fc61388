"""get_file: a file from the network, kept in a folder, checked, and unpacked where it is an archive."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import pathlib
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from pellucid.core.checks import check_flags, check_path
from pellucid.core.files import replacing

_SECONDS = 30  # without a byte, until it is given up
_CHUNK = 1 << 20


def keras_home() -> str:
    """The folder for what is kept: ``$KERAS_HOME``, or ``~/.keras``."""
    return os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")


def get_file(
    fname: str | os.PathLike | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: Any = "auto",
    cache_dir: str | os.PathLike | None = None,
    force_download: bool = False,
) -> str:
    """A file that is downloaded once, and then kept. A download that breaks off leaves nothing behind, and what was there before.

    Args:
        fname: its name in the folder; by default that in the URL. With ``extract``, if it has no ending, the folder's that it is
            unpacked into.
        origin: the URL.
        untar: older form of ``extract``.
        md5_hash: older form of ``file_hash``.
        file_hash: SHA-256 or MD5 of the file, in hexadecimal.
        cache_subdir: folder inside ``cache_dir``, or an absolute one.
        hash_algorithm: "sha256", "md5" or "auto" (by the length of the hash).
        extract: whether it is an archive to be unpacked.
        archive_format: "tar", "zip", "auto" (either), or a list of them.
        cache_dir: by default ``$KERAS_HOME``, or ``~/.keras``.
        force_download: whether it is downloaded even if it is there.

    Returns:
        The path of the file; with ``extract`` that of the folder with what was in it.

    Raises:
        ConnectionError: where it cannot be downloaded; the message says where to put the file by hand.
        ValueError: for a file with another hash, an archive that is none, or arguments that do not fit.
    """
    if origin is None:
        raise ValueError("get_file: origin=None; expected the URL of the file.")
    if fname is not None:
        check_path("get_file", "fname", fname, "a name or None")
    check_flags("get_file", untar=untar, extract=extract, force_download=force_download)
    _check_kinds(archive_format, hash_algorithm)
    name = os.fspath(fname) if fname else os.path.basename(urllib.parse.urlsplit(origin).path)
    if not name or os.path.basename(name) != name:
        raise ValueError(
            f"get_file: fname={fname!r} and origin={origin!r}; expected a name of a file without folders; they go to cache_dir."
        )
    if md5_hash is not None and file_hash is None:
        file_hash, hash_algorithm = md5_hash, "md5"
    folder = os.path.join(_writable(os.path.expanduser(cache_dir or keras_home())), cache_subdir)
    os.makedirs(folder, exist_ok=True)
    if not extract and not untar:
        path = os.path.join(folder, name)
        _have(path, origin, file_hash, hash_algorithm, force_download)
        return path
    kept, unpacked = _names(name, named="." in name and bool(fname))
    kept, unpacked = os.path.join(folder, kept), os.path.join(folder, unpacked)
    if os.path.isdir(unpacked) and not os.path.exists(kept) and not force_download:
        return unpacked  # put there by hand, or the archive was removed since
    fresh = _have(kept, origin, file_hash, hash_algorithm, force_download)
    if fresh or not os.path.isdir(unpacked):
        _unpack(kept, unpacked, "tar" if untar else archive_format)
    return unpacked


def _writable(folder: str) -> str:
    """The folder, or one for temporary files where it cannot be written."""
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    return folder if os.access(folder, os.W_OK) else os.path.join(tempfile.gettempdir(), ".keras")


def _names(name: str, named: bool) -> tuple[str, str]:
    """(of the archive, of the folder that it is unpacked into), as Keras has them."""
    return (name, f"{name.split('.')[0]}_extracted") if named else (f"{name}_archive", name)


# ---- Downloading ----


def _have(path: str, origin: str, file_hash: str | None, algorithm: str, force: bool) -> bool:
    """Makes sure that the file is there. Returns whether it was downloaded now."""
    wrong = ""
    if os.path.exists(path) and not force:
        found = None if file_hash is None else _hash_of(path, file_hash, algorithm)
        if found == file_hash or found is None:
            return False
        wrong = f" The file that is there has the hash {found}; expected {file_hash}."
        print(f"{path} has another hash than {origin} should have: it is downloaded again.", file=sys.stderr)
    print(f"Downloading data from {origin}", file=sys.stderr)
    try:
        with replacing(path) as temporary:
            _download(origin, temporary)
            if file_hash is not None:
                found = _hash_of(temporary, file_hash, algorithm)
                if found != file_hash:
                    raise ValueError(f"get_file: what {origin} gives has the hash {found}; expected {file_hash}. It was not kept.")
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        reason = getattr(error, "reason", None) or error
        raise ConnectionError(
            f"get_file: {origin} cannot be downloaded: {reason}.{wrong} Where there is no network, download it elsewhere and put it "
            f"here: {path}"
        ) from error
    return True


def _download(origin: str, path: str) -> None:
    with urllib.request.urlopen(origin, timeout=_SECONDS) as response, open(path, "wb") as file:
        shutil.copyfileobj(response, file, _CHUNK)
        expected, got = response.headers.get("Content-Length"), file.tell()
    if expected is not None and int(expected) != got:
        raise ConnectionError(f"the connection broke off after {got} of {expected} bytes")


def _hash_of(path: str, like: str, algorithm: str) -> str:
    sha = algorithm == "sha256" or (algorithm == "auto" and len(like) == 64)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256" if sha else "md5").hexdigest()


# ---- Unpacking ----

_KINDS: dict[str, tuple[Callable, Callable]] = {
    "tar": (tarfile.is_tarfile, tarfile.open),
    "zip": (zipfile.is_zipfile, zipfile.ZipFile),
}


def _check_kinds(archive_format: Any, hash_algorithm: str = "auto") -> list[str]:
    """The forms of an archive that a file may have."""
    if hash_algorithm not in ("auto", "sha256", "md5"):
        raise ValueError(f"get_file: hash_algorithm={hash_algorithm!r}; expected 'sha256', 'md5' or 'auto'.")
    given = [archive_format] if isinstance(archive_format, str) else list(archive_format or ())
    kinds = list(_KINDS) if archive_format == "auto" else given
    if not set(kinds) <= set(_KINDS):
        raise ValueError(f"get_file: archive_format={archive_format!r}; expected 'tar', 'zip' or 'auto'.")
    return kinds


def _unpack(path: str, folder: str, archive_format: Any) -> None:
    kinds = _check_kinds(archive_format)
    if not kinds:
        raise ValueError(f"get_file: archive_format={archive_format!r} with extract=True; expected 'tar', 'zip' or 'auto'.")
    kind = next((kind for kind in kinds if _KINDS[kind][0](path)), None)
    if kind is None:
        raise ValueError(f"get_file: {path} is no archive of the form {' or '.join(kinds)}; expected extract=False for another file.")
    with _new_folder(folder) as temporary, _KINDS[kind][1](path) as archive:
        if kind == "tar":
            archive.extractall(temporary, filter="data")  # nothing outside the folder
        else:
            archive.extractall(temporary)


@contextlib.contextmanager
def _new_folder(folder: str) -> Iterator[str]:
    """A temporary folder that takes the name at the end, whole."""
    temporary = tempfile.mkdtemp(dir=os.path.dirname(folder), prefix=".")
    try:
        yield temporary
        pathlib.Path(temporary).chmod(0o755)
        if os.path.isdir(folder):
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
