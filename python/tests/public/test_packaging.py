"""Packages: their names, what they hold, how they are uploaded."""

import os
import zipfile
from pathlib import Path

import pytest
from ray.runtime_env import packaging
from ray.runtime_env.ignore import PatternList


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "proj"
    (folder / "pkg").mkdir(parents=True)
    (folder / "a.py").write_text("x = 1\n")
    (folder / "pkg" / "__init__.py").write_text("")
    (folder / "pkg" / "b.txt").write_text("hello\n")
    (folder / "empty").mkdir()
    return folder


def name(folder, excludes=None, **options):
    uri = packaging.uri_for_directory(str(folder), excludes, **options)
    assert uri.startswith("gcs://_ray_pkg_") and uri.endswith(".zip")
    return uri[len("gcs://_ray_pkg_") : -len(".zip")]


# Names that Ray 2.60.0 gives the same folders: a package that is there already must be found.
@pytest.mark.parametrize(
    "excludes, expected",
    [
        ([], "6a751d54a91ee8d1"),
        (["pkg/"], "fa89aeeaad9d1c8d"),
        (["pkg"], "b578f579c6154d6f"),
        (["/pkg"], "b578f579c6154d6f"),
        (["pkg/*"], "fa89aeeaad9d1c8d"),
        (["*.txt"], "e42ba51dce29e5e9"),
        (["**/b.txt"], "e42ba51dce29e5e9"),
        (["pkg/*", "!pkg/b.txt"], "74d716a3caaa11b5"),
        (["*.py", "!a.py"], "74d716a3caaa11b5"),
    ],
)
def test_names_of_folders(project, excludes, expected):
    assert name(project, excludes) == expected


def test_name_ignores_place_and_order(project, tmp_path):
    before = name(project)
    os.rename(project, tmp_path / "elsewhere")
    assert name(tmp_path / "elsewhere") == before


def test_ignore_files(project):
    (project / ".gitignore").write_text("*.txt\n")
    assert name(project, gitignore=True) == "00882ae7460ed489"
    assert name(project, gitignore=False) == "8ed692ae2139d9b1"
    (project / ".gitignore").unlink()
    (project / "pkg" / ".gitignore").write_text("*.txt\n")
    assert name(project, gitignore=True) == "334961e18f14f200"
    (project / "pkg" / ".gitignore").unlink()
    (project / ".rayignore").write_text("*.txt\n")
    assert name(project, gitignore=False) == "8b6461dad7fbde66"


def test_links_are_followed(project):
    os.symlink(project / "a.py", project / "link.py")
    assert name(project) == "ca408dcf0a6b350e"
    (project / "link.py").unlink()
    os.symlink(project / "pkg", project / "linkpkg")
    assert name(project) == "2a24f8c2ea4a9420"


def test_a_folder_that_holds_itself_ends(project):
    os.symlink(project, project / "pkg" / "up")
    assert name(project)


def test_names_of_files(tmp_path):
    (tmp_path / "mod.py").write_text("x=1\n")
    assert packaging.uri_for_file(str(tmp_path / "mod.py")) == "gcs://_ray_pkg_04825dc3f7823e6e.zip"
    archive = tmp_path / "t.zip"
    archive.write_bytes(b"abc")
    digest = "a9993e364706816aba3e25717850c26c9cd0d89d"
    assert packaging.uri_for_package(archive) == f"gcs://_ray_pkg_{digest}.zip"
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    wheel.write_bytes(b"abc")
    assert packaging.uri_for_package(wheel) == "gcs://thing-1.0-py3-none-any.whl"


def test_missing_folder():
    with pytest.raises(ValueError, match="must be an existing directory"):
        packaging.uri_for_directory("/no/such/folder")


def entries(path):
    return sorted(info.filename for info in zipfile.ZipFile(path).infolist())


def test_content_of_a_package(project, tmp_path):
    target = tmp_path / "out.zip"
    os.chmod(project / "a.py", 0o755)
    packaging.create_package(str(project), target)
    assert entries(target) == ["a.py", "empty/", "pkg/__init__.py", "pkg/b.txt"]
    archive = zipfile.ZipFile(target)
    assert archive.read("pkg/b.txt") == b"hello\n"
    assert archive.getinfo("a.py").external_attr >> 16 & 0o777 == 0o755
    packaging.create_package(str(project), target, excludes=["pkg"], include_parent_dir=True)
    assert entries(target) == ["proj/a.py", "proj/empty/"]


def test_default_excludes(project, monkeypatch):
    (project / ".git").mkdir()
    (project / ".git" / "HEAD").write_text("x")
    sent = {}
    uri = packaging.upload_directory(str(project), [], False, lambda uri: False, sent.__setitem__)
    assert uri == f"gcs://_ray_pkg_{name(project, ['.git'])}.zip"
    assert list(sent) == [uri]
    monkeypatch.setenv("RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES", "pkg, empty")
    uri = packaging.upload_directory(str(project), [], False, lambda uri: True, None)
    assert uri == f"gcs://_ray_pkg_{name(project, ['pkg', 'empty'])}.zip"


def test_uploaded_once(project):
    stored = {}
    for _ in range(2):
        packaging.upload_directory(str(project), [], False, stored.__contains__, stored.__setitem__)
    (data,) = stored.values()
    assert data[:2] == b"PK"


def test_too_large_names_the_folders(project, monkeypatch):
    monkeypatch.setattr(packaging, "MAX_PACKAGE_BYTES", 1000)
    (project / "pkg" / "big.bin").write_bytes(os.urandom(5000))
    with pytest.raises(ValueError, match=r"pkg/ \(4\.89KiB\)") as caught:
        packaging.upload_directory(str(project), [], False, lambda uri: False, lambda uri, data: None)
    assert "excludes" in str(caught.value)


@pytest.mark.parametrize(
    "lines, path, excluded",
    [
        (["*.pyc"], "a/b.pyc", True),
        (["/*.pyc"], "a/b.pyc", False),
        (["a/**/c"], "a/b/b/c", True),
        (["a/**/c"], "a/c", True),
        (["a/**"], "a", False),
        (["a/**"], "a/b", True),
        (["a?c"], "abc", True),
        (["a?c"], "a/c", False),
        (["[ab].txt"], "b.txt", True),
        (["[!ab].txt"], "b.txt", False),
        (["# note", "", "x"], "# note", False),
        ([r"\#x"], "#x", True),
        (["x", "!x/y"], "x/y", False),
        (["name"], "deep/name/file", True),
        (["name"], "deep/names/file", False),
    ],
)
def test_patterns(lines, path, excluded):
    assert PatternList(lines).matches(path) is excluded


def test_uris():
    assert packaging.is_uri("gcs://x.zip") and packaging.is_uri("s3://bucket/x.zip")
    assert not packaging.is_uri("/a/b.zip") and not packaging.is_uri("C:/a.zip")
    assert packaging.split_uri("gcs://_ray_pkg_1.zip") == ("gcs", "_ray_pkg_1.zip")
    with pytest.raises(ValueError, match="not a package URI"):
        packaging.split_uri("what")
    assert Path(packaging.split_uri("file:///a/b.zip")[1]) == Path("/a/b.zip")
