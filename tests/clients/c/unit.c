/* What needs no gateway: JSON helpers, options, calls at the wrong time, what is promised about callbacks. */
#include "channelmesh.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            printf("%s:%d: not true: %s\n", __FILE__, __LINE__, #what);                                               \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static int get_string(const char *json, const char *key, char *out, size_t size)
{
    return cm_json_string(json, strlen(json), key, out, size);
}

static void test_quote(void)
{
    char out[CM_QUOTED_SIZE(10)];
    CHECK(cm_json_quote("a\"b\\\n\x01", out, sizeof out) == CM_OK && !strcmp(out, "\"a\\\"b\\\\\\u000a\\u0001\""));
    CHECK(cm_json_quote("\xC3\xA4\xF0\x9F\x98\x80", out, sizeof out) == CM_OK);
    CHECK(!strcmp(out, "\"\xC3\xA4\xF0\x9F\x98\x80\""));
    CHECK(cm_json_quote("\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01", out, sizeof out) == CM_OK); /* the worst case */
    CHECK(cm_json_quote("", out, 3) == CM_OK && !strcmp(out, "\"\""));
    CHECK(cm_json_quote("", out, 2) == CM_ETOOBIG);
    CHECK(cm_json_quote("ab", out, 4) == CM_ETOOBIG && cm_json_quote("ab", out, 5) == CM_OK);
    CHECK(cm_json_quote("\xC3", out, sizeof out) == CM_EUTF8);
    CHECK(cm_json_quote("\xED\xA0\x80", out, sizeof out) == CM_EUTF8);
    CHECK(cm_json_quote(NULL, out, sizeof out) == CM_EINVAL && cm_json_quote("", NULL, 0) == CM_EINVAL);
}

static void test_get(void)
{
    const char *json = " {\"a\" : \"x\\u00e4\\ud83d\\ude00\\n\", \"b\":-1.5e1, \"c\":true,\"d\":{\"a\":[1]},\"b\":7,"
                       "\"\\u0061b\":null, \"z\":\"\\u0000\", \"f\":false} ";
    size_t size = strlen(json);
    char out[20];
    double number;
    int yes;
    cm_text value;
    CHECK(get_string(json, "a", out, sizeof out) == CM_OK && !strcmp(out, "x\xC3\xA4\xF0\x9F\x98\x80\n"));
    CHECK(get_string(json, "a", out, 9) == CM_OK && get_string(json, "a", out, 8) == CM_ETOOBIG);
    CHECK(get_string(json, "b", out, sizeof out) == CM_ETYPE && get_string(json, "z", out, sizeof out) == CM_ETYPE);
    CHECK(get_string(json, "e", out, sizeof out) == CM_ENOTFOUND && get_string(json, "", out, 9) == CM_ENOTFOUND);
    CHECK(cm_json_number(json, size, "b", &number) == CM_OK && number > 6.9 && number < 7.1); /* the last one */
    CHECK(cm_json_number(json, size, "a", &number) == CM_ETYPE);
    CHECK(cm_json_bool(json, size, "c", &yes) == CM_OK && yes && cm_json_bool(json, size, "f", &yes) == CM_OK && !yes);
    CHECK(cm_json_bool(json, size, "ab", &yes) == CM_ETYPE);
    CHECK(cm_json_get(json, size, "d", &value) == CM_OK && value.size == 9 && !memcmp(value.data, "{\"a\":[1]}", 9));
    CHECK(cm_json_get(json, size - 2, "d", &value) == CM_EJSON);
    CHECK(cm_json_get("[1]", 3, "d", &value) == CM_ETYPE && cm_json_get("5", 1, "d", &value) == CM_ETYPE);
    CHECK(cm_json_get("{}", 2, "d", &value) == CM_ENOTFOUND && cm_json_get("", 0, "d", &value) == CM_EJSON);
    CHECK(cm_json_number("{\"a\":0.25}", 10, "a", &number) == CM_OK && number > 0.2 && number < 0.3);
}

static void test_next(void)
{
    const char *json = "[1, {\"a\":2} ,\"x\"]";
    const char *wanted[] = {"1", "{\"a\":2}", "\"x\""};
    size_t at = 0;
    cm_text key, value;
    for (int i = 0; i < 3; i++) {
        CHECK(cm_json_next(json, strlen(json), &at, &key, &value) == CM_OK && !key.size);
        CHECK(value.size == strlen(wanted[i]) && !memcmp(value.data, wanted[i], value.size));
    }
    CHECK(cm_json_next(json, strlen(json), &at, &key, &value) == CM_ENOTFOUND);
    at = 0;
    CHECK(cm_json_next("{ }", 3, &at, &key, &value) == CM_ENOTFOUND);
    for (at = 1; at <= 20; at++) { /* nonsense is an error, not a crash */
        size_t where = at;
        cm_json_next(json, strlen(json), &where, &key, &value);
    }
}

static void test_depth(void)
{
    static char json[5000];
    cm_text key, value;
    for (size_t depth = 1000; depth <= 1100; depth += 10) {
        size_t at = 0;
        memset(json, '[', depth);
        memset(json + depth, ']', depth);
        CHECK((cm_json_next(json, 2 * depth, &at, &key, &value) == CM_OK) == (depth <= 1024));
    }
}

static void test_errors_have_words(void)
{
    for (int status = CM_EZMQ; status <= CM_OK; status++)
        CHECK(strcmp(cm_strerror(status), "unknown status"));
    CHECK(!strcmp(cm_strerror(1), "unknown status") && !strcmp(cm_strerror(INT_MIN), "unknown status"));
}

static cm_options usable(void)
{
    cm_options options;
    cm_options_init(&options);
    options.address = "tcp://127.0.0.1:1";
    return options;
}

static void refuses(const cm_options *options, int status, const char *word)
{
    cm_client *client = (cm_client *)options;
    char why[240] = "";
    CHECK(cm_client_new(options, &client, why, sizeof why) == status && !client);
    if (!strstr(why, word)) {
        printf("'%s' does not say '%s'\n", why, word);
        exit(1);
    }
}

static void test_options(void)
{
    static const char key[] = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
    cm_options o = usable();
    o.address = NULL;
    refuses(&o, CM_EINVAL, "address");
    o = usable(), o.timeout_ms = 0;
    refuses(&o, CM_EINVAL, "timeout_ms 0");
    o = usable(), o.max_pushes = 0;
    refuses(&o, CM_EINVAL, "must not be 0");
    o = usable(), o.params = "[]";
    refuses(&o, CM_EJSON, "not a JSON object");
    o = usable(), o.params = "{\"a\":}";
    refuses(&o, CM_EJSON, "byte 5");
    o = usable(), o.params = "{\"format\":\"msgpack\"}";
    refuses(&o, CM_EINVAL, "format");
    o = usable(), o.path = "\xFF";
    refuses(&o, CM_EUTF8, "path");
    o = usable(), o.server_key = "short";
    refuses(&o, CM_EKEY, "server_key");
    o = usable(), o.server_key = key, o.public_key = key;
    refuses(&o, CM_EKEY, "both or neither");
    o = usable(), o.public_key = o.secret_key = key;
    refuses(&o, CM_EKEY, "without server_key");
    refuses(NULL, CM_EINVAL, "NULL");
    CHECK(cm_client_new(&o, NULL, NULL, 0) == CM_EINVAL);
}

static void test_addresses(void)
{
    static const char *wrong[] = {"", "tcp:/127.0.0.1:1", "http://127.0.0.1:1", "tcp://127.0.0.1", "tcp://127.0.0.1:x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cm_options o = usable();
        cm_client *client;
        o.address = wrong[i];
        CHECK(cm_client_new(&o, &client, NULL, 0) == CM_OK);
        CHECK(cm_connect(client) == CM_EADDRESS && strstr(cm_detail(client), "want tcp://HOST:PORT"));
        CHECK(cm_client_state(client) == CM_DISCONNECTED);
        CHECK(cm_client_free(client) == CM_OK);
    }
}

struct seen {
    cm_channel *other;
    int timeouts, closes, replies, ends, order;
    int first_reply, first_close;
};

static void on_join(cm_channel *channel, const cm_reply *reply, void *user)
{
    struct seen *seen = user;
    cm_client *client = cm_channel_client(channel);
    CHECK(reply->kind == CM_REPLY_TIMEOUT && !strcmp(reply->status, "timeout") && !strcmp(reply->payload.data, "{}"));
    seen->timeouts++;
    CHECK(cm_poll(client, 0) == CM_ESTATE && cm_client_free(client) == CM_ESTATE);
    CHECK(cm_leave(channel) == CM_OK && cm_channel_state(channel) == CM_CLOSED);
    CHECK(cm_leave(channel) == CM_ECLOSED && cm_push(channel, "e", NULL, 0, NULL, NULL) == CM_ECLOSED);
}

static void on_close(cm_channel *channel, void *user)
{
    struct seen *seen = user;
    cm_client *client = cm_channel_client(channel);
    seen->first_close = ++seen->order;
    seen->closes++;
    CHECK(cm_join(client, "room:again", NULL, NULL, NULL, NULL) != CM_EINVAL);
}

static void on_reply(cm_channel *channel, const cm_reply *reply, void *user)
{
    struct seen *seen = user;
    seen->replies++;
    seen->first_reply = ++seen->order;
    CHECK(reply->kind == CM_REPLY_CLOSED && !strcmp(reply->status, "closed"));
    CHECK(cm_push(channel, "e", NULL, 0, NULL, NULL) == CM_ECLOSED);
}

static void on_end(cm_client *client, const cm_end *end, void *user)
{
    struct seen *seen = user;
    CHECK(end->kind == CM_END_LOST && end->code == 0 && *end->reason && end->retry_ms > 0);
    if (++seen->ends == 3)
        CHECK(cm_disconnect(client) == CM_OK);
}

static const cm_handlers handlers = {on_join, NULL, NULL, on_close};

static void refuses_history(cm_client *client, cm_history history, const char *word)
{
    cm_channel *channel;
    CHECK(cm_join_history(client, "h", NULL, NULL, NULL, &history, &channel) == CM_EINVAL && !channel);
    CHECK(strstr(cm_detail(client), word));
}

static void test_histories(cm_client *client)
{
    cm_history history = {0, 1, {"k3v9", 1LL << 53}, NULL}, endless = {0, 1, {"", 0}, NULL};
    cm_channel *channel;
    memset(endless.position.epoch, 'a', CM_EPOCH_SIZE);
    refuses_history(client, endless, "want an epoch of a-z and 0-9");
    refuses_history(client, (cm_history){0, 1, {"k\"", 1}, NULL}, "'k\"' 1 is none");
    refuses_history(client, (cm_history){0, 1, {"k", -1}, NULL}, "'k' -1 is none");
    refuses_history(client, (cm_history){0, 1, {"k", (1LL << 53) + 1}, NULL}, "from 0 to 9007199254740992");
    refuses_history(client, (cm_history){-1, 0, {"", 0}, NULL}, "history.last is -1");
    CHECK(cm_join_history(client, "h", NULL, NULL, NULL, NULL, NULL) == CM_EINVAL);
    CHECK(cm_join_history(NULL, "h", NULL, NULL, NULL, &history, NULL) == CM_EINVAL);
    CHECK(cm_join_history(client, "h", "[1]", NULL, NULL, &history, NULL) == CM_EJSON);
    CHECK(cm_join_history(client, "h", "{}", NULL, NULL, &history, &channel) == CM_OK);
    CHECK(cm_set_join_payload(channel, "null") == CM_EJSON && cm_set_join_payload(channel, " {\"a\":1} ") == CM_OK);
    CHECK(cm_leave(channel) == CM_OK);
}

static void test_without_a_gateway(void)
{
    struct seen seen = {0};
    cm_options o = usable();
    cm_client *client;
    cm_channel *channel, *second;
    char big[1001];
    memset(big, 'x', 1000);
    big[0] = big[999] = '"';
    big[1000] = 0;
    o.user = &seen, o.on_end = on_end, o.timeout_ms = 50, o.max_send_bytes = 1000, o.max_pushes = 3, o.max_buffered_bytes = 40;
    CHECK(cm_client_new(&o, &client, NULL, 0) == CM_OK && cm_client_user(client) == &seen);
    CHECK(cm_poll(client, -1) == CM_ESTATE && strstr(cm_detail(client), "cm_connect"));
    CHECK(cm_poll(client, -2) == CM_EINVAL && cm_poll(NULL, 0) == CM_EINVAL);
    CHECK(cm_wait_ms(client) == -1 && cm_poll(client, 1) == CM_OK);

    CHECK(cm_join(client, "", NULL, NULL, NULL, NULL) == CM_EINVAL);
    CHECK(cm_join(client, "\xFFx", NULL, NULL, NULL, NULL) == CM_EUTF8);
    CHECK(cm_join(client, "t", "{", NULL, NULL, NULL) == CM_EJSON);
    CHECK(cm_join(client, "t", big, NULL, NULL, NULL) == CM_ETOOBIG && strstr(cm_detail(client), "max_send_bytes is 1000"));
    test_histories(client);
    CHECK(cm_join(client, "t", NULL, &handlers, &seen, &channel) == CM_OK);
    CHECK(cm_channel_state(channel) == CM_JOINING && !strcmp(cm_channel_topic(channel), "t"));
    CHECK(cm_channel_client(channel) == client && cm_channel_user(channel) == &seen);
    CHECK(cm_join(client, "t", NULL, NULL, NULL, NULL) == CM_EEXIST);
    CHECK(cm_set_join_payload(channel, "nul") == CM_EJSON && cm_set_join_payload(channel, "null") == CM_OK);

    CHECK(cm_push(channel, "", NULL, 0, NULL, NULL) == CM_EINVAL);
    CHECK(cm_push(channel, "phx_leave", NULL, 0, NULL, NULL) == CM_EINVAL);
    CHECK(cm_push(channel, "e", NULL, -1, NULL, NULL) == CM_EINVAL);
    CHECK(cm_push(channel, "e", "[1e999]", 0, NULL, NULL) == CM_EJSON && strstr(cm_detail(client), "'[1e999]'"));
    CHECK(cm_push(channel, "e", "{}{}", 0, NULL, NULL) == CM_EJSON);
    CHECK(cm_push(channel, "e\xC3", "{}", 0, NULL, NULL) == CM_EUTF8);
    CHECK(cm_push_binary(channel, "e", big, 1000, 0, NULL, NULL) == CM_ETOOBIG);
    big[256] = 0;
    CHECK(strlen(big) == 256 && cm_push_binary(channel, big, "", 0, 0, NULL, NULL) == CM_ETOOBIG);
    CHECK(strstr(cm_detail(client), "at most 255"));
    CHECK(cm_push(channel, "event", "\"0123456789012345678901234567890123456789\"", 0, NULL, NULL) == CM_EFULL);
    CHECK(strstr(cm_detail(client), "max_buffered_bytes is 40"));
    CHECK(cm_push(channel, "e", "1e308", 60000, on_reply, &seen) == CM_OK);
    CHECK(cm_push_binary(channel, "e", NULL, 0, 60000, on_reply, &seen) == CM_OK);
    CHECK(cm_push(channel, "e", NULL, 60000, NULL, NULL) == CM_OK);
    CHECK(cm_push(channel, "e", NULL, 60000, NULL, NULL) == CM_EFULL && strstr(cm_detail(client), "max_pushes is 3"));

    CHECK(cm_connect(client) == CM_OK && cm_connect(client) == CM_ESTATE);
    while (!seen.closes)
        CHECK(cm_poll(client, -1) == CM_OK);
    CHECK(seen.timeouts == 1 && seen.replies == 2 && seen.first_reply < seen.first_close);
    while (cm_client_state(client) != CM_DISCONNECTED)
        CHECK(cm_poll(client, -1) == CM_OK);
    CHECK(seen.ends == 3 && !cm_fds(client, (int[CM_MAX_FDS]){0}));

    CHECK(cm_join(client, "u", NULL, &handlers, &seen, &second) == CM_OK);
    CHECK(cm_push(second, "e", NULL, 60000, on_reply, &seen) == CM_OK);
    CHECK(cm_set_params(client, "{\"token\":\"new\"}") == CM_OK && cm_set_params(client, "7") == CM_EJSON);
    CHECK(cm_client_free(client) == CM_OK && cm_client_free(NULL) == CM_OK);
    CHECK(seen.closes == 2 && seen.replies == 3);
}

static void test_a_shared_context_stays(void)
{
    cm_options o = usable();
    cm_client *one, *two;
    void *context = zmq_ctx_new(), *socket;
    o.zmq_context = context;
    CHECK(cm_client_new(&o, &one, NULL, 0) == CM_OK && cm_client_new(&o, &two, NULL, 0) == CM_OK);
    CHECK(cm_connect(one) == CM_OK && cm_connect(two) == CM_OK && cm_fds(one, (int[CM_MAX_FDS]){0}) == 2);
    CHECK(cm_client_free(one) == CM_OK && cm_client_free(two) == CM_OK);
    socket = zmq_socket(context, ZMQ_DEALER);
    CHECK(socket && !zmq_close(socket) && !zmq_ctx_term(context));
}

int main(void)
{
    test_quote();
    test_get();
    test_next();
    test_depth();
    test_errors_have_words();
    test_options();
    test_addresses();
    test_without_a_gateway();
    test_a_shared_context_stays();
    puts("ok");
    return 0;
}
