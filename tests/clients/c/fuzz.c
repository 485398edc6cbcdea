/* Hostile input for everything that reads: for test_c_library.py, under the sanitizers.
 *
 *     fuzz SEED COUNT   mutate messages that are right, COUNT times, and read them
 *     fuzz judge        read documents from stdin, each behind its size in four bytes, the lowest first; print for
 *                       each whether it is JSON (1 or 0) and whether we would send it
 */
#include "../../../clients/c/channelmesh.c"

static const char *const TEXTS[] = {
    "[\"1\",\"1\",\"room:X\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"topic\":\"room:X\"}}]",
    "[null,null,\"room:\\u00e4\\ud83d\\ude00\",\"new_msg\",{\"n\":[1,-2.5e+3,true,false,null,\"x\\n\"]}]",
    "[ \"7\" , null , \"r\" , \"presence_state\" , {\"u1\":{\"metas\":[{\"phx_ref\":\"G\"}]}} , 1 ]",
    "{\"status\":403,\"reason\":\"r\\u00e9fus\\\\\"}",
    "{\"idle_timeout_seconds\":60.0}",
    "[\"1\",\"1\",\"t\",\"phx_error\",{\"reason\":\"channel_crash\"}]",
    "[null,\"k3v9a0b1c2d3:1042\",\"t\",\"e\",{}]",
    "[\"1\",null,\"t\",\"history_state\",{\"epoch\":\"k3v9\",\"offset\":7,\"recovered\":false,\"count\":0}]",
    "[null,null,\"t\",\"history_position\",{\"epoch\":\"k3v9\",\"offset\":9007199254740992,\"event\":\"e\"}]",
};
#define TEXT_COUNT (sizeof TEXTS / sizeof *TEXTS)
static const char BINARIES[][24] = {
    "\x00\x01\x01\x02" "1" "t" "ev" "data",
    "\x01\x01\x02\x01\x02" "1" "77" "t" "ok" "data",
    "\x02\x01\x02" "t" "ev" "data",
};
static const char *const TOKENS[] = {"\"", "\\u", "\\ud800", "\\udc00", "[", "]", "{", "}", ",", ":", "null", "1e999",
                                     "-", "0", ".5", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xC0\x80", "\x00", "\\", "phx_reply"};

static uint64_t state;

static size_t below(size_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state % bound);
}

/* A copy of exactly its size, so that a byte read beyond it is found. */
static char *exactly(const char *data, size_t size, size_t more)
{
    char *copy = malloc(size + more);
    if (!copy)
        abort();
    memcpy(copy, data, size);
    if (more)
        copy[size] = 0;
    return copy;
}

static size_t mutate(char *data, size_t size, size_t room)
{
    for (size_t n = 1 + below(4); n; n--) {
        size_t at = below(size + 1), length, kind = below(6);
        const char *token = TOKENS[below(sizeof TOKENS / sizeof *TOKENS)];
        length = strlen(token) + !*token;
        if (kind == 0 && size) {
            data[at % size] = (char)below(256);
        } else if (kind == 1 && size) {
            data[at % size] ^= (char)(1 << below(8));
        } else if (kind == 2) {
            size = at;
        } else if (kind == 3 && at < size) {
            length = 1 + below(size - at);
            memmove(data + at, data + at + length, size - at - length);
            size -= length;
        } else if (kind == 4 && size + length <= room) {
            memmove(data + at + length, data + at, size - at);
            memcpy(data + at, token, length);
            size += length;
        } else if (kind == 5 && at < size && size + (length = 1 + below(size - at)) <= room) {
            memmove(data + at + length, data + at, size - at); /* twice the same */
            size += length;
        }
    }
    return size;
}

static void must(int condition, const char *what)
{
    if (!condition) {
        puts(what);
        abort();
    }
}

/* What a callback may rely on. */
static void check_message(const message *m)
{
    cm_text value;
    must(strlen(m->topic) == m->topic_size, "topic");
    must(is_utf8(m->topic) && is_utf8(m->event), "text is UTF-8");
    must(!m->reply || (m->status && is_utf8(m->status)), "a reply has a status");
    must(m->payload.data[m->payload.size] == 0, "a NUL follows the payload");
    if (!m->payload.binary) {
        size_t wrong;
        must(is_json(m->payload.data, m->payload.size, 0, &wrong), "the payload is JSON");
        cm_json_get(m->payload.data, m->payload.size, "status", &value);
    }
}

/* Whatever is received, the position can be stored and sent again. */
static void check_history(const message *m)
{
    static cm_history history;
    static cm_channel channel;
    channel.history = &history;
    channel.answered = 1;
    if (!m->reply)
        is_new(&channel, m);
    must(memchr(history.position.epoch, 0, CM_EPOCH_SIZE) != NULL, "an epoch ends");
    must(is_position(history.position.epoch, strlen(history.position.epoch), history.position.offset), "a position");
}

static void read_all(const char *data, size_t size)
{
    message m = {0};
    char *copy = exactly(data, size, 1), text[64];
    double number;
    int yes;
    if (!read_text(copy, size, &m))
        check_message(&m), check_history(&m);
    free(copy);
    memset(&m, 0, sizeof m);
    copy = exactly(data, size, 1);
    if (!read_binary(copy, size, &m))
        check_message(&m), check_history(&m);
    free(copy);
    copy = exactly(data, size, 0);
    cm_json_string(copy, size, "reason", text, sizeof text);
    cm_json_number(copy, size, "status", &number);
    cm_json_bool(copy, size, "x", &yes);
    free(copy);
}

/* What is quoted comes back when it is unquoted. */
static void quote_and_back(const char *data, size_t size)
{
    char text[300], there[CM_QUOTED_SIZE(sizeof text)], back[sizeof text];
    size = size < sizeof text - 1 ? size : sizeof text - 1;
    memcpy(text, data, size);
    text[size] = 0;
    if (cm_json_quote(text, there, sizeof there) == CM_OK) {
        cm_text quoted_text = {there, strlen(there)};
        must(cm_json_unquote(quoted_text, back, sizeof back) == CM_OK && !strcmp(text, back), "quoted and back");
    }
}

static void fuzz(unsigned long count)
{
    while (count--) {
        char data[600];
        size_t which = below(TEXT_COUNT + 3), size;
        if (which < TEXT_COUNT) {
            size = strlen(TEXTS[which]);
            memcpy(data, TEXTS[which], size);
        } else {
            static const size_t sizes[] = {12, 15, 10};
            size = sizes[which - TEXT_COUNT];
            memcpy(data, BINARIES[which - TEXT_COUNT], size);
        }
        size = mutate(data, size, sizeof data);
        read_all(data, size);
        quote_and_back(data, size);
    }
}

static void judge(void)
{
    unsigned char head[4];
    while (fread(head, 1, 4, stdin) == 4) {
        size_t size = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16, wrong;
        char *data = malloc(size + !size);
        must(data && fread(data, 1, size, stdin) == size, "a document");
        printf("%d %d\n", is_json(data, size, 0, &wrong), is_json(data, size, 1, &wrong));
        free(data);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2) {
        judge();
        return 0;
    }
    must(argc == 3, "usage: fuzz SEED COUNT, or fuzz judge");
    state = strtoull(argv[1], NULL, 10) * 2654435761u + 1;
    for (size_t i = 0; i < TEXT_COUNT; i++)
        read_all(TEXTS[i], strlen(TEXTS[i]));
    fuzz(strtoul(argv[2], NULL, 10));
    puts("ok");
    return 0;
}
