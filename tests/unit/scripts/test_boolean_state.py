"""A class has at most two booleans of state: more of them are phases, and those stand in an enum.

Of n booleans most of the 2ⁿ combinations never occur, but nothing says which. Options that are set once,
when an object is made, are not state.
"""

import ast

import pytest

from tests.support.processes import ROOT

MOST = 2


def booleans(source):
    """(class, line, its booleans of state) of every class in some source text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            yield node.name, node.lineno, state_of(node)


def state_of(node):
    """The attributes that are set to True or False, or to something boolean after `__init__`."""
    boolean, changed, constant = annotated(node), set(), set()
    for method in node.body:
        if not isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        parameters = {each.arg for each in arguments(method) if is_bool(each.annotation)}
        for name, value, annotation in assignments(method):
            if method.name != "__init__":
                changed.add(name)
            if isinstance(value, ast.Constant) and isinstance(value.value, bool):
                constant.add(name)
            elif is_bool(annotation) or is_boolean(value, parameters):
                boolean.add(name)
    return constant | (boolean & changed)


def annotated(node):
    fields = (each for each in node.body if isinstance(each, ast.AnnAssign) and is_bool(each.annotation))
    return {each.target.id for each in fields}


def arguments(method):
    return [*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs]


def is_bool(annotation):
    return isinstance(annotation, ast.Name) and annotation.id == "bool"


def is_boolean(value, parameters):
    if isinstance(value, ast.Name):
        return value.id in parameters
    if isinstance(value, ast.Call):
        return is_bool(value.func)
    return isinstance(value, ast.Compare) or (
        isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not)
    )


def assignments(method):
    """(attribute, value, annotation) of each assignment to an attribute of `self`."""
    for node in ast.walk(method):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from pairs(target, node.value, None)
        elif isinstance(node, ast.AnnAssign):
            yield from pairs(node.target, node.value, node.annotation)


def pairs(target, value, annotation):
    if isinstance(target, ast.Tuple):
        values = value.elts if isinstance(value, ast.Tuple) else [None] * len(target.elts)
        for each, its in zip(target.elts, values, strict=False):
            yield from pairs(each, its, None)
    elif (
        isinstance(target, ast.Attribute)
        and isinstance(target.value, ast.Name)
        and target.value.id == "self"
    ):
        yield target.attr, value, annotation


@pytest.mark.parametrize("package", ["mesh", "gateway", "nodes"])
def test_no_class_has_more_than_two_booleans_of_state(package):
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name} has {len(state)} booleans of state"
        f" ({', '.join(sorted(state))}); at most {MOST} may be, put the others into an enum of phases"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name, line, state in booleans(path.read_text())
        if len(state) > MOST
    ]
    assert found == [], "\n".join(found)


def test_what_is_set_once_is_an_option_and_what_changes_is_state():
    source = """
class Reader:
    slow: bool

    def __init__(self, socket, quiet: bool, loud: bool = False):
        self.closed, self.socket = False, socket
        self.quiet, self.loud = quiet, loud
        self.ready = bool(socket)

    def read(self, more: bool):
        self.loud = more
        self.slow = more
        self.ready: bool = not self.closed
        self.socket = None
"""
    assert list(booleans(source)) == [("Reader", 2, {"closed", "loud", "slow", "ready"})]
