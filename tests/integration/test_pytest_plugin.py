"""The pytest plugin, in a pytest of its own: it comes by its entry point, wherever Channelmesh is installed."""

import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def run(tmp_path):
    def run(*options, **files):
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=560)
        return done.returncode, done.stdout + done.stderr

    return run


APP = """
    from mesh import Channel, Endpoint, SocketHandler, on

    class Room(Channel):
        @on("ping")
        def ping(self, payload):
            return payload

    class UserSocket(SocketHandler):
        channels = {"room:*": Room}

    endpoint = Endpoint({"/socket": UserSocket})
"""

CONFTEST = """
    import pytest
    from app import endpoint

    @pytest.fixture
    def mesh_endpoint():
        return endpoint
"""

TEST = """
    import pytest
    from mesh.errors import ApplicationError

    def test_ping(channel_case):
        room = channel_case.connect().join("room:1")
        room.assert_reply(room.push("ping", {"n": 1}), "ok", {"n": 1})
        channel_case.endpoint.broadcast("room:1", "x", {})

    def test_the_case_of_the_test_before_is_closed():
        from app import endpoint
        with pytest.raises(ApplicationError, match="not running"):
            endpoint.broadcast("room:1", "x", {})
"""


def test_a_test_with_an_endpoint_passes_where_warnings_are_errors(run):
    code, said = run(app=APP, conftest=CONFTEST, test_it=TEST)
    assert code == 0, said
    assert "2 passed" in said


def test_without_an_endpoint_it_says_how_to_give_one(run):
    code, said = run(test_it="def test_it(channel_case): pass\n")
    assert code == 1
    assert "channel_case needs your endpoint; define in conftest.py:" in said
    assert "def mesh_endpoint():" in said
    assert "pytest_plugin.py:" not in said, "no traceback into Channelmesh"


def test_what_is_no_endpoint_is_named(run):
    conftest = "import pytest\n\n@pytest.fixture\ndef mesh_endpoint():\n    return 'app:endpoint'\n"
    code, said = run(conftest=conftest, test_it="def test_it(channel_case): pass\n")
    assert code == 1
    assert "a channel case tests an Endpoint, not 'app:endpoint'" in said


def test_the_fixtures_are_listed_with_what_they_are(run):
    _, said = run("--fixtures")
    assert "channel_case" in said
    assert "A ChannelCase for `mesh_endpoint`, closed after the test." in said


def test_it_costs_nothing_where_it_is_not_used(run):
    test = """
        import sys

        def test_it():
            assert "mesh.nodes.pytest_plugin" in sys.modules
            ours = {name for name in sys.modules if name.partition(".")[0] == "mesh"}
            assert ours == {"mesh", "mesh.nodes", "mesh.nodes.pytest_plugin"}
            assert not {"zmq", "tornado", "pydantic"} & set(sys.modules)
    """
    code, said = run(test_it=test)
    assert code == 0, said
