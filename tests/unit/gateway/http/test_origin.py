"""gateway/http/origin.py: which pages may connect."""

import pytest

from mesh.errors import SettingsError
from mesh.gateway.http.origin import OriginCheck


def allows(rule, origin, url_host="example.com", scheme="http", host="example.com"):
    return OriginCheck(rule, url_host).allows(origin, scheme, host)


def test_a_request_without_origin_passes_every_rule():
    for rule in (True, False, [], "conn", lambda _: False):
        assert allows(rule, None)


def test_by_default_only_the_host_counts():
    assert allows(True, "http://example.com")
    assert allows(True, "https://EXAMPLE.com:444")
    assert not allows(True, "http://evil.example")
    assert not allows(True, "http://sub.example.com")


@pytest.mark.parametrize("origin", ["null", "", "file://", "http://example.com:x", "//"])
def test_an_origin_that_names_no_host_is_refused(origin):
    assert not allows(True, origin)


def test_the_names_of_the_loopback_host_are_one():
    for name in ("localhost", "127.0.0.1", "[::1]"):
        assert allows(True, f"http://{name}:4000", url_host="localhost")
    assert not allows(True, "http://localhost", url_host="example.com")


def test_false_lets_everybody_in():
    assert allows(False, "http://evil.example")


def test_a_list_compares_the_parts_it_names():
    rule = ["https://one.com", "//two.com:888", "//*.three.com", "http://four.com:81"]
    for origin in ("https://one.com", "http://two.com:888", "http://three.com", "http://a.b.three.com"):
        assert allows(rule, origin), origin
    for origin in ("http://one.com", "http://two.com", "http://evilthree.com", "http://four.com"):
        assert not allows(rule, origin), origin


def test_a_pattern_with_a_scheme_means_its_port():
    rule = ["https://one.com", "http://*.two.com", "//three.com"]
    for origin in (
        "https://one.com:443",
        "http://a.two.com:80",
        "http://three.com:81",
        "https://three.com",
    ):
        assert allows(rule, origin), origin
    for origin in ("https://one.com:8443", "http://a.two.com:81"):
        assert not allows(rule, origin), origin


def test_conn_compares_with_the_request_itself():
    assert allows("conn", "http://example.com:80")
    assert not allows("conn", "https://example.com")
    assert not allows("conn", "http://example.com:81")


def test_a_function_decides_by_the_header():
    assert allows(lambda origin: origin.endswith(".org"), "http://a.org")
    assert not allows(lambda origin: origin.endswith(".org"), "http://a.com")


@pytest.mark.parametrize("rule", ["yes", ["example.com"], ["http://a:b"], [7]])
def test_a_rule_that_is_none_is_an_error(rule):
    with pytest.raises(SettingsError):
        OriginCheck(rule, "localhost")
