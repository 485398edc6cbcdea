"""nodes/application.py: from MODULE:ATTRIBUTE to an Endpoint, or a sentence that says why not."""

import sys

import pytest

from mesh.app.endpoint import Endpoint
from mesh.errors import ApplicationError
from mesh.nodes.application import load

GOOD = "from mesh import Endpoint\nendpoint = Endpoint({})\nother = Endpoint({})\nnumber = 7\n"


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_an_endpoint_is_found_by_name_and_by_default(directory):
    (directory / "app_one.py").write_text(GOOD)
    assert isinstance(load("app_one"), Endpoint)
    assert load("app_one:other") is not load("app_one:endpoint")


@pytest.mark.parametrize(
    ("source", "spec", "words"),
    [
        (None, "no_such_module:x", ["no module 'no_such_module'"]),
        (None, "not a spec", ["want MODULE:ATTRIBUTE"]),
        (None, "", ["want MODULE:ATTRIBUTE"]),
        (GOOD, "app_two:nothing", ["no attribute 'nothing'", "app_two:endpoint", "app_two:other"]),
        (GOOD, "app_two:number", ["is a int, not an Endpoint"]),
        ("import not_installed_here\n", "app_two", ["needs the module 'not_installed_here'"]),
        ("x = 1\n1 / 0\n", "app_two", ["ZeroDivisionError", "app_two.py:2"]),
        ("x = 1\ndef (:\n", "app_two", ["SyntaxError", "app_two.py:2"]),
        ("import json\njson.loads('{')\n", "app_two", ["JSONDecodeError", "app_two.py:2"]),
        (GOOD + "Endpoint({'x': 1})\n", "app_two", ["'x'", "app_two.py:5"]),
        ("import sys\nsys.exit(0)\n", "app_two", ["exits the process", "app_two.py:2"]),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence(directory, source, spec, words):
    if source is not None:
        (directory / "app_two.py").write_text(source)
    with pytest.raises(ApplicationError) as caught:
        load(spec)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("name", ["mesh.py", "mesh/__init__.py", "mesh/server.py"])
def test_a_package_of_our_name_in_the_applications_directory_is_refused(directory, name):
    (directory / name).parent.mkdir(exist_ok=True)
    (directory / name).write_text("")
    (directory / "app_three.py").write_text(GOOD)
    with pytest.raises(ApplicationError, match="name of Channelmesh's package"):
        load("app_three")


@pytest.mark.parametrize("name", ["gateway.py", "nodes/__init__.py"])
def test_an_application_may_have_packages_with_the_names_of_our_directories(directory, name):
    (directory / name).parent.mkdir(exist_ok=True)
    (directory / name).write_text("")
    (directory / "app_four.py").write_text(GOOD)
    assert isinstance(load("app_four"), Endpoint)
