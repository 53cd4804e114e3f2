"""A command that makes conda environments with py-rattler, for tests.

It is **not conda**: the solver, the index and the installer are those that
rattler's tools use, the command line in front of them is this file. It takes
what this project asks of conda::

    conda env create --prefix FOLDER --file ENVIRONMENT
    conda env list --json

and one call of its own, ``pack FOLDER``, which makes a channel there: the
interpreter that runs this file as package ``python``, its pip as ``pip``, and
two versions of a made-up ``greeting``.

Environments with a name lie in ``$CONDA_OVER_RATTLER/envs``.
"""

import asyncio
import io
import json
import os
import pathlib
import subprocess
import sys
import sysconfig
import tarfile
import tempfile

import rattler
import rattler.index
import yaml

VERSION = "%d.%d" % sys.version_info[:2]
# Parts of the standard library that no worker needs: they are most of its bytes.
LEFT_OUT = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo"}


async def create(prefix, file):
    asked = yaml.safe_load(pathlib.Path(file).read_text())
    names = [d for d in asked["dependencies"] if isinstance(d, str)]
    wheels = [line for d in asked["dependencies"] if isinstance(d, dict) for line in d["pip"]]
    found = await rattler.solve(
        sources=asked["channels"], specs=names, virtual_packages=rattler.VirtualPackage.detect()
    )
    for record in found:
        print(f"linking {record.name.normalized} {record.version}", flush=True)
    with tempfile.TemporaryDirectory() as cache:
        await rattler.install(found, target_prefix=prefix, cache_dir=cache, show_progress=False)
    if wheels:
        pip = [f"{prefix}/bin/python", "-m", "pip", "install", "--disable-pip-version-check"]
        subprocess.run([*pip, *wheels], check=True)


def named():
    root = pathlib.Path(os.environ["CONDA_OVER_RATTLER"])
    folders = sorted((root / "envs").iterdir()) if (root / "envs").is_dir() else []
    print(json.dumps({"envs": [str(root), *map(str, folders)]}))


def write_package(channel, name, version, files, depends=()):
    """Writes one package; files: path in the environment → a path here, or text."""
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": list(depends)}
    index.update(subdir="noarch", noarch="generic", arch=None, platform=None, license="MIT", timestamp=0)
    paths = [{"_path": path, "path_type": "hardlink"} for path in files]
    described = {
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths_version": 1, "paths": paths}),
        "info/files": "\n".join(files) + "\n",
        "info/about.json": "{}",
    }
    folder = channel / "noarch"
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / f"{name}-{version}-0.tar.bz2", "w:bz2", compresslevel=1) as archive:
        for path, content in {**described, **files}.items():
            if isinstance(content, pathlib.Path):
                archive.add(content.resolve(), path)
                continue
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content.encode()), 0o644
            archive.addfile(entry, io.BytesIO(content.encode()))


def interpreter():
    """The files of the interpreter's package: program, library and standard library."""
    standard = pathlib.Path(sysconfig.get_path("stdlib"))
    files = {"bin/python": pathlib.Path(sys.executable)}
    library = pathlib.Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME") or "")
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and library.is_file():
        files[f"lib/{library.name}"] = library
    for path in sorted(standard.rglob("*")):
        inner = path.relative_to(standard)
        if path.is_file() and not LEFT_OUT & set(inner.parts) and not inner.parts[0].startswith("config-"):
            files[f"lib/python{VERSION}/{inner}"] = path
    return files


def pack(channel):
    import pip

    write_package(channel, "python", "%d.%d.%d" % sys.version_info[:3], interpreter())
    site = f"lib/python{VERSION}/site-packages"
    home = pathlib.Path(pip.__file__).parent
    files = {f"{site}/pip/{p.relative_to(home)}": p for p in sorted(home.rglob("*")) if p.is_file()}
    write_package(channel, "pip", pip.__version__, files, ["python"])
    for version in ("1.0", "2.0"):
        write_package(channel, "greeting", version, {f"{site}/greeting.py": f"VALUE = 'hello {version}'\n"}, ["python"])
    (channel / "linux-64").mkdir(exist_ok=True)
    return rattler.index.index_fs(channel, force=True)


async def awaited(made):
    return await made


def main(words):
    if words[:2] == ["env", "create"]:
        options = dict(zip(words[2::2], words[3::2]))
        asyncio.run(create(options["--prefix"], options["--file"]))
    elif words[:2] == ["env", "list"]:
        named()
    elif words[:1] == ["pack"]:
        asyncio.run(awaited(pack(pathlib.Path(words[1]))))
    else:
        sys.exit(f"not asked of conda: {words}")


try:
    main(sys.argv[1:])
except (rattler.exceptions.SolverError, subprocess.CalledProcessError) as error:
    sys.stdout.flush()
    print(error, file=sys.stderr, flush=True)
    os._exit(1)
sys.stdout.flush()
os._exit(0)  # threads of rattler abort now and then while an interpreter ends
