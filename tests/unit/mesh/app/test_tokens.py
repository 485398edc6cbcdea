import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.app import tokens
from mesh.errors import ExpiredTokenError, InvalidTokenError, MissingTokenError, SettingsError

SECRET = "s" * 20


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_what_is_signed_is_verified(data):
    assert tokens.verify(SECRET, "user socket", tokens.sign(SECRET, "user socket", data)) == data


def test_a_token_is_url_safe_and_goes_through_phoenix_js_btoa():
    token = tokens.sign(SECRET, "s", {"id": "ü" * 50})
    assert set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


@pytest.mark.parametrize("change", ["secret", "salt", "data", "signature", "cut", "empty", "type", "long"])
def test_what_is_not_ours_is_invalid(change):
    token = tokens.sign(SECRET, "s", 1)
    secret, salt, given = SECRET, "s", token
    if change == "secret":
        secret = "t" * 20
    elif change == "salt":
        salt = "t"
    elif change == "data":
        body = base64.urlsafe_b64encode(json.dumps([2, 86_400]).encode()).decode().rstrip("=")
        given = ".".join([body, *token.split(".")[1:]])
    elif change == "signature":
        given = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    elif change == "cut":
        given = token[:-1]
    elif change == "empty":
        given = ""
    elif change == "type":
        given = {"token": token}
    else:
        given = "x" * 9_000
    with pytest.raises(InvalidTokenError):
        tokens.verify(secret, salt, given)


def test_no_token_is_missing():
    with pytest.raises(MissingTokenError):
        tokens.verify(SECRET, "s", None)


def test_a_token_lives_as_long_as_it_says_unless_verify_says_otherwise():
    token = tokens.sign(SECRET, "s", 1, max_age_seconds=60, signed_at=1_000)
    assert tokens.verify(SECRET, "s", token, now=1_060) == 1
    with pytest.raises(ExpiredTokenError, match="61 seconds old; it was valid for 60"):
        tokens.verify(SECRET, "s", token, now=1_061)
    assert tokens.verify(SECRET, "s", token, now=9_999, max_age_seconds=float("inf")) == 1
    for age in (59, 0, -1):
        with pytest.raises(ExpiredTokenError):
            tokens.verify(SECRET, "s", token, now=1_060, max_age_seconds=age)


def test_a_token_from_the_future_is_invalid():
    token = tokens.sign(SECRET, "s", 1, signed_at=1_000)
    assert tokens.verify(SECRET, "s", token, now=940) == 1  # clocks of two machines differ a little
    with pytest.raises(InvalidTokenError, match="future"):
        tokens.verify(SECRET, "s", token, now=939)


def test_a_short_secret_is_refused_with_the_way_out():
    with pytest.raises(SettingsError, match=r"3 bytes; at least 20 .*MESH_SECURITY__SECRET_KEY"):
        tokens.sign("abc", "s", 1)
