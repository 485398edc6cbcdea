"""The modules that the linter keeps pure are those whose docstrings say so."""

import ast
import tomllib

from tests.support.processes import ROOT

CONTRACT = "What decides, and what applications write against, opens nothing"


def listed():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return next(each["source_modules"] for each in contracts if each["name"] == CONTRACT)


def path_of(module):
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def says_pure(path):
    return "Pure." in (ast.get_docstring(ast.parse(path.read_text())) or "").split()


def modules():
    for package in ("mesh", "gateway", "nodes"):
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield name if package == "mesh" else f"mesh.{name}"


def test_every_module_that_says_it_is_pure_is_checked():
    checked = listed()
    pure = [module for module in modules() if says_pure(path_of(module))]
    assert len(pure) > 20
    covered = [each for each in pure if any(f"{each}.".startswith(f"{name}.") for name in checked)]
    assert sorted(set(pure) - set(covered)) == []


def test_every_checked_module_exists_and_is_listed_once():
    checked = listed()
    assert [each for each in checked if not path_of(each).exists()] == []
    assert sorted({each for each in checked if checked.count(each) > 1}) == []
