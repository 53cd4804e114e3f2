"""Clusters of several node processes whose nodes come, drain and go."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def without_token():
    """No token between the processes here; the tests of other directories want theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        yield
