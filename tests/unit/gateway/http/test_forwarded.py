"""gateway/http/forwarded.py: what trusted proxies say of a request, and what nobody else may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.gateway.http.forwarded import TrustedProxies
from mesh.gateway.http.upgrade_request import Headers

TRUSTED = ["10.0.0.0/8", "::1", "2001:db8::/32"]


def see(*lines, peer="10.0.0.1", host="inner:4000", malformed=None):
    told = (lambda *each: malformed.append(each)) if malformed is not None else (lambda *_: None)
    proxies = TrustedProxies(TRUSTED, told)
    return proxies.original_request(Headers("\r\n".join(["A: b", *lines])), "http", host, (peer, 5))


XFF, PROTO, HOST, PORT = (
    "X-Forwarded-For: ",
    "X-Forwarded-Proto: ",
    "X-Forwarded-Host: ",
    "X-Forwarded-Port: ",
)


@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        ([PROTO + "https"], ("https", "inner:4000", ("10.0.0.1", 5))),
        ([PROTO + "WSS", HOST + "example.com"], ("https", "example.com", ("10.0.0.1", 5))),
        ([HOST + "example.com:8443"], ("http", "example.com:8443", ("10.0.0.1", 5))),
        ([PROTO + "https", PORT + "443"], ("https", "inner", ("10.0.0.1", 5))),
        ([PROTO + "https", HOST + "a.com", PORT + "8443"], ("https", "a.com:8443", ("10.0.0.1", 5))),
        ([HOST + "a.com:1", PORT + "2"], ("http", "a.com:1", ("10.0.0.1", 5))),
        ([HOST + "[::1]:4000"], ("http", "[::1]:4000", ("10.0.0.1", 5))),
        ([XFF + "192.0.2.7"], ("http", "inner:4000", ("192.0.2.7", 0))),
        ([XFF + "192.0.2.7:99"], ("http", "inner:4000", ("192.0.2.7", 99))),
        ([XFF + "2a00::7"], ("http", "inner:4000", ("2a00::7", 0))),
        ([XFF + "[2a00::7]:99"], ("http", "inner:4000", ("2a00::7", 99))),
        ([XFF + "::ffff:192.0.2.7"], ("http", "inner:4000", ("192.0.2.7", 0))),
        # From the right, over the trusted ones; what is further left anybody may have written.
        ([XFF + "6.6.6.6, 192.0.2.7, 10.0.0.2"], ("http", "inner:4000", ("192.0.2.7", 0))),
        ([XFF + "6.6.6.6", XFF + "192.0.2.7,10.0.0.2, ,"], ("http", "inner:4000", ("192.0.2.7", 0))),
        ([XFF + "10.0.0.3, 10.0.0.2"], ("http", "inner:4000", ("10.0.0.3", 0))),
        ([XFF + "6.6.6.6, unknown, 10.0.0.2"], ("http", "inner:4000", ("10.0.0.2", 0))),
        ([XFF + "6.6.6.6, garbage!"], ("http", "inner:4000", ("10.0.0.1", 5))),
        # One value for each proxy: the client's own is not believed.
        ([XFF + "192.0.2.7", PROTO + "https, http"], ("http", "inner:4000", ("192.0.2.7", 0))),
        ([XFF + "192.0.2.7, 10.0.0.2", PROTO + "https, http"], ("https", "inner:4000", ("192.0.2.7", 0))),
        ([XFF + "192.0.2.7, 10.0.0.2", HOST + "evil, a.com, b"], ("http", "a.com", ("192.0.2.7", 0))),
        (["Forwarded: for=192.0.2.7;proto=https;host=a.com"], ("https", "a.com", ("192.0.2.7", 0))),
        (['Forwarded: For="[2a00::7]:99";Proto=HTTPS ; host="a.com:1"'], ("https", "a.com:1", ("2a00::7", 99))),
        (["Forwarded: for=6.6.6.6, for=192.0.2.7;proto=https, for=10.0.0.2"], ("https", "inner:4000", ("192.0.2.7", 0))),
        (["Forwarded: for=6.6.6.6", "Forwarded: for=_hidden;host=a.com"], ("http", "a.com", ("10.0.0.1", 5))),
        (["Forwarded: for=unknown, for=192.0.2.7;by=_x"], ("http", "inner:4000", ("192.0.2.7", 0))),
        (['Forwarded: for="192.0.2.7:_port"'], ("http", "inner:4000", ("192.0.2.7", 0))),
        (['Forwarded: for="[2a00::7]:_p-1"'], ("http", "inner:4000", ("2a00::7", 0))),
        (['Forwarded: for="\\1\\9\\2.0.2.7";secret="a,b;c\\""'], ("http", "inner:4000", ("192.0.2.7", 0))),
        # Proxies that set X-Forwarded-* pass on what a client wrote in Forwarded.
        ([PROTO + "http", "Forwarded: proto=https;for=6.6.6.6"], ("http", "inner:4000", ("10.0.0.1", 5))),
    ],
)  # fmt: skip
def test_what_a_trusted_proxy_says_counts(lines, seen):
    assert see(*lines)[:3] == seen


@pytest.mark.parametrize(
    "line",
    [
        PROTO + "gopher",
        HOST + "a b",
        HOST + "a.com:70000",
        HOST + "user@a.com",
        PORT + "x",
        PORT + "0",
        XFF + "<script>",
        XFF + "1.2.3.4.5",
        XFF + "1:2:3:4:5:6:7:8:9",
        XFF + "fe80::1%<b>",
        HOST + "[::1",
        HOST + "[:::]",
        HOST + "[1.2.3.4]",
        'Forwarded: host="[:::]:80"',
        'Forwarded: for="192.0.2.7',
        'Forwarded: for=192.0.2.7, for="192.0.2.8;proto=https',
        "Forwarded: for=192.0.2.7;;proto=https for=x",
        "Forwarded: for",
        'Forwarded: for="',
        "Forwarded: proto=https;proto=http",
        "Forwarded: host=a/b",
    ],
)
def test_what_is_malformed_is_ignored_and_told(line):
    told = []
    assert see(line, malformed=told)[:3] == ("http", "inner:4000", ("10.0.0.1", 5))
    assert len(told) == 1


@pytest.mark.parametrize(
    ("line", "harmless"), [(PROTO + "ftp, https", "https"), (HOST + "a/b, inner:4000", "inner:4000")]
)
def test_the_malformed_entry_is_named_and_not_its_neighbour(line, harmless):
    told = []
    see(XFF + "192.0.2.7, 10.0.0.2", line, malformed=told)
    assert [each[1] for each in told] != []
    assert harmless not in [each[1] for each in told]


def test_nobody_else_is_believed_and_the_log_can_say_so():
    lines = [PROTO + "https", HOST + "a.com", XFF + "1.2.3.4"]
    told = []
    seen = see(*lines, peer="192.0.2.1", malformed=told)
    assert seen[:3] == ("http", "inner:4000", ("192.0.2.1", 5))
    assert "192.0.2.1 ignored" in seen.source
    assert "x-forwarded-proto" in seen.source
    assert see("Forwarded: proto=https", peer="192.0.2.1")[:1] == ("http",)
    assert "of 10.0.0.1" in see(*lines).source


def test_networks_hold_for_ipv4_within_ipv6_as_well():
    proxies = TrustedProxies(TRUSTED)
    assert all(proxies.trusts(each) for each in ("10.1.2.3", "::ffff:10.1.2.3", "::1", "2001:db8::5"))
    assert not any(proxies.trusts(each) for each in ("11.0.0.1", "::2", "", "name", "10.0.0.1:5"))
    assert not TrustedProxies([])


@given(st.lists(st.tuples(st.sampled_from([XFF, PROTO, HOST, PORT, "Forwarded: "]), st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)), max_size=4))  # fmt: skip
def test_no_header_raises(lines):
    seen = see(*(name + value for name, value in lines))
    assert seen.scheme in ("http", "https")


def test_a_long_list_costs_little():
    assert see(XFF + "10.0.0.2, " * 10_000 + "10.0.0.2").peer == ("10.0.0.2", 0)
