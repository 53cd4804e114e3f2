"""Folders and files as packages named by their content.

A folder becomes ``gcs://_ray_pkg_<16 hex>.zip``: equal contents have equal
names wherever they lie, so that a folder travels to a cluster once. Uploading
asks first whether the cluster has the package already.
"""

import hashlib
import logging
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple
from urllib.parse import urlparse

from ray.runtime_env.ignore import Excluder, from_files, from_lines

logger = logging.getLogger(__name__)

PACKAGE_PREFIX = "_ray_pkg_"
#: Largest package that a cluster takes, in bytes.
MAX_PACKAGE_BYTES = 512 * 1024 * 1024
WARN_PACKAGE_BYTES = MAX_PACKAGE_BYTES // 2
WARN_FILE_BYTES = 10 * 1024 * 1024
#: File names that are packages by themselves.
ARCHIVE_SUFFIXES = (".zip", ".tar.gz", ".tgz", ".tar.xz")
WHEEL_SUFFIX = ".whl"
#: Schemes that a URI of a package may have.
REMOTE_SCHEMES = ("http", "https", "s3", "gs", "azure", "abfss", "file")
SCHEMES = ("gcs",) + REMOTE_SCHEMES
DEFAULT_EXCLUDES = (".git", ".venv", "venv", "__pycache__")
DEFAULT_EXCLUDES_VARIABLE = "RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES"
IGNORE_GITIGNORE_VARIABLE = "RAY_RUNTIME_ENV_IGNORE_GITIGNORE"
_CHUNK = 1 << 20


def is_uri(text: str) -> bool:
    """Whether text names a package by URI (as opposed to a local path)."""
    return urlparse(text).scheme in SCHEMES and "://" in text


def split_uri(uri: str) -> Tuple[str, str]:
    """(scheme, name) of a package URI, as the package endpoints spell them.

    Raises:
        ValueError: the scheme is not one of ``SCHEMES``.
    """
    scheme, separator, name = uri.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError(f"{uri!r} is not a package URI: its scheme must be one of {', '.join(SCHEMES)}")
    return scheme, name


def default_excludes() -> List[str]:
    """Patterns that are left out of every folder unless overridden by the environment."""
    given = os.environ.get(DEFAULT_EXCLUDES_VARIABLE)
    if given is None:
        return list(DEFAULT_EXCLUDES)
    return [name.strip() for name in given.split(",") if name.strip()]


def use_gitignore() -> bool:
    """Whether ``.gitignore`` files count; ``RAY_RUNTIME_ENV_IGNORE_GITIGNORE=1`` says no."""
    return os.environ.get(IGNORE_GITIGNORE_VARIABLE, "0") not in ("1", "true", "True")


def walk(root: Path, excludes: Iterable[str] = (), gitignore: bool = True) -> Iterator[Path]:
    """Everything that a package of root holds: folders (root first) and files.

    Symbolic links are followed; a folder that contains itself is entered once.
    """
    first = from_lines(root, excludes)
    yield from _walk(root, [first] if first else [], gitignore, frozenset())


def _walk(path: Path, excluders: List[Excluder], gitignore: bool, above: frozenset) -> Iterator[Path]:
    if any(excluded(path) for excluded in excluders):
        return
    yield path
    if not path.is_dir():
        return
    real = os.path.realpath(path)
    if real in above:
        return
    own = from_files(path, gitignore)
    below = excluders + [own] if own else excluders
    for child in sorted(path.iterdir()):
        yield from _walk(child, below, gitignore, above | {real})


def uri_for_directory(directory: str, excludes: Optional[List[str]] = None, gitignore: Optional[bool] = None) -> str:
    """The name of the package that the folder would become.

    Each entry contributes the first 8 bytes of the SHA-1 of its relative path
    and content; the contributions are combined by exclusive or, so that the
    order of the listing does not matter.

    Raises:
        ValueError: directory is no folder.
    """
    root = Path(directory).absolute()
    if not root.is_dir():
        raise ValueError(f"directory {directory} must be an existing directory")
    total = int.from_bytes(b"0" * 8, "big")
    wanted = use_gitignore() if gitignore is None else gitignore
    for path in walk(root, excludes or (), wanted):
        digest = hashlib.sha1(path.relative_to(root).as_posix().encode())
        if path.is_file():
            _feed(digest.update, path)
        total ^= int.from_bytes(digest.digest()[:8], "big")
    return f"gcs://{PACKAGE_PREFIX}{total:016x}.zip"


def uri_for_file(file: str) -> str:
    """The name of the package that holds this one file (a module).

    Raises:
        ValueError: file is no file.
    """
    path = Path(file).absolute()
    if not path.is_file():
        raise ValueError(f"path {file} must be an existing file")
    digest = hashlib.sha1(path.name.encode())
    _feed(digest.update, path)
    total = int.from_bytes(b"0" * 8, "big") ^ int.from_bytes(digest.digest()[:8], "big")
    return f"gcs://{PACKAGE_PREFIX}{total:016x}.zip"


def uri_for_package(package: Path) -> str:
    """The name of an archive or a wheel that travels as it is."""
    if package.name.endswith(WHEEL_SUFFIX):
        return f"gcs://{package.name}"
    digest = hashlib.sha1()
    _feed(digest.update, package)
    return f"gcs://{PACKAGE_PREFIX}{digest.hexdigest()}{_archive_suffix(package.name)}"


def _archive_suffix(name: str) -> str:
    for suffix in ARCHIVE_SUFFIXES:
        if name.endswith(suffix):
            return suffix
    raise ValueError(f"{name} is no archive: its name must end in {', '.join(ARCHIVE_SUFFIXES)} or {WHEEL_SUFFIX}")


def _feed(take: Callable[[bytes], Any], path: Path) -> None:
    with open(path, "rb") as file:
        while True:
            chunk = file.read(_CHUNK)
            if not chunk:
                return
            take(chunk)


def create_package(
    path: str,
    target: Path,
    excludes: Optional[List[str]] = None,
    include_parent_dir: bool = False,
    gitignore: Optional[bool] = None,
) -> None:
    """Writes the folder (or the one file) path as a zip file to target.

    Args:
        include_parent_dir: names in the archive begin with the folder's own name.

    Raises:
        ValueError: it is larger than a cluster takes; the message names the largest folders.
    """
    source = Path(path).absolute()
    if source.is_file():
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            _add(archive, source, source.name)
        return
    wanted = use_gitignore() if gitignore is None else gitignore
    prefix = Path(source.name) if include_parent_dir else Path()
    entries = list(walk(source, excludes or (), wanted))
    _warn_of_large_files(entries)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for entry in entries:
            name = (prefix / entry.relative_to(source)).as_posix()
            if entry.is_dir():
                if entry != source and not any(entry.iterdir()):
                    archive.writestr(_entry(entry, name + "/"), b"")
            elif entry.is_file():
                _add(archive, entry, name)


def _entry(path: Path, name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (path.stat().st_mode & 0xFFFF) << 16
    if name.endswith("/"):
        info.external_attr |= 0x10
    return info


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    with archive.open(_entry(path, name), "w", force_zip64=True) as out:
        _feed(out.write, path)


def _measure(root: Path, entries: Iterable[Path]) -> Tuple[int, Dict[str, int]]:
    """(bytes in all, bytes of each entry directly under root)."""
    total = 0
    per_folder: Dict[str, int] = {}
    for entry in entries:
        if entry.is_file():
            size = entry.stat().st_size
            total += size
            parts = entry.relative_to(root).parts
            top = parts[0] + "/" if len(parts) > 1 else parts[0]
            per_folder[top] = per_folder.get(top, 0) + size
    return total, per_folder


def _check_sizes(root: Path, entries: List[Path]) -> None:
    """Refuses folders over the limit before minutes are spent on compressing them."""
    total, per_folder = _measure(root, entries)
    if total > MAX_PACKAGE_BYTES:
        raise ValueError(_too_large(str(root), total, per_folder))


def _warn_of_large_files(entries: Iterable[Path]) -> None:
    for entry in entries:
        if entry.is_file() and entry.stat().st_size > WARN_FILE_BYTES:
            logger.warning(
                "File %s is large (%s): uploading it with every change takes time. "
                "Leave it out with runtime_env={'excludes': [...]} if the job does not need it.",
                entry,
                format_size(entry.stat().st_size),
            )


def _too_large(path: str, size: int, per_folder: Dict[str, int]) -> str:
    largest = sorted(per_folder.items(), key=lambda item: -item[1])[:5]
    listing = ", ".join(f"{name} ({format_size(amount)})" for name, amount in largest)
    return (
        f"Package size of {path} ({format_size(size)}) exceeds the maximum size of "
        f"{format_size(MAX_PACKAGE_BYTES)}. Largest entries: {listing or 'the file itself'}. "
        "Leave out what the job does not need with runtime_env={'excludes': [...]} or a .gitignore file, "
        "or use a remote URI."
    )


def format_size(size: float) -> str:
    """A number of bytes for people: 12.5MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f}{unit}" if unit == "B" else f"{size:.2f}{unit}"
        size /= 1024
    return str(size)


#: (uri) -> whether the cluster has it; (uri, bytes) -> None uploads it.
Exists = Callable[[str], bool]
Upload = Callable[[str, bytes], None]


def upload_directory(
    directory: str, excludes: List[str], include_parent_dir: bool, exists: Exists, upload: Upload
) -> str:
    """Makes sure that the cluster has the folder (or module file); gives its URI.

    Raises:
        ValueError: the folder does not exist or is too large.
    """
    path = os.path.abspath(os.path.expanduser(directory))
    rules = default_excludes() + list(excludes)
    if os.path.isfile(path):
        uri = uri_for_file(path)
    else:
        if os.path.isdir(path):  # before minutes are spent on reading it all
            _check_sizes(Path(path), list(walk(Path(path), rules, use_gitignore())))
        uri = uri_for_directory(path, rules)
    if exists(uri):
        return uri
    scratch = Path(tempfile.mkdtemp(prefix="ray-package-"))
    try:
        target = scratch / "package.zip"
        create_package(path, target, rules, include_parent_dir)
        _upload_file(path, target, uri, upload)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return uri


def upload_package(package: str, exists: Exists, upload: Upload) -> str:
    """Makes sure that the cluster has the archive or wheel; gives its URI."""
    path = Path(package).expanduser().absolute()
    uri = uri_for_package(path)
    if not exists(uri):
        _upload_file(str(path), path, uri, upload)
    return uri


def _upload_file(shown: str, path: Path, uri: str, upload: Upload) -> None:
    size = path.stat().st_size
    if size > MAX_PACKAGE_BYTES:
        raise ValueError(_too_large(shown, size, _folder_sizes(shown)))
    if size > WARN_PACKAGE_BYTES:
        logger.warning("The package of %s is large: %s.", shown, format_size(size))
    logger.info("Pushing file package '%s' (%s) to Ray cluster...", uri, format_size(size))
    upload(uri, path.read_bytes())
    logger.info("Successfully pushed file package '%s'.", uri)


def _folder_sizes(path: str) -> Dict[str, int]:
    root = Path(path)
    return _measure(root, walk(root, default_excludes(), use_gitignore()))[1] if root.is_dir() else {}
