"""The verbs as commands of click, as tests of programs on upstream invoke them."""

import json
import sys

import pytest

pytest.importorskip("click", reason="click is not installed; moto brings it")

import ray  # noqa: E402
import ray.scripts.scripts as scripts  # noqa: E402
from click.testing import CliRunner  # noqa: E402


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_USAGE_STATS_CONFIG_PATH"):
        monkeypatch.delenv(name, raising=False)


def test_exit_status_and_output():
    refused = CliRunner().invoke(scripts.start, ["--head", "--port", "70000"])
    assert refused.exit_code == 2
    assert "70000 is not a port number" in refused.output
    helped = CliRunner().invoke(scripts.start, ["--help"])
    assert helped.exit_code == 0
    assert "--object-manager-port" in helped.output
    version = CliRunner().invoke(scripts.cli, ["--version"])
    assert (version.exit_code, version.output) == (0, "ray, version 2.60.0\n")
    assert not hasattr(scripts, "no_such_verb")
    passed = CliRunner().invoke(scripts.cli, ["job", "submit", "--no-such", "--", "true"])
    assert passed.exit_code == 2
    assert "No such option '--no-such'" in passed.output


def test_usage_stats(monkeypatch, tmp_path):
    path = tmp_path / "config.json"
    monkeypatch.setenv("RAY_USAGE_STATS_CONFIG_PATH", str(path))
    assert CliRunner().invoke(scripts.disable_usage_stats).exit_code == 0
    assert json.loads(path.read_text()) == {"usage_stats": False}


def test_status_of_a_cluster():
    address = ray.init(num_cpus=3).address_info["address"]
    try:
        result = CliRunner().invoke(scripts.status, ["--address", address])
        assert result.exit_code == 0, result.output
        assert "0.0/3.0 CPU" in result.output
        listed = CliRunner().invoke(scripts.ray_list, ["nodes", "--address", address, "--format", "json"])
        assert [row["state"] for row in json.loads(listed.stdout)] == ["ALIVE"]
    finally:
        ray.shutdown()


def test_main(monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["ray", "list", "things"])
    with pytest.raises(SystemExit) as ended:
        scripts.main()
    assert ended.value.code == 2
    assert "is not one of" in "".join(capfd.readouterr())
