"""What all tests share, and which of them may run beside each other (`pytest -n 3`)."""

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from mesh import phases
from mesh.errors import PhaseError
from mesh.telemetry import logs
from tests.support.pool import Clusters, Servers

APART = ("test_bench.py", "test_chaos.py", "test_rolling_by_hand.py", "test_soak.py")
"""Files whose tests share nothing."""

TOGETHER = {
    "the conformance application": (
        "clients/test_c_client_deaths.py",
        "clients/test_node_client.py",
        "clients/test_phoenix_js.py",
        "cluster/test_bus_cli.py",
        "cluster/test_client.py",
        "cluster/test_client_cli.py",
        "cluster/test_deaths.py",
        "cluster/test_longpoll.py",
        "cluster/test_mesh.py",
    ),
    "two proxies": (
        "clients/test_protocol_by_the_book.py",
        "cluster/test_longpoll_faults.py",
        "cluster/test_proxies.py",
    ),
    "one browser": (
        "clients/test_browser.py",
        "clients/test_c_chat.py",
        "clients/test_python_client.py",
    ),
}
"""Files that share clusters, or a browser, and therefore run in one process, one after the other."""

settings.register_profile(
    "same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("same"), derandomize=False, max_examples=2000)
settings.register_profile("quick", settings.get_profile("same"), max_examples=10)
settings.load_profile("same")  # by default a run depends neither on chance nor on how busy the machine is


class ByFile(LoadScopeScheduling):
    """Tests of one file run in one process, one after the other: they share nodes. Long files come first."""

    def _split_scope(self, nodeid):
        file = nodeid.partition("::")[0]
        if file.endswith(APART):
            return nodeid
        return next((name for name, files in TOGETHER.items() if file.endswith(files)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False  # they come first by name, not by how many tests they have
    return ByFile(config, log)


@pytest.fixture(scope="session")
def clusters(tmp_path_factory):
    """Clusters that the tests of this process share: tests.support.pool.Clusters."""
    with Clusters(tmp_path_factory) as shared:
        yield shared


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    """Embedded servers that the tests of this process share: tests.support.pool.Servers."""
    with Servers(tmp_path_factory) as shared:
        yield shared


@pytest.fixture(autouse=True)
def phase_errors(request, monkeypatch):
    """Fails a test in whose process an event came that a table of phases does not allow.

    Nodes catch such an error and end one channel, link or connection, which a test may not notice. Tests that
    cause one intentionally are marked with `causes_phase_errors`.
    """
    raised = []

    def error(text):
        raised.append(PhaseError(text))
        return raised[-1]

    monkeypatch.setattr(phases, "PhaseError", error)
    yield
    intended = request.node.get_closest_marker("causes_phase_errors") is not None
    assert bool(raised) == intended, raised


@pytest.fixture
def log_lines(monkeypatch):
    """What is logged during the test, at every level: (logger, level, event, fields)."""
    lines = []
    # Not `logs.set_destination`: it cannot tell how logging was configured before, to restore that.
    monkeypatch.setattr(logs, "_min_level", 0)
    monkeypatch.setattr(logs, "_gate", None)
    monkeypatch.setattr(logs, "_sink", lambda *line: lines.append(line))
    return lines
