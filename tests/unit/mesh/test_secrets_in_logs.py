"""mesh/telemetry/filters.py: no secret in a log, however its name is written, and in whatever text."""

import pytest

from mesh.telemetry.filters import MAX_CHARACTERS, MAX_VALUES, ParameterFilter

hide = ParameterFilter()


@pytest.mark.parametrize(
    "name",
    [
        "token", "accessToken", "ACCESS_TOKEN", "access-token", "access token", "userToken2", "Password", "passwd",
        "new_password", "apiKey", "api_key", "api-key", "API KEY", "x-api-key", "Authorization", "x-csrf-token",
        "_csrf_token", "Cookie", "set-cookie", "client_secret", "clientSecret", "user[password]", "%74oken",
        "%2574oken", "api%5Fkey", "api%20key", "api.key", "tokenizer", "privateKey", "ｔｏｋｅｎ", "jwt", "bearer", "db_pwd",
    ],
)  # fmt: skip
def test_names_are_compared_without_case_word_breaks_and_encodings(name):
    assert hide({"a": [{name: "SECRET"}]}) == {"a": [{name: "[FILTERED]"}]}
    assert "SECRET" not in hide.text(f"/socket/websocket?vsn=2.0.0&{name}=SECRET&user=ana")
    assert "SECRET" not in hide.text(f"{name}: SECRET")
    assert "SECRET" not in hide.text(f"params={{'{name}': 'SECRET', 'user': 'ana'}}")


@pytest.mark.parametrize(
    "name", ["user", "topic", "key", "vsn", "monkey", "api", "authored", "pass", "sessions"]
)
def test_other_names_are_shown(name):
    assert hide({name: "shown"}) == {name: "shown"}
    assert hide.text(f"GET /socket?{name}=shown {name}: shown") == f"GET /socket?{name}=shown {name}: shown"


@pytest.mark.parametrize(
    "text",
    [
        "500 GET /socket/longpoll?token=SECRET (127.0.0.1) 3.21ms",
        "HTTPServerRequest(protocol='http', method='GET', uri='/socket?a=1&token=SECRET', version='HTTP/1.1')",
        'uri="/socket?token=it\'s;a,SECRET"',
        "/login?next=%2Fsocket%3Ftoken%3DSECRET",
        "Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.SECRET",
        "offered ['phoenix', 'base64url.bearer.phx.SECRET']",
        "Authorization: Bearer SECRET",
        "authorization=Bearer SECRET",
        "Authorization: Basic U0VDUkVU SECRET",
        "{'Cookie': 'session=SECRET; other=SECRET'}",
        "Cookie: session=SECRET; other=SECRET",
        "[('Authorization', 'Bearer SECRET'), ('Host', 'x')]",
        "[(b'cookie', b'session=SECRET')]",
        '{"accessToken": "SE\\"CRET SECRET", "user": "ana"}',
        '{"\\u0074oken": "SECRET"}',
        '{"api_key": 12345, "user": "SECRETLY"}'.replace("SECRETLY", "ana") + " token=SECRET",
        "params={'token': ['SECRET', {'a': 'SECRET'}]}",
        "token=('SECRET', 'SECRET')",
        "redis://user:SECRET@cache:6379/0",
        "ConnectInfo(auth_token='SECRET', session=None)",
        "token = SECRET",
        "token => SECRET",
        "500 GET /socket?token=(x)SECRET&a=1 (127.0.0.1) 3.21ms",
        "500 GET /socket?token='x'SECRET&a=1",
        '500 GET /socket?token="x"SECRET',
        "GET /socket?q=Bearer%20SECRETSECRETSECRET&a=1",
        "GET /socket?q=bearer+SECRETSECRETSECRET&a=1",
        "redis://:SECRET@cache:6379/0",
        "redis://user:a@SECRET@cache:6379/0",
        "redis://user:a/SECRET@cache:6379/0",
        "redis://user:a'SECRET@cache:6379/0",
        "//user:SECRET@cache",
        "https://SECRETSECRETSECRET@sentry.example.com/1",
        "{'name': 'token', 'value': 'SECRET'}",
        '{"key":"Authorization","value":"SECRET SECRET"}',
        "-----BEGIN EC PRIVATE KEY-----\nSECRET\nSECRET\n-----END EC PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\\nSECRET",
        "{'token': {'a': 'x}SECRET', 'b': ['SECRET]', 'SECRET']}, 'user': 'ana'}",
        "{'token': ('a)SECRET', \"it's) SECRET\")}",
        'token=["x]SECRET"]',
        "GET /socket?next=token\\u003dSECRET",
        "{'name': 'password', 'id': 3, 'value': 'SECRET'}",
        '[{"Header": "Authorization", "secure": true, "Values": ["SECRET", "SECRET"]}]',
    ],
)
def test_no_text_shows_a_secret(text):
    assert "SECRET" not in hide.text(text)
    assert "[FILTERED]" in hide.text(text)


@pytest.mark.parametrize(
    "text",
    [
        "mesh.errors.TokenError: the signature has expired",
        "InvalidTokenError: Signature verification failed",
        "GET /socket?user=ana HTTP/1.1",
        '  File "/app/room.py", line 12, in join',
        "12:30:01 connected",
        "room:1 has 3 members",
        "http://localhost:8080/users/@ana",
        "tcp://10.0.0.1:5550,tcp://10.0.0.2:5551 told ana@example.com",
        "http://[::1]:80/ana@example.com",
        "ssh://git@example.com",
        "{'a': 'http://x:80', 'b': 'ana@example.com'}",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "{'name': 'ana', 'value': 'shown'}",
    ],
)
def test_harmless_text_stays(text):
    assert hide.text(text) == text


def test_what_stands_around_a_secret_stays():
    assert hide.text("GET /s?token=SECRET&user=ana (::1)") == "GET /s?token=[FILTERED]&user=ana (::1)"
    assert hide.text("uri='/s?token=SECRET', method='GET'") == "uri='/s?token=[FILTERED]', method='GET'"


def test_the_settings_terms_replace_ours_and_what_is_kept_is_all_that_is_shown():
    own = ParameterFilter(["ssn"])
    assert own({"SSN": 1, "token": 2}) == {"SSN": "[FILTERED]", "token": 2}
    assert own.text("?token=shown&user_ssn=1") == "?token=shown&user_ssn=[FILTERED]"
    keep = ParameterFilter(keep=["user"])
    assert keep.text("GET /s?room=1&user=ana&pin=2") == "GET /s?room=[FILTERED]&user=ana&pin=[FILTERED]"


def test_what_is_shown_is_bounded():
    assert len(hide("x" * 1_000_000)) < MAX_CHARACTERS + 100
    shown = hide({"rows": [{"a": [1] * 100}] * 10_000})
    assert str(shown).count("1") <= MAX_VALUES
    deep = inner = {}
    for _ in range(5_000):
        inner["a"] = inner = {}
    assert "…" in str(hide(deep))
    assert len(hide.text("token=" + "x" * 1_000_000)) < 100


def test_values_whose_name_stands_beside_them_are_hidden():
    headers = [{"name": "Cookie", "value": ["SECRET"]}, {"key": "token", "value": "SECRET", "id": 1}]
    assert hide({"headers": headers}) == {
        "headers": [
            {"name": "Cookie", "value": "[FILTERED]"},
            {"key": "token", "value": "[FILTERED]", "id": 1},
        ]
    }
    assert hide({"name": ["token"], "value": "shown"}) == {"name": ["token"], "value": "shown"}
    assert hide({"Field": "Password", "Value": "SECRET"}) == {"Field": "Password", "Value": "[FILTERED]"}


@pytest.mark.parametrize("name", ["token=SECRET", "?a=1&token=SECRET", '{"token":"SECRET"}'])
def test_names_that_contain_a_secret_are_shown_without_it(name):
    assert "SECRET" not in str(hide({name: ""}))
    assert "SECRET" not in str(hide({"a": [{name: 1}]}))


@pytest.fixture
def hides_paths():
    secrets = ParameterFilter()
    for path in ("/:token/websocket", "/tenants/:tenant/:api_key/longpoll", "/socket/:tenant/websocket"):
        secrets.hide_in_path(path)
    return secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("500 GET /SECRET/websocket (::1)", "500 GET /[FILTERED]/websocket (::1)"),
        ("500 GET //SECRET%2f'a;b//websocket/?a=1", "500 GET //[FILTERED]//websocket/?a=1"),
        ("uri='http://x/SECRET/websocke%74?a=1'", "uri='http://x/[FILTERED]/websocke%74?a=1'"),
        ("/tenants/acme/SECRET/%6congpoll", "/tenants/acme/[FILTERED]/%6congpoll"),
        ("/socket/acme/websockets", "/socket/acme/websockets"),
        ("/usr/lib/python/websocket_test.py", "/usr/lib/python/websocket_test.py"),
    ],
)
def test_secret_variables_of_paths_are_hidden(hides_paths, text, shown):
    assert hides_paths.text(text) == shown


def test_only_the_variables_that_are_kept_are_shown():
    secrets = ParameterFilter(keep=["tenant"])
    secrets.hide_in_path("/:tenant/:room/websocket")
    assert secrets.text("GET /acme/7/websocket") == "GET /acme/[FILTERED]/websocket"
