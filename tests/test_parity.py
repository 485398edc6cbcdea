"""docs/phoenix-parity.md and docs/security.md: every number has its row, every test named there exists."""

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

from mesh.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/phoenix-parity.md").read_text()
ROW = re.compile(r"^\| ((?:P2\.)?\d+) \| (.*) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)(?:\[(\w+)\])?`")
NUMBERS = [str(number) for number in range(1, 138)] + [f"P2.{number}" for number in range(1, 37)]


def rows():
    return [(match[1], match[2].split(" | ")) for match in ROW.finditer(PAGE)]


@cache
def functions(path):
    tree = ast.parse((ROOT / path).read_text())
    return {each.name for each in tree.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))}


@cache
def scenarios(path):
    """The scenarios that a test file runs: what its parameters are named after."""
    modules = re.findall(r"^from tests\.support\.(\w*scenarios) import", (ROOT / path).read_text(), re.M)
    found = [importlib.import_module(f"tests.support.{module}").SCENARIOS for module in modules]
    return {scenario.__name__ for each in found for scenario in each}


def test_every_number_has_one_row_in_order():
    assert [number for number, _ in rows()] == NUMBERS


@pytest.mark.parametrize(
    ("number", "cells"), rows(), ids=lambda each: each if isinstance(each, str) else ""
)
def test_a_row_says_what_how_and_where_it_is_shown(number, cells):
    what, how, shown = cells
    assert what.strip()
    assert how.strip()
    rest = TEST.sub("", shown).split()
    if rest and rest[0] == "none:":
        assert len(rest) > 3, "why is there no test?"
    else:
        assert shown.strip()
        assert not rest
    for path, name, scenario in TEST.findall(shown):
        assert name in functions(path), f"{path} has no {name}"
        assert not scenario or scenario in scenarios(path), f"{path} runs no scenario {scenario}"


def test_the_tests_that_the_page_on_security_names_exist():
    named = TEST.findall((ROOT / "docs/security.md").read_text())
    assert len(named) > 20
    assert [f"{path}::{name}" for path, name, _ in named if name not in functions(path)] == []


def test_the_settings_it_names_exist():
    settings = Settings()
    named = re.findall(rf"`({'|'.join(settings.__struct_fields__)})\.(\w+)[`=\s]", PAGE)
    assert named
    assert [f"{part}.{name}" for part, name in named if not hasattr(getattr(settings, part), name)] == []
