"""mesh/errors.py: one tree, drawn as it is, and the close codes."""

import inspect

import pytest

from mesh import errors
from mesh.errors import CloseCode, MeshError

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, Exception)]


def drawn():
    """The tree of the module's docstring as (name, parent)."""
    above, pairs = [], []
    for line in (errors.__doc__ or "").splitlines():
        stripped = line.lstrip("│├└─ ")
        depth = (len(line) - len(stripped)) // 4
        name = stripped.split(" ")[0]
        if depth or name == "MeshError":
            above[depth:] = [name]
            pairs.append((name, above[depth - 1] if depth else "Exception"))
    return pairs


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    assert sorted(drawn()) == sorted((each.__name__, each.__bases__[0].__name__) for each in CLASSES)


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_is_a_mesh_error_that_says_what_it_is(error):
    assert issubclass(error, MeshError)
    assert error.__doc__


def test_a_websocket_error_carries_the_code_it_is_answered_with():
    error = errors.WebSocketError(CloseCode.TOO_BIG, "frame of 2,000,000 bytes")
    assert (error.code, str(error)) == (1009, "frame of 2,000,000 bytes")


def test_the_close_codes_are_those_of_rfc_6455_and_phoenix():
    assert {each.name: int(each) for each in CloseCode} == {
        "NORMAL": 1000,
        "GOING_AWAY": 1001,
        "PROTOCOL_ERROR": 1002,
        "INVALID_TEXT": 1007,
        "POLICY_VIOLATION": 1008,
        "TOO_BIG": 1009,
        "INTERNAL_ERROR": 1011,
        "SERVICE_RESTART": 1012,
        "TRY_AGAIN_LATER": 1013,
    }
