"""What all tests share, and which of them may run beside each other (`pytest -n 3`)."""

import contextlib

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.support.processes import cluster

APART = ("test_bench.py", "test_chaos.py", "test_rolling_by_hand.py", "test_soak.py")
"""Files whose tests share nothing."""

settings.register_profile(
    "same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("same"), derandomize=False, max_examples=2000)
settings.load_profile("same")  # by default a run depends neither on chance nor on how busy the machine is


class ByFile(LoadScopeScheduling):
    """Tests of one file run in one process, one after the other: they share nodes. Long files come first."""

    def _split_scope(self, nodeid):
        file = nodeid.partition("::")[0]
        return nodeid if file.endswith(APART) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False  # they come first by name, not by how many tests they have
    return ByFile(config, log)


@pytest.fixture(scope="module")
def clusters(tmp_path_factory):
    """`clusters(app, **env)`: one for all tests of a file that ask so; whole, whatever the last one did to it."""
    started = {}
    with contextlib.ExitStack() as stack:

        def whole(app, **env):
            kind = (app, *env.items())
            if kind in started:
                started[kind].wait_whole()
            else:
                directory = tmp_path_factory.mktemp("cluster")
                env = {"MESH_ADMIN__PORT": "0", **env}
                started[kind] = stack.enter_context(cluster(directory, app, env=env))
            return started[kind]

        yield whole
