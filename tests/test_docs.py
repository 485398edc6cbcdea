"""Every code block of README and docs does what it says."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mesh import settings
from mesh.app.endpoint import Endpoint
from mesh.nodes import metrics
from mesh.nodes.cli.main import COMMANDS
from mesh.telemetry import COUNTERS, EVENTS
from tests.support.processes import node, serve
from tests.support.proxy import free_address
from tests.support.until import LONG, PATIENCE

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples/chat/README.md"]
PAGES += [ROOT / "examples/python_client/README.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language):
    return [
        pytest.param(match[2], id=f"{page.name}:{page.read_text()[: match.start()].count(chr(10)) + 1}")
        for page in PAGES
        for match in BLOCK.finditer(page.read_text())
        if match[1] == language
    ]


def is_test(source):
    return "def test_" in source


def is_script(source):
    return "mesh.connect(" in source


def is_client(source):
    return "mesh.client" in source


def is_application(source):
    return not is_test(source) and not is_script(source) and not is_client(source)


@pytest.mark.parametrize("source", [each for each in blocks("python") if is_application(each.values[0])])
def test_python_is_an_application_that_starts(source):
    namespace = {"__name__": "documented"}
    exec(compile(source, "documented", "exec"), namespace)
    endpoint = namespace["endpoint"]
    assert isinstance(endpoint, Endpoint)
    assert all(mount.routes.routes for mount in endpoint.mounts.values())


@pytest.mark.parametrize(
    "page", [page for page in PAGES if is_test(page.read_text())], ids=lambda page: page.name
)
def test_tests_pass(page, tmp_path):
    sources = [match[2] for match in BLOCK.finditer(page.read_text()) if match[1] == "python"]
    for name, wanted in (("app.py", False), ("test_app.py", True)):
        (tmp_path / name).write_text("".join(each for each in sources if is_test(each) is wanted))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stdout + done.stderr


def test_scripts_speak_with_each_other(tmp_path):
    watching, publishing = sorted(
        (each.values[0] for each in blocks("python") if is_script(each.values[0])),
        key=lambda source: "broadcasts:" not in source,
    )
    address = free_address()
    with node(tmp_path, "proxy", "--bind", address) as proxy:
        proxy.wait_for("subscribers")
        commands = [
            [sys.executable, "-c", source.replace("tcp://127.0.0.1:5550", address)]
            for source in (watching, publishing)
        ]
        with subprocess.Popen(commands[0], stdout=subprocess.PIPE, text=True) as watcher:
            while watcher.poll() is None:  # it may not have subscribed yet
                subprocess.run(commands[1], check=True, timeout=PATIENCE)
            printed = watcher.stdout.read()
        assert watcher.returncode == 0
        assert printed.splitlines()[-1] == "price:tea closed {}", printed


def test_clients_speak_with_the_chat(tmp_path):
    bind = f"ipc://{tmp_path}/clients"
    with serve(tmp_path, "examples.chat:endpoint", env={"MESH_ZEROMQ__BIND": bind}) as (_, url):
        printed = []
        for source in (each.values[0] for each in blocks("python") if is_client(each.values[0])):
            source = source.replace("ws://localhost:4000", url.replace("http", "ws"))
            command = [sys.executable, "-W", "error", "-c", source.replace("tcp://127.0.0.1:5560", bind)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
            assert (done.returncode, done.stderr) == (0, "")
            printed.append(done.stdout.splitlines())
    assert printed[0][-1] == "ana hello"
    assert "here: ana" in printed[0]
    reason = "a message must have 1 to 2000 characters, not 0"
    assert printed[1] == ["joining ", "joined ", reason, "leaving left", "closed left"]
    assert printed[2] == ["hello"]  # said before this client came


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_requests_are_answered(tmp_path):
    (commands,) = (each.values[0] for each in blocks("sh") if "curl " in each.values[0])
    key = re.search("Bearer (\\w+)", commands)[1]
    with serve(tmp_path, "examples.conformance:endpoint", env={"MESH_API__KEYS": key}) as (_, url):
        script = commands.replace("http://localhost:4000", url).replace("curl ", "curl -sS ")
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=PATIENCE)
        assert (done.stdout, done.stderr) == ('{"published":1}' * 3, "")


@pytest.mark.parametrize("source", blocks("toml"))
def test_toml_is_settings(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tomllib.loads(source)
    Path("mesh.toml").write_text(source)
    settings.load()


@pytest.mark.parametrize("source", blocks("js"))
def test_javascript_is_a_module(source, tmp_path):
    script = tmp_path / "block.mjs"
    script.write_text(source)
    done = subprocess.run(["node", "--check", script], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("source", blocks("sh"))
def test_commands_exist(source):
    for line in source.splitlines():
        for command in re.findall(r"(?:^|/)mesh (\w+)(.*)", line):
            assert command[0] in COMMANDS
        if match := re.match(r"(scripts/\S+)", line):
            assert (ROOT / match[1]).exists()


def test_the_telemetry_guide_names_exactly_what_there_is():
    rows = re.findall(
        r"^\| `(\w+)` \| (.+) \|$", (ROOT / "docs/guides/telemetry.md").read_text(), re.MULTILINE
    )
    named = {name for name, _ in rows}
    totals = {f"mesh_{name}_total" for name in (*metrics.TOTALS, "joins", *COUNTERS)}
    expected = (
        totals
        | {f"mesh_{name}" for name in (*metrics.GAUGES, *metrics.HISTOGRAMS, *metrics.DELIVERY_METRICS)}
        | set(EVENTS)
    )
    assert named == expected
    for name, meaning in EVENTS.items():
        assert (name, meaning) in rows


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_package_says_what_it_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    code = "import sys, json, mesh.nodes.cli.nodes, mesh.nodes.admin_port, mesh.nodes.embedded, mesh.nodes.cluster.local_cluster, mesh.nodes.cluster.reload; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    names = {
        "pyzmq": "zmq",
        "prometheus-client": "prometheus_client",
    }
    for dependency in project["dependencies"]:
        name = re.match(r"[\w-]+", dependency)[0]
        assert names.get(name, name) in loaded, f"{name} is required but never imported"
