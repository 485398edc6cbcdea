/* Channelmesh over plain ZeroMQ. The header documents the API, docs/protocol.md (section 1.2) the wire format.
 *
 * Order of this file: JSON; messages; sending; pushes; history; channels; the connection; time; the public functions.
 * Callbacks run only from cm_poll and cm_client_free. They may call every function but these two, so any state
 * may have changed when a callback returns: a channel is freed only by reap(), at the end of a turn, and a
 * connection that was replaced is recognised by `session`.
 */
#define _POSIX_C_SOURCE 200809L

#include "channelmesh.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#if ZMQ_VERSION < ZMQ_MAKE_VERSION(4, 3, 0)
#error "channelmesh needs libzmq 4.3 or newer"
#endif

/* The gateway accepts payloads nested up to 512 levels (mesh/protocol/serializers/envelope.py); its own messages may add
 * a few levels. */
#define SEND_LEVELS 512
#define MAX_LEVELS 1024
#define LINGER_MS 500
/* ZeroMQ must not reconnect: each connection has its own socket. Not -1: libzmq would then discard all messages
 * that were received but not read when the connection ended. */
#define NEVER_MS (24 * 3600 * 1000)
/* TCP keep-alive detects a gateway that is gone, and the channels' heartbeats one that is frozen. ZeroMQ's own
 * heartbeats are not used: with them, libzmq 4.3.5 aborts the process when a connection ends while its queue of
 * received messages is full (its issue 4364). */
#define KEEPALIVE_SECONDS 5
#define KEEPALIVE_PROBES 2
/* Messages read in one turn, so that the caller's event loop can handle other events. */
#define BATCH 1000
#define FIELD_BYTES 255
#define NO_REF 0u
#define FOREIGN_REF UINT64_MAX
/* The most bytes that a join's payload gets in addition, and the largest offset, which a double can represent. */
#define ASK_BYTES 160
#define MAX_OFFSET (1LL << 53)

/* ==== JSON ============================================================================================ */

typedef struct scanner {
    const unsigned char *at, *end;
    int sending; /* stricter: numbers that fit a double */
} scanner;

static scanner scan(const char *data, size_t size)
{
    scanner s = {(const unsigned char *)data, (const unsigned char *)data + size, 0};
    return s;
}

static void skip_space(scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

static int take(scanner *s, char wanted)
{
    if (s->at == s->end || *s->at != (unsigned char)wanted)
        return 0;
    s->at++;
    return 1;
}

/* Length of the UTF-8 character that starts at `at`; 0 if there is none. RFC 3629: no surrogates, no overlong
 * forms, nothing beyond U+10FFFF. */
static size_t utf8_length(const unsigned char *at, const unsigned char *end)
{
    size_t left = (size_t)(end - at);
    if (!left)
        return 0;
    if (at[0] < 0x80)
        return 1;
    if (at[0] < 0xC2 || at[0] > 0xF4 || left < 2 || (at[1] & 0xC0) != 0x80)
        return 0;
    if (at[0] < 0xE0)
        return 2;
    if ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] > 0x9F) || (at[0] == 0xF0 && at[1] < 0x90) ||
        (at[0] == 0xF4 && at[1] > 0x8F) || left < 3 || (at[2] & 0xC0) != 0x80)
        return 0;
    if (at[0] < 0xF0)
        return 3;
    return left >= 4 && (at[3] & 0xC0) == 0x80 ? 4 : 0;
}

static int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Four hexadecimal digits; -1 if they are not there. */
static long hex4(const unsigned char *at, const unsigned char *end)
{
    long value = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The character behind `\u`, from `at`, moved beyond it; -1 for half of a surrogate pair and for no digits. */
static long escaped_character(const unsigned char **at, const unsigned char *end)
{
    long high = hex4(*at, end), low;
    if (high < 0 || (high >= 0xDC00 && high <= 0xDFFF))
        return -1;
    *at += 4;
    if (high < 0xD800 || high > 0xDBFF)
        return high;
    if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return -1;
    low = hex4(*at + 2, end);
    if (low < 0xDC00 || low > 0xDFFF)
        return -1;
    *at += 6;
    return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

static int skip_string(scanner *s)
{
    if (!take(s, '"'))
        return 0;
    while (s->at < s->end) {
        unsigned char c = *s->at;
        if (c == '"') {
            s->at++;
            return 1;
        }
        if (c < 0x20)
            return 0;
        if (c != '\\') {
            size_t length = utf8_length(s->at, s->end);
            if (!length)
                return 0;
            s->at += length;
        } else if (++s->at == s->end) {
            return 0;
        } else if (*s->at == 'u') {
            s->at++;
            if (escaped_character(&s->at, s->end) < 0)
                return 0;
        } else if (memchr("\"\\/bfnrt", *s->at, 8)) {
            s->at++;
        } else {
            return 0;
        }
    }
    return 0;
}

static size_t skip_digits(scanner *s)
{
    const unsigned char *start = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return (size_t)(s->at - start);
}

/* The double at [at, end), a JSON number. strtod reads the locale's decimal point, so that one is given to it. */
static int to_double(const unsigned char *at, const unsigned char *end, double *out)
{
    char point[16], *copy, *to;
    size_t size = (size_t)(end - at), point_size;
    snprintf(point, sizeof point, "%.1f", 0.5);
    point_size = strlen(point) - 2;
    to = copy = malloc(size + point_size + 1);
    if (!copy)
        return CM_ENOMEM;
    for (; at < end; at++) {
        if (*at == '.') {
            memcpy(to, point + 1, point_size);
            to += point_size;
        } else {
            *to++ = (char)*at;
        }
    }
    *to = 0;
    *out = strtod(copy, NULL);
    free(copy);
    return CM_OK;
}

/* Whether the number [start, at) with that many digits before the point is a finite double: the gateway closes
 * the connection over one that is not. Only a number long enough, or with an exponent, is worth the look. */
static int fits_double(scanner *s, const unsigned char *start, size_t digits, int exponent)
{
    double value;
    if (!s->sending || (digits < 300 && !exponent))
        return 1;
    return to_double(start, s->at, &value) == CM_OK && value <= DBL_MAX && value >= -DBL_MAX;
}

static int skip_number(scanner *s)
{
    const unsigned char *start = s->at;
    size_t digits = 1;
    int exponent = 0;
    take(s, '-');
    if (!take(s, '0')) {
        digits = skip_digits(s);
        if (!digits)
            return 0;
    }
    if (take(s, '.') && !skip_digits(s))
        return 0;
    if (take(s, 'e') || take(s, 'E')) {
        exponent = 1;
        if (!take(s, '+'))
            take(s, '-');
        if (!skip_digits(s))
            return 0;
    }
    return fits_double(s, start, digits, exponent);
}

static int skip_word(scanner *s, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(s->end - s->at) < size || memcmp(s->at, word, size) != 0)
        return 0;
    s->at += size;
    return 1;
}

static int skip_key(scanner *s)
{
    skip_space(s);
    if (!skip_string(s))
        return 0;
    skip_space(s);
    return take(s, ':');
}

/* Move beyond one value, which must be strict JSON; no recursion, so depth costs no stack. */
static int skip_value(scanner *s)
{
    unsigned char closers[MAX_LEVELS];
    size_t level = 0, levels = s->sending ? SEND_LEVELS : MAX_LEVELS;
    for (;;) {
        int ok = 1;
        skip_space(s);
        if (s->at == s->end)
            return 0;
        switch (*s->at) {
        case '{':
        case '[':
            if (level == levels)
                return 0;
            closers[level] = *s->at == '{' ? '}' : ']';
            s->at++;
            skip_space(s);
            if (take(s, (char)closers[level]))
                break;
            if (closers[level] == '}' && !skip_key(s))
                return 0;
            level++;
            continue;
        case '"': ok = skip_string(s); break;
        case 't': ok = skip_word(s, "true"); break;
        case 'f': ok = skip_word(s, "false"); break;
        case 'n': ok = skip_word(s, "null"); break;
        default: ok = skip_number(s);
        }
        if (!ok)
            return 0;
        for (;;) {
            if (!level)
                return 1;
            skip_space(s);
            if (take(s, ','))
                break;
            if (!take(s, (char)closers[level - 1]))
                return 0;
            level--;
        }
        if (closers[level - 1] == '}' && !skip_key(s))
            return 0;
    }
}

/* Whether it is one JSON value and nothing else. `at` gets the offset of what is wrong. */
static int is_json(const char *data, size_t size, int sending, size_t *at)
{
    scanner s = scan(data, size);
    int ok;
    s.sending = sending;
    ok = skip_value(&s);
    if (ok) {
        skip_space(&s);
        ok = s.at == s.end;
    }
    *at = (size_t)(s.at - (const unsigned char *)data);
    return ok;
}

/* The value at `s`, moved beyond it. */
static int take_value(scanner *s, cm_text *value)
{
    const unsigned char *start;
    skip_space(s);
    start = s->at;
    if (!skip_value(s))
        return 0;
    value->data = (const char *)start;
    value->size = (size_t)(s->at - start);
    return 1;
}

static char *put_utf8(char *to, long character)
{
    if (character < 0x80) {
        *to++ = (char)character;
    } else if (character < 0x800) {
        *to++ = (char)(0xC0 | (character >> 6));
        *to++ = (char)(0x80 | (character & 0x3F));
    } else if (character < 0x10000) {
        *to++ = (char)(0xE0 | (character >> 12));
        *to++ = (char)(0x80 | ((character >> 6) & 0x3F));
        *to++ = (char)(0x80 | (character & 0x3F));
    } else {
        *to++ = (char)(0xF0 | (character >> 18));
        *to++ = (char)(0x80 | ((character >> 12) & 0x3F));
        *to++ = (char)(0x80 | ((character >> 6) & 0x3F));
        *to++ = (char)(0x80 | (character & 0x3F));
    }
    return to;
}

/* One character of the valid JSON string at *at, moved beyond it, as UTF-8 in `out`; returns its length. */
static size_t unescape(const unsigned char **at, const unsigned char *end, char out[4])
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (**at != '\\') {
        size_t length = utf8_length(*at, end);
        memcpy(out, *at, length);
        *at += length;
        return length;
    }
    *at += 2;
    if ((*at)[-1] == 'u')
        return (size_t)(put_utf8(out, escaped_character(at, end)) - out);
    out[0] = meanings[strchr(names, (*at)[-1]) - names];
    return 1;
}

int cm_json_unquote(cm_text quoted, char *out, size_t out_size)
{
    scanner s;
    const unsigned char *at;
    size_t used = 0;
    if (!quoted.data || !out)
        return CM_EINVAL;
    s = scan(quoted.data, quoted.size);
    if (!skip_string(&s) || s.at != s.end)
        return CM_EJSON;
    for (at = (const unsigned char *)quoted.data + 1; at < s.end - 1;) {
        char character[4];
        size_t length = unescape(&at, s.end - 1, character);
        if (!character[0])
            return CM_ETYPE;
        if (used + length >= out_size)
            return CM_ETOOBIG;
        memcpy(out + used, character, length);
        used += length;
    }
    if (used >= out_size)
        return CM_ETOOBIG;
    out[used] = 0;
    return CM_OK;
}

int cm_json_quote(const char *text, char *out, size_t out_size)
{
    const unsigned char *at = (const unsigned char *)text, *end;
    size_t used = 0;
    if (!text || !out)
        return CM_EINVAL;
    end = at + strlen(text);
    if (out_size < 3)
        return CM_ETOOBIG;
    out[used++] = '"';
    while (at < end) {
        char piece[8];
        size_t length = utf8_length(at, end);
        if (!length)
            return CM_EUTF8;
        if (*at == '"' || *at == '\\')
            length = (size_t)snprintf(piece, sizeof piece, "\\%c", *at++);
        else if (*at < 0x20)
            length = (size_t)snprintf(piece, sizeof piece, "\\u%04x", (unsigned)*at++);
        else {
            memcpy(piece, at, length);
            at += length;
        }
        if (used + length + 2 > out_size)
            return CM_ETOOBIG;
        memcpy(out + used, piece, length);
        used += length;
    }
    out[used++] = '"';
    out[used] = 0;
    return CM_OK;
}

/* Whether the JSON string `quoted` says `text`. */
static int says(cm_text quoted, const char *text, size_t size)
{
    const unsigned char *at = (const unsigned char *)quoted.data + 1;
    const unsigned char *end = (const unsigned char *)quoted.data + quoted.size - 1;
    while (at < end) {
        char character[4];
        size_t length = unescape(&at, end, character);
        if (length > size || memcmp(character, text, length) != 0)
            return 0;
        text += length;
        size -= length;
    }
    return !size;
}

int cm_json_next(const char *json, size_t size, size_t *position, cm_text *key, cm_text *value)
{
    scanner s;
    size_t wrong;
    char closer;
    if (!json || !position || !key || !value)
        return CM_EINVAL;
    if (*position > size || (!*position && !is_json(json, size, 0, &wrong)))
        return CM_EJSON;
    s = scan(json, size);
    skip_space(&s);
    if (s.at == s.end || (*s.at != '{' && *s.at != '['))
        return CM_ETYPE;
    closer = *s.at == '{' ? '}' : ']';
    if (!*position) {
        s.at++;
        skip_space(&s);
        if (take(&s, closer))
            return CM_ENOTFOUND;
    } else {
        s.at = (const unsigned char *)json + *position;
        skip_space(&s);
        if (take(&s, closer))
            return CM_ENOTFOUND;
        if (!take(&s, ','))
            return CM_EJSON;
        skip_space(&s);
    }
    key->data = (const char *)s.at;
    key->size = 0;
    if (closer == '}') {
        if (!skip_string(&s))
            return CM_EJSON;
        key->size = (size_t)((const char *)s.at - key->data);
        skip_space(&s);
        if (!take(&s, ':'))
            return CM_EJSON;
    }
    if (!take_value(&s, value))
        return CM_EJSON;
    *position = (size_t)((const char *)s.at - json);
    return CM_OK;
}

int cm_json_get(const char *json, size_t size, const char *key, cm_text *value)
{
    cm_text name, each;
    size_t position = 0, key_size;
    int status, found = CM_ENOTFOUND;
    if (!json || !key || !value)
        return CM_EINVAL;
    key_size = strlen(key);
    while ((status = cm_json_next(json, size, &position, &name, &each)) == CM_OK) {
        if (!name.size)
            return CM_ETYPE; /* an array */
        if (says(name, key, key_size)) {
            *value = each;
            found = CM_OK;
        }
    }
    return status == CM_ENOTFOUND ? found : status;
}

int cm_json_string(const char *json, size_t size, const char *key, char *out, size_t out_size)
{
    cm_text value;
    int status = cm_json_get(json, size, key, &value);
    if (status != CM_OK)
        return status;
    return value.data[0] == '"' ? cm_json_unquote(value, out, out_size) : CM_ETYPE;
}

int cm_json_number(const char *json, size_t size, const char *key, double *out)
{
    cm_text value;
    int status = cm_json_get(json, size, key, &value);
    const unsigned char *start;
    if (status != CM_OK)
        return status;
    start = (const unsigned char *)value.data;
    if (!out)
        return CM_EINVAL;
    if (*start != '-' && (*start < '0' || *start > '9'))
        return CM_ETYPE;
    return to_double(start, start + value.size, out);
}

int cm_json_bool(const char *json, size_t size, const char *key, int *out)
{
    cm_text value;
    int status = cm_json_get(json, size, key, &value);
    if (status != CM_OK)
        return status;
    if (!out)
        return CM_EINVAL;
    if (value.data[0] != 't' && value.data[0] != 'f')
        return CM_ETYPE;
    *out = value.data[0] == 't';
    return CM_OK;
}

/* ==== Messages: V2, text and binary =================================================================== */

typedef struct message {
    uint64_t join_ref, ref; /* NO_REF, ours, or FOREIGN_REF */
    const char *topic, *event;
    size_t topic_size;
    int reply;
    cm_text position;   /* a ref that is not ours: of a kept broadcast, "epoch:offset"; its data may be NULL */
    const char *status; /* of a reply */
    cm_payload payload; /* of a reply: its response */
} message;

/* Refs are our own numbers, as decimal strings. */
static uint64_t to_ref(const char *text, size_t size)
{
    uint64_t ref = 0;
    if (!size || size > 19 || text[0] == '0')
        return FOREIGN_REF;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return FOREIGN_REF;
        ref = ref * 10 + (uint64_t)(text[i] - '0');
    }
    return ref;
}

static uint64_t json_ref(cm_text value)
{
    if (value.data[0] == 'n')
        return NO_REF;
    if (value.data[0] != '"')
        return FOREIGN_REF;
    return value.size == 2 ? NO_REF : to_ref(value.data + 1, value.size - 2);
}

/* Unescape a JSON string where it stands, in the buffer that we own: it only gets shorter, and the closing quote
 * makes room for the NUL. NULL if it is no string, or holds U+0000. */
static const char *in_place(char *buffer, cm_text quoted)
{
    char *start = buffer + (quoted.data - buffer);
    return cm_json_unquote(quoted, start, quoted.size) == CM_OK ? start : NULL;
}

/* Read a text frame; `data` is ours to change, and one NUL follows its `size` bytes. NULL or what is wrong. */
static const char *read_text(char *data, size_t size, message *m)
{
    scanner s = scan(data, size);
    cm_text parts[5], status = {NULL, 0}, payload;
    size_t wrong;
    if (!is_json(data, size, 0, &wrong))
        return "a text message that is not JSON";
    skip_space(&s);
    if (!take(&s, '['))
        return "a text message that is not an array";
    for (int i = 0; i < 5; i++)
        if ((i && !(skip_space(&s), take(&s, ','))) || !take_value(&s, &parts[i]))
            return "a text message with fewer than five elements";
    m->join_ref = json_ref(parts[0]);
    m->ref = json_ref(parts[1]);
    m->position = (cm_text){NULL, 0};
    if (m->ref == FOREIGN_REF && parts[1].data[0] == '"')
        m->position = (cm_text){parts[1].data + 1, parts[1].size - 2};
    m->reply = parts[3].data[0] == '"' && says(parts[3], "phx_reply", 9);
    if (m->reply && (cm_json_get(parts[4].data, parts[4].size, "status", &status) != CM_OK ||
                     status.data[0] != '"'))
        return "a reply without a status";
    payload = parts[4];
    if (m->reply && cm_json_get(parts[4].data, parts[4].size, "response", &payload) != CM_OK)
        payload.size = 0;
    /* All is found: from here on the buffer changes. */
    m->payload = (cm_payload){"{}", 2, 0};
    if (payload.size) {
        char *start = data + (payload.data - data);
        start[payload.size] = 0; /* a comma, a closer or a space */
        m->payload = (cm_payload){start, payload.size, 0};
    }
    if (parts[2].data[0] != '"' || !(m->topic = in_place(data, parts[2])))
        return "a message whose topic is not a string";
    if (parts[3].data[0] != '"' || !(m->event = in_place(data, parts[3])))
        return "a message whose event is not a string";
    if (m->reply && !(m->status = in_place(data, status)))
        return "a reply whose status is not a string";
    m->topic_size = strlen(m->topic);
    return NULL;
}

/* A field of a binary frame, moved to its left by one byte to make room for a NUL: the size bytes before the
 * fields give that room. NULL if it is not UTF-8 or holds a NUL. */
static const char *read_field(char *at, size_t size, size_t room)
{
    const unsigned char *check = (const unsigned char *)at, *end = check + size;
    while (check < end) {
        size_t length = utf8_length(check, end);
        if (!length || !*check)
            return NULL;
        check += length;
    }
    memmove(at - room, at, size);
    at[size - room] = 0;
    return at - room;
}

/* Read a binary frame (push 0, reply 1, broadcast 2), as read_text. */
static const char *read_binary(char *data, size_t size, message *m)
{
    static const size_t counts[3] = {3, 4, 2};
    size_t sizes[4], count, at;
    unsigned char kind = size ? (unsigned char)data[0] : 255;
    int first = 0;
    if (kind > 2)
        return "a binary message of an unknown kind";
    count = counts[kind];
    at = 1 + count;
    if (size < at)
        return "a binary message that is cut off";
    for (size_t i = 0; i < count; i++)
        sizes[i] = (unsigned char)data[1 + i];
    for (size_t i = 0; i < count; i++)
        at += sizes[i];
    if (at > size)
        return "a binary message that is cut off";
    m->payload.data = data + at;
    m->payload.size = size - at;
    m->payload.binary = 1;
    m->position = (cm_text){NULL, 0};
    at = 1 + count;
    m->join_ref = m->ref = NO_REF;
    if (kind < 2) {
        m->join_ref = sizes[0] ? to_ref(data + at, sizes[0]) : NO_REF;
        at += sizes[first++];
    }
    if (kind == 1) {
        m->ref = sizes[1] ? to_ref(data + at, sizes[1]) : NO_REF;
        at += sizes[first++];
    }
    m->reply = kind == 1;
    m->topic_size = sizes[first];
    /* kind and sizes, three bytes at least, lie before topic and event: two bytes and one to the left. */
    m->topic = read_field(data + at, sizes[first], 2);
    m->event = read_field(data + at + sizes[first], sizes[first + 1], 1);
    if (!m->topic || !m->event)
        return "a binary message whose topic or event is not UTF-8";
    if (m->reply) {
        m->status = m->event;
        m->event = "phx_reply";
    }
    return NULL;
}

/* ==== The client ====================================================================================== */

typedef struct push {
    struct push *previous, *next;
    cm_channel *channel;
    cm_reply_fn *on_reply;
    void *user;
    uint64_t ref; /* NO_REF: waits for the join */
    int64_t deadline;
    int binary;
    size_t event_size, size;
    char data[]; /* while it waits: the event and a NUL, the payload */
} push;

typedef struct frame {
    struct frame *next;
    char kind;
    size_t size;
    char data[];
} frame;

struct cm_channel {
    cm_channel *next;
    cm_client *client;
    cm_handlers handlers;
    void *user;
    char *topic, *topic_json, *payload;
    size_t topic_size;
    enum cm_channel_state state;
    uint64_t join_ref, leave_ref; /* join_ref is NO_REF while no join is valid */
    int64_t deadline;             /* of the join or leave; when ERRORED, of the next join, or 0 */
    int rejoin_tries;

    cm_history *history;           /* the application's, or NULL */
    int asked_after, answered;     /* the last join: did it send a position; was it answered by history_state */
    char announced[FIELD_BYTES + 1]; /* the event of the binary broadcast that follows, or "" */
    cm_position announced_position;
};

struct cm_client {
    cm_options options; /* its strings are not used after cm_client_new */
    char *address, *path_json, *opening;
    char server_key[41], public_key[41], secret_key[41];
    void *context;
    int owns_context;

    enum cm_state state;
    void *dealer, *monitor;
    unsigned long session; /* incremented whenever a connection begins or ends */
    const char *broken;    /* the reason that the monitor reported, if any */
    int64_t due;           /* CONNECTING: time-out; WAITING: next attempt; OPEN: next heartbeat */
    int64_t asked;         /* when the unanswered heartbeat was sent; 0: there is none */
    int64_t interval;
    int tries;

    cm_channel *channels, **channels_end;
    int to_reap;
    push *first_push, *last_push;
    size_t pushes;
    int64_t push_deadline; /* not later than the deadline of any push; 0: no push has one */
    frame *outbox, **outbox_end;
    size_t buffered_bytes; /* outbox, and pushes that wait for a join */
    uint64_t last_ref;

    int in_callback, ending;
    int failed; /* a status for cm_poll to return */
    char detail[240];
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int fail(cm_client *c, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->detail, sizeof c->detail, format, arguments);
    va_end(arguments);
    return status;
}

static int no_memory(cm_client *c)
{
    return fail(c, CM_ENOMEM, "%s", cm_strerror(CM_ENOMEM));
}

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

/* `text` as a JSON string, allocated; NULL with `status` set. */
static char *quoted(const char *text, int *status)
{
    size_t size = CM_QUOTED_SIZE(strlen(text));
    char *out = malloc(size), *fitting;
    *status = CM_ENOMEM;
    if (!out)
        return NULL;
    *status = cm_json_quote(text, out, size);
    if (*status != CM_OK) {
        free(out);
        return NULL;
    }
    fitting = realloc(out, strlen(out) + 1);
    return fitting ? fitting : out;
}

/* ==== Sending ========================================================================================= */

/* Pass a message to ZeroMQ. Returns 1 if sent, 0 if the queue is full, -1 on failure. */
static int zmq_take(cm_client *c, char kind, const char *data, size_t size)
{
    if (zmq_send(c->dealer, &kind, 1, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return errno == EAGAIN ? 0 : -1;
    return zmq_send(c->dealer, data, size, ZMQ_DONTWAIT) < 0 ? -1 : 1;
}

static int zmq_failed(cm_client *c, const char *what)
{
    return fail(c, CM_EZMQ, "%s: %s", what, zmq_strerror(zmq_errno()));
}

/* Send a message, or queue it behind those already queued. Messages of the protocol itself may exceed the limit,
 * because they are small and there are few per channel. */
static int send_frame(cm_client *c, char kind, const char *data, size_t size, int bounded)
{
    frame *kept;
    if (!c->outbox) {
        int sent = zmq_take(c, kind, data, size);
        if (sent)
            return sent > 0 ? CM_OK : zmq_failed(c, "cannot send");
    }
    if (bounded && c->buffered_bytes + size > c->options.max_buffered_bytes)
        return fail(c, CM_EFULL, "%zu bytes wait to be sent (max_buffered_bytes is %zu); push less, or try later",
                    c->buffered_bytes, c->options.max_buffered_bytes);
    kept = malloc(sizeof *kept + size);
    if (!kept)
        return no_memory(c);
    kept->next = NULL;
    kept->kind = kind;
    kept->size = size;
    if (size)
        memcpy(kept->data, data, size);
    c->buffered_bytes += size;
    *c->outbox_end = kept;
    c->outbox_end = &kept->next;
    return CM_OK;
}

static void drop_kept(cm_client *c)
{
    frame *kept = c->outbox;
    c->outbox = kept->next;
    if (!c->outbox)
        c->outbox_end = &c->outbox;
    c->buffered_bytes -= kept->size;
    free(kept);
}

static void flush_outbox(cm_client *c)
{
    while (c->outbox && c->dealer) {
        int sent = zmq_take(c, c->outbox->kind, c->outbox->data, c->outbox->size);
        if (sent < 0)
            c->failed = zmq_failed(c, "cannot send");
        if (sent <= 0)
            return;
        drop_kept(c);
    }
}

/* Encode a message of a channel as V2 text; a NULL payload is {}. */
static int send_text(cm_channel *channel, uint64_t ref, const char *event, const char *payload, size_t size,
                     int bounded)
{
    cm_client *c = channel->client;
    int status, head;
    char *event_json = quoted(event, &status), *text;
    size_t room;
    if (!event_json)
        return fail(c, status, "event: %s", cm_strerror(status));
    room = strlen(channel->topic_json) + strlen(event_json) + size + 64;
    text = malloc(room);
    if (!text) {
        free(event_json);
        return no_memory(c);
    }
    head = snprintf(text, room, "[\"%" PRIu64 "\",\"%" PRIu64 "\",%s,%s,", channel->join_ref, ref,
                    channel->topic_json, event_json);
    memcpy(text + head, payload, size);
    text[(size_t)head + size] = ']';
    status = send_frame(c, 'T', text, (size_t)head + size + 1, bounded);
    free(event_json);
    free(text);
    return status;
}

/* The same as V2 binary: 00, four sizes, join_ref, ref, topic, event, data. */
static int send_binary(cm_channel *channel, uint64_t ref, const char *event, const char *data, size_t size,
                       int bounded)
{
    cm_client *c = channel->client;
    char refs[2][24], *bytes, *to;
    const char *fields[4];
    size_t total = 5 + size;
    int status;
    snprintf(refs[0], sizeof refs[0], "%" PRIu64, channel->join_ref);
    snprintf(refs[1], sizeof refs[1], "%" PRIu64, ref);
    fields[0] = refs[0];
    fields[1] = refs[1];
    fields[2] = channel->topic;
    fields[3] = event;
    for (int i = 0; i < 4; i++)
        total += strlen(fields[i]);
    bytes = malloc(total);
    if (!bytes)
        return no_memory(c);
    to = bytes;
    *to++ = 0;
    for (int i = 0; i < 4; i++)
        *to++ = (char)strlen(fields[i]);
    for (int i = 0; i < 4; i++) {
        memcpy(to, fields[i], strlen(fields[i]));
        to += strlen(fields[i]);
    }
    if (size)
        memcpy(to, data, size);
    status = send_frame(c, 'B', bytes, total, bounded);
    free(bytes);
    return status;
}

/* ==== Pushes ========================================================================================== */

static cm_reply no_reply(enum cm_reply_kind kind)
{
    cm_reply reply = {kind, kind == CM_REPLY_TIMEOUT ? "timeout" : "closed", {"{}", 2, 0}};
    return reply;
}

static void unlink_push(cm_client *c, push *p)
{
    *(p->previous ? &p->previous->next : &c->first_push) = p->next;
    *(p->next ? &p->next->previous : &c->last_push) = p->previous;
    c->pushes--;
    if (p->ref == NO_REF)
        c->buffered_bytes -= p->event_size + p->size;
}

static void answer_push(push *p, const cm_reply *reply)
{
    if (p->on_reply)
        p->on_reply(p->channel, reply, p->user);
    free(p);
}

/* Remove the pushes selected by `chosen` from the list before calling their callbacks, which may push. */
static void answer_pushes(cm_client *c, int (*chosen)(const push *, const void *), const void *argument,
                          enum cm_reply_kind kind)
{
    cm_reply reply = no_reply(kind);
    push *taken = NULL, **end = &taken;
    for (push *p = c->first_push, *next; p; p = next) {
        next = p->next;
        if (chosen(p, argument)) {
            unlink_push(c, p);
            p->next = NULL;
            *end = p;
            end = &p->next;
        }
    }
    while (taken) {
        push *p = taken;
        taken = p->next;
        answer_push(p, &reply);
    }
}

static int is_of(const push *p, const void *channel)
{
    return p->channel == channel;
}

static int is_due(const push *p, const void *now)
{
    return p->deadline <= *(const int64_t *)now;
}

static int send_push(push *p, int bounded)
{
    cm_channel *channel = p->channel;
    uint64_t ref = ++channel->client->last_ref;
    const char *payload = p->data + p->event_size;
    int status = p->binary ? send_binary(channel, ref, p->data, payload, p->size, bounded)
                           : send_text(channel, ref, p->data, payload, p->size, bounded);
    if (status == CM_OK)
        p->ref = ref;
    return status;
}

/* Send the pushes that waited for the join, in order. They were within the limits when they were accepted. */
static void send_waiting(cm_channel *channel)
{
    cm_client *c = channel->client;
    for (push *p = c->first_push, *next; p; p = next) {
        int status;
        next = p->next;
        if (p->channel != channel || p->ref != NO_REF)
            continue;
        status = send_push(p, 0);
        if (status != CM_OK) {
            c->failed = status; /* no memory: it will time out */
            return;
        }
        c->buffered_bytes -= p->event_size + p->size;
        if (!p->on_reply) {
            unlink_push(c, p);
            free(p);
        }
    }
}

static int add_push(cm_channel *channel, const char *event, const char *data, size_t size, int binary,
                    int timeout_ms, cm_reply_fn *on_reply, void *user)
{
    cm_client *c = channel->client;
    size_t event_size = strlen(event) + 1;
    int now = channel->state == CM_JOINED && c->state == CM_OPEN, status;
    push *p;
    if (c->pushes >= c->options.max_pushes)
        return fail(c, CM_EFULL, "%zu pushes wait (max_pushes is %zu); push again when replies have arrived", c->pushes,
                    c->options.max_pushes);
    if (!now && c->buffered_bytes + event_size + size > c->options.max_buffered_bytes)
        return fail(c, CM_EFULL, "%zu bytes wait for a join or to be sent (max_buffered_bytes is %zu)",
                    c->buffered_bytes, c->options.max_buffered_bytes);
    p = malloc(sizeof *p + event_size + size);
    if (!p)
        return no_memory(c);
    p->channel = channel;
    p->on_reply = on_reply;
    p->user = user;
    p->ref = NO_REF;
    p->deadline = now_ms() + (timeout_ms ? timeout_ms : c->options.timeout_ms);
    p->binary = binary;
    p->event_size = event_size;
    p->size = size;
    memcpy(p->data, event, event_size);
    if (size)
        memcpy(p->data + event_size, data, size);
    if (now) {
        push *small;
        status = send_push(p, 1);
        if (status != CM_OK || !on_reply) {
            free(p);
            return status;
        }
        small = realloc(p, sizeof *p); /* only the reply is needed from now on */
        p = small ? small : p;
    } else {
        c->buffered_bytes += event_size + size;
    }
    p->previous = c->last_push;
    p->next = NULL;
    *(c->last_push ? &c->last_push->next : &c->first_push) = p;
    c->last_push = p;
    c->pushes++;
    if (!c->push_deadline || p->deadline < c->push_deadline)
        c->push_deadline = p->deadline;
    return CM_OK;
}

/* ==== History ========================================================================================= */

static int is_position(const char *epoch, size_t size, long long offset)
{
    if (size >= CM_EPOCH_SIZE || offset < 0 || offset > MAX_OFFSET)
        return 0;
    for (size_t i = 0; i < size; i++)
        if (!(epoch[i] >= 'a' && epoch[i] <= 'z') && !(epoch[i] >= '0' && epoch[i] <= '9'))
            return 0;
    return 1;
}

/* Read the ref of a kept broadcast. */
static int read_position(cm_text ref, cm_position *out)
{
    const char *colon = ref.data ? memchr(ref.data, ':', ref.size) : NULL;
    size_t size = colon ? (size_t)(colon - ref.data) : 0, digits = ref.size - size - 1;
    long long offset = 0;
    if (!size || !digits || digits > 16)
        return 0;
    for (size_t i = 1; i <= digits; i++) {
        if (colon[i] < '0' || colon[i] > '9')
            return 0;
        offset = offset * 10 + (colon[i] - '0');
    }
    if (!is_position(ref.data, size, offset))
        return 0;
    memcpy(out->epoch, ref.data, size);
    out->epoch[size] = 0;
    out->offset = offset;
    return 1;
}

/* Read the position in the payload of history_state or history_position. */
static int payload_position(const cm_payload *payload, cm_position *out)
{
    double offset;
    if (payload->binary || cm_json_number(payload->data, payload->size, "offset", &offset) != CM_OK || offset < 0 ||
        offset > (double)MAX_OFFSET ||
        cm_json_string(payload->data, payload->size, "epoch", out->epoch, sizeof out->epoch) != CM_OK)
        return 0;
    out->offset = (long long)offset;
    return is_position(out->epoch, strlen(out->epoch), out->offset);
}

/* Move the position; returns 0 for a double. Until history_state, there may be broadcasts of an earlier join: they
 * come again. */
static int move(cm_channel *channel, const cm_position *to)
{
    cm_history *history = channel->history;
    if (!channel->answered || (history->known && !strcmp(history->position.epoch, to->epoch) &&
                               to->offset <= history->position.offset))
        return 0;
    history->position = *to;
    history->known = 1;
    return 1;
}

static void handle_history_state(cm_channel *channel, const cm_payload *payload)
{
    cm_position now;
    double count = 0;
    int recovered = 0;
    if (!payload_position(payload, &now))
        return;
    channel->answered = 1;
    cm_json_bool(payload->data, payload->size, "recovered", &recovered);
    cm_json_number(payload->data, payload->size, "count", &count);
    if (recovered && count > 0)
        return; /* the missed ones move the position, so that after another cut none is lost */
    channel->history->position = now;
    channel->history->known = 1;
    if (!recovered && channel->asked_after && channel->history->on_gap)
        channel->history->on_gap(channel, channel->user);
}

static void handle_history_position(cm_channel *channel, const cm_payload *payload)
{
    cm_position there;
    int status;
    if (!payload_position(payload, &there))
        return;
    status = cm_json_string(payload->data, payload->size, "event", channel->announced, sizeof channel->announced);
    if (status == CM_ENOTFOUND)
        move(channel, &there); /* of our own broadcast_from */
    else if (status == CM_OK)
        channel->announced_position = there; /* it counts when the binary broadcast has arrived */
    else
        channel->announced[0] = 0;
}

/* Whether an event is for the application, and no double. */
static int is_new(cm_channel *channel, const message *m)
{
    cm_position there = channel->announced_position;
    int announced = channel->announced[0] && !strcmp(channel->announced, m->event);
    channel->announced[0] = 0;
    if (!strcmp(m->event, "history_state"))
        handle_history_state(channel, &m->payload);
    else if (!strcmp(m->event, "history_position"))
        handle_history_position(channel, &m->payload);
    else
        return !(read_position(m->position, &there) || announced) || move(channel, &there);
    return 0;
}

/* The payload of a join: the application's, and what it asks for. Ours is the last "history", which takes precedence.
 * NULL without memory. */
static char *asking_payload(cm_channel *channel)
{
    const cm_history *history = channel->history;
    const char *start = strchr(channel->payload, '{') + 1, *end = strrchr(channel->payload, '}');
    const char *comma = strspn(start, " \t\r\n") == (size_t)(end - start) ? "" : ",";
    size_t room = (size_t)(end - start) + ASK_BYTES;
    char *out = malloc(room);
    int head;
    if (!out)
        return NULL;
    head = snprintf(out, room, "{%.*s%s\"history\":{", (int)(end - start), start, comma);
    if (history->known)
        snprintf(out + head, room - (size_t)head, "\"epoch\":\"%s\",\"offset\":%lld}}", history->position.epoch,
                 history->position.offset);
    else if (history->last)
        snprintf(out + head, room - (size_t)head, "\"last\":%d}}", history->last);
    else
        snprintf(out + head, room - (size_t)head, "}}");
    return out;
}

/* ==== Channels ======================================================================================== */

static int default_rejoin_after(int tries)
{
    static const int delays[] = {1000, 2000, 5000};
    return tries <= 3 ? delays[tries - 1] : 10000;
}

static void send_join(cm_channel *channel)
{
    cm_client *c = channel->client;
    char *payload = channel->history ? asking_payload(channel) : channel->payload;
    int status;
    channel->state = CM_JOINING;
    channel->join_ref = ++c->last_ref;
    channel->deadline = now_ms() + c->options.timeout_ms;
    channel->asked_after = channel->history && channel->history->known;
    channel->answered = channel->announced[0] = 0;
    status = payload ? send_text(channel, channel->join_ref, "phx_join", payload, strlen(payload), 0) : no_memory(c);
    if (status != CM_OK)
        c->failed = status; /* its time-out tries again */
    if (channel->history)
        free(payload);
}

static int send_leave(cm_channel *channel, uint64_t ref)
{
    return send_text(channel, ref, "phx_leave", "{}", 2, 0);
}

/* Invalidate everything in flight for this join; the channel rejoins automatically, now or after reconnecting. */
static void set_errored(cm_channel *channel)
{
    cm_client *c = channel->client;
    int tries;
    channel->state = CM_ERRORED;
    channel->join_ref = NO_REF;
    channel->deadline = 0;
    if (c->state != CM_OPEN)
        return;
    tries = ++channel->rejoin_tries;
    channel->deadline = now_ms() + (c->options.rejoin_after_ms ? c->options.rejoin_after_ms(tries, c->options.user)
                                                               : default_rejoin_after(tries));
}

static void set_closed(cm_channel *channel)
{
    channel->state = CM_CLOSED;
    channel->join_ref = NO_REF;
    channel->client->to_reap = 1;
}

static void tell_join(cm_channel *channel, const cm_reply *reply)
{
    if (channel->handlers.on_join)
        channel->handlers.on_join(channel, reply, channel->user);
}

static void tell_error(cm_channel *channel, const char *reason)
{
    if (channel->handlers.on_error)
        channel->handlers.on_error(channel, reason, channel->user);
}

/* Remove the closed channels from the list, then call their on_close and free them. */
static void reap(cm_client *c)
{
    while (c->to_reap) {
        cm_channel **link = &c->channels, *channel;
        while (*link && (*link)->state != CM_CLOSED)
            link = &(*link)->next;
        channel = *link;
        if (!channel) {
            c->to_reap = 0;
            return;
        }
        *link = channel->next;
        if (!*link)
            c->channels_end = link;
        answer_pushes(c, is_of, channel, CM_REPLY_CLOSED);
        if (channel->handlers.on_close)
            channel->handlers.on_close(channel, channel->user);
        free(channel->topic);
        free(channel->topic_json);
        free(channel->payload);
        free(channel);
    }
}

static void joined_or_not(cm_channel *channel, const cm_reply *reply)
{
    if (reply->kind == CM_REPLY_OK) {
        channel->state = CM_JOINED;
        channel->rejoin_tries = 0;
        channel->deadline = 0;
        send_waiting(channel);
    } else {
        set_errored(channel);
    }
    tell_join(channel, reply);
}

static void handle_reply(cm_channel *channel, const message *m)
{
    cm_client *c = channel->client;
    cm_reply reply;
    reply.status = m->status;
    reply.payload = m->payload;
    reply.kind = !strcmp(m->status, "ok")      ? CM_REPLY_OK
                 : !strcmp(m->status, "error") ? CM_REPLY_ERROR
                                               : CM_REPLY_OTHER;
    if (channel->state == CM_JOINING && m->ref == channel->join_ref) {
        joined_or_not(channel, &reply);
        return;
    }
    if (channel->state == CM_LEAVING && m->ref == channel->leave_ref) {
        set_closed(channel);
        return;
    }
    for (push *p = c->first_push; p; p = p->next)
        if (p->ref == m->ref && p->channel == channel) {
            unlink_push(c, p);
            answer_push(p, &reply);
            return;
        }
}

static void handle_event(cm_channel *channel, const message *m)
{
    if (m->reply) {
        if (m->ref != NO_REF)
            handle_reply(channel, m);
    } else if (!strcmp(m->event, "phx_close")) {
        set_closed(channel);
    } else if (channel->state == CM_LEAVING) {
        return;
    } else if (!strcmp(m->event, "phx_error")) {
        char reason[200] = "the channel crashed";
        if (channel->state == CM_ERRORED)
            return;
        if (!m->payload.binary)
            cm_json_string(m->payload.data, m->payload.size, "reason", reason, sizeof reason);
        set_errored(channel);
        tell_error(channel, reason);
    } else if ((!channel->history || is_new(channel, m)) && channel->handlers.on_event) {
        channel->handlers.on_event(channel, m->event, &m->payload, channel->user);
    }
}

static void dispatch(cm_client *c, const message *m)
{
    unsigned long session = c->session;
    for (cm_channel *channel = c->channels; channel && c->session == session; channel = channel->next)
        if (channel->state != CM_CLOSED && channel->topic_size == m->topic_size &&
            !memcmp(channel->topic, m->topic, m->topic_size) &&
            (m->join_ref == NO_REF || m->join_ref == channel->join_ref))
            handle_event(channel, m);
}

/* ==== The connection ================================================================================== */

static int default_reconnect_after(int tries)
{
    static const int delays[] = {10, 50, 100, 150, 200, 250, 500, 1000, 2000};
    return tries <= 9 ? delays[tries - 1] : 5000;
}

static void drop_socket(cm_client *c, int linger)
{
    c->session++;
    c->broken = NULL;
    while (c->outbox)
        drop_kept(c);
    if (c->monitor) {
        zmq_socket_monitor(c->dealer, NULL, 0);
        zmq_close(c->monitor);
        c->monitor = NULL;
    }
    if (c->dealer) {
        zmq_setsockopt(c->dealer, ZMQ_LINGER, &linger, sizeof linger);
        zmq_close(c->dealer);
        c->dealer = NULL;
    }
}

static int set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value);
}

/* All options before connecting: later ones have no effect. */
static int set_options(cm_client *c)
{
    void *s = c->dealer;
    int64_t largest = c->options.max_receive_bytes > INT64_MAX ? INT64_MAX : (int64_t)c->options.max_receive_bytes;
    if (set_int(s, ZMQ_LINGER, 0) || zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &largest, sizeof largest) ||
        set_int(s, ZMQ_RECONNECT_IVL, NEVER_MS) ||
        set_int(s, ZMQ_HANDSHAKE_IVL, c->options.timeout_ms) || set_int(s, ZMQ_CONNECT_TIMEOUT, c->options.timeout_ms) ||
        set_int(s, ZMQ_TCP_KEEPALIVE, 1) || set_int(s, ZMQ_TCP_KEEPALIVE_IDLE, KEEPALIVE_SECONDS) ||
        set_int(s, ZMQ_TCP_KEEPALIVE_INTVL, KEEPALIVE_SECONDS) || set_int(s, ZMQ_TCP_KEEPALIVE_CNT, KEEPALIVE_PROBES) ||
        set_int(s, ZMQ_TCP_MAXRT, KEEPALIVE_SECONDS * (KEEPALIVE_PROBES + 1) * 1000) ||
        (strchr(c->address, '[') && set_int(s, ZMQ_IPV6, 1)))
        return -1;
    if (!c->server_key[0])
        return 0;
    return zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, c->server_key, 41) ||
           zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, c->public_key, 41) ||
           zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, c->secret_key, 41);
}

static int watch(cm_client *c)
{
    char name[80];
    snprintf(name, sizeof name, "inproc://channelmesh-%p-%lu", (void *)c, c->session);
    if (zmq_socket_monitor(c->dealer, name,
                           ZMQ_EVENT_CLOSED | ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_DISCONNECTED |
                               ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                               ZMQ_EVENT_HANDSHAKE_FAILED_AUTH))
        return -1;
    c->monitor = zmq_socket(c->context, ZMQ_PAIR);
    if (!c->monitor) {
        zmq_socket_monitor(c->dealer, NULL, 0);
        return -1;
    }
    return set_int(c->monitor, ZMQ_LINGER, 0) || zmq_connect(c->monitor, name);
}

/* Make a new socket, and send the request to open a connection. */
static int attempt(cm_client *c)
{
    int status = CM_OK;
    drop_socket(c, 0);
    c->dealer = zmq_socket(c->context, ZMQ_DEALER);
    if (!c->dealer || set_options(c) || watch(c))
        status = zmq_failed(c, "cannot create a socket");
    else if (zmq_connect(c->dealer, c->address))
        status = fail(c, zmq_errno() == EINVAL || zmq_errno() == EPROTONOSUPPORT ? CM_EADDRESS : CM_EZMQ,
                      "'%.120s': %s (want tcp://HOST:PORT or ipc://PATH)", c->address, zmq_strerror(zmq_errno()));
    else
        status = send_frame(c, 'O', c->opening, strlen(c->opening), 0);
    if (status != CM_OK) {
        drop_socket(c, 0);
        return status;
    }
    c->state = CM_CONNECTING;
    c->due = now_ms() + c->options.timeout_ms;
    return CM_OK;
}

/* Handle the end of the connection or of an attempt: report it, and schedule the next attempt. */
static void lost(cm_client *c, enum cm_end_kind kind, int code, const char *reason)
{
    cm_end end = {kind, code, reason, 0};
    unsigned long session;
    drop_socket(c, 0);
    session = c->session;
    c->tries++;
    end.retry_ms = c->options.reconnect_after_ms ? c->options.reconnect_after_ms(c->tries, c->options.user)
                                                 : default_reconnect_after(c->tries);
    c->state = CM_WAITING;
    c->due = now_ms() + end.retry_ms;
    for (cm_channel *channel = c->channels; channel && c->session == session; channel = channel->next) {
        if (channel->state == CM_LEAVING) {
            set_closed(channel);
        } else if (channel->state == CM_JOINED || (channel->state == CM_JOINING && channel->join_ref != NO_REF)) {
            set_errored(channel);
            tell_error(channel, reason);
        } else if (channel->state == CM_ERRORED) {
            channel->deadline = 0;
        }
    }
    if (c->session == session && c->options.on_end)
        c->options.on_end(c, &end, c->options.user);
}

/* Convert a number from the gateway to an int; 0 if it is out of range. */
static int small_number(const char *data, size_t size, const char *key)
{
    double value;
    if (cm_json_number(data, size, key, &value) != CM_OK || !(value >= 0 && value < 100000))
        return 0;
    return (int)value;
}

static void handle_opened(cm_client *c, const char *data, size_t size)
{
    double idle;
    c->interval = c->options.heartbeat_ms;
    if (cm_json_number(data, size, "idle_timeout_seconds", &idle) == CM_OK && idle > 0 &&
        idle * 500 < (double)c->interval)
        c->interval = idle * 500 < 10 ? 10 : (int64_t)(idle * 500);
    c->state = CM_OPEN;
    c->tries = 0;
    c->asked = 0;
    c->due = now_ms() + c->interval;
    for (cm_channel *channel = c->channels; channel; channel = channel->next) {
        channel->rejoin_tries = 0;
        if (channel->state == CM_JOINING || channel->state == CM_ERRORED)
            send_join(channel);
    }
    if (c->options.on_open)
        c->options.on_open(c, c->options.user);
}

static void handle_end(cm_client *c, char kind, char *data, size_t size)
{
    int refused = kind == 'R';
    int code = small_number(data, size, refused ? "status" : "code");
    cm_text reason;
    const char *text = refused ? "refused" : "closed";
    if (cm_json_get(data, size, "reason", &reason) == CM_OK && reason.data[0] == '"' && in_place(data, reason))
        text = reason.data;
    lost(c, refused ? CM_END_REFUSED : CM_END_CLOSED, code, text);
}

static void dropped(cm_client *c, const char *why)
{
    if (c->options.on_dropped)
        c->options.on_dropped(c, why, c->options.user);
}

/* `data` may be modified, and a NUL follows it. */
static void handle_message(cm_client *c, char kind, char *data, size_t size)
{
    message m = {NO_REF, NO_REF, NULL, NULL, 0, 0, {NULL, 0}, NULL, {NULL, 0, 0}};
    const char *wrong;
    c->asked = 0;
    switch (kind) {
    case 'O':
        if (c->state == CM_CONNECTING)
            handle_opened(c, data, size);
        return;
    case 'R':
    case 'C': handle_end(c, kind, data, size); return;
    case 'P': return;
    case 'T':
    case 'B':
        if (c->state != CM_OPEN)
            return;
        wrong = kind == 'T' ? read_text(data, size, &m) : read_binary(data, size, &m);
        if (wrong)
            dropped(c, wrong);
        else
            dispatch(c, &m);
        return;
    default: dropped(c, "a message of an unknown kind");
    }
}

/* Receive one frame into allocated memory. Returns whether more frames follow; -1 if there is none. */
static int receive_frame(cm_client *c, char **data, size_t *size)
{
    zmq_msg_t part;
    int more;
    zmq_msg_init(&part);
    if (zmq_msg_recv(&part, c->dealer, ZMQ_DONTWAIT) < 0) {
        if (zmq_errno() != EAGAIN && zmq_errno() != EINTR)
            c->failed = zmq_failed(c, "cannot receive");
        zmq_msg_close(&part);
        return -1;
    }
    *size = zmq_msg_size(&part);
    *data = malloc(*size + 1);
    if (*data) {
        if (*size)
            memcpy(*data, zmq_msg_data(&part), *size);
        (*data)[*size] = 0;
    } else {
        c->failed = no_memory(c);
    }
    more = zmq_msg_more(&part);
    zmq_msg_close(&part);
    return more;
}

static int receive_message(cm_client *c)
{
    char *frames[2] = {NULL, NULL};
    size_t sizes[2] = {0, 0};
    int count = 0, more = 1, whole = 1;
    while (more > 0) {
        char *data = NULL;
        size_t size = 0;
        more = receive_frame(c, &data, &size);
        if (more < 0)
            break;
        if (!data)
            whole = 0;
        if (count < 2) {
            frames[count] = data;
            sizes[count] = size;
        } else {
            free(data);
        }
        count++;
    }
    if (more == 0 && whole) {
        char nothing = 0;
        if (sizes[0] != 1 || count > 2)
            dropped(c, "a message that does not consist of a one-letter kind and a content");
        else
            handle_message(c, frames[0][0], count == 2 ? frames[1] : &nothing, sizes[1]);
    }
    free(frames[0]);
    free(frames[1]);
    return more == 0;
}

static void receive(cm_client *c)
{
    unsigned long session = c->session;
    int left = BATCH;
    /* Once the connection has ended, read everything: nothing more arrives, and the last message gives the reason. */
    while (c->dealer && c->session == session && (c->broken || left--))
        if (!receive_message(c))
            return;
}

static const char *meaning(unsigned event)
{
    switch (event) {
    case ZMQ_EVENT_DISCONNECTED: return "the connection broke";
    case ZMQ_EVENT_CLOSED:
    case ZMQ_EVENT_CONNECT_RETRIED: return "nothing listens at this address";
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL: return "the handshake failed; does the gateway have another key?";
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        return "the handshake failed; is the peer not ZeroMQ, or is CURVE enabled on one side only?";
    default: return "the handshake failed; the gateway does not accept this key";
    }
}

static void read_monitor(cm_client *c)
{
    unsigned char head[6];
    while (c->monitor && zmq_recv(c->monitor, head, sizeof head, ZMQ_DONTWAIT) == (int)sizeof head) {
        uint16_t event;
        memcpy(&event, head, sizeof event);
        zmq_recv(c->monitor, head, sizeof head, ZMQ_DONTWAIT); /* the address */
        /* The first event is the most specific: a failed handshake is followed by a disconnect. */
        if (!c->broken)
            c->broken = meaning(event);
    }
}

/* ==== Time ============================================================================================ */

static void check_connection(cm_client *c, int64_t now)
{
    char why[80];
    if (c->state == CM_DISCONNECTED)
        return;
    if (c->state == CM_OPEN && c->asked && now - c->asked >= c->options.heartbeat_ms) {
        snprintf(why, sizeof why, "no sign of life within %d ms", c->options.heartbeat_ms);
        lost(c, CM_END_LOST, 0, why);
        return;
    }
    if (now < c->due)
        return;
    if (c->state == CM_CONNECTING) {
        snprintf(why, sizeof why, "no answer within %d ms", c->options.timeout_ms);
        lost(c, CM_END_LOST, 0, why);
    } else if (c->state == CM_WAITING) {
        if (attempt(c) != CM_OK) {
            char reason[sizeof c->detail];
            memcpy(reason, c->detail, sizeof reason);
            lost(c, CM_END_LOST, 0, reason);
        }
    } else {
        if (!c->asked)
            c->asked = now;
        c->due = now + c->interval;
        if (send_frame(c, 'P', "", 0, 0) != CM_OK)
            c->failed = CM_EZMQ;
    }
}

static void check_channel(cm_channel *channel)
{
    cm_reply reply = no_reply(CM_REPLY_TIMEOUT);
    switch (channel->state) {
    case CM_JOINING:
        if (channel->join_ref != NO_REF)
            send_leave(channel, ++channel->client->last_ref); /* the server may still be handling the join */
        set_errored(channel);
        tell_join(channel, &reply);
        return;
    case CM_ERRORED: send_join(channel); return;
    case CM_LEAVING: set_closed(channel); return;
    default: return;
    }
}

static void check_times(cm_client *c)
{
    int64_t now = now_ms();
    check_connection(c, now);
    for (cm_channel *channel = c->channels; channel; channel = channel->next)
        if (channel->deadline && channel->deadline <= now)
            check_channel(channel);
    if (c->push_deadline && c->push_deadline <= now) {
        c->push_deadline = 0;
        for (push *p = c->first_push; p; p = p->next)
            if (p->deadline > now && (!c->push_deadline || p->deadline < c->push_deadline))
                c->push_deadline = p->deadline;
        answer_pushes(c, is_due, &now, CM_REPLY_TIMEOUT);
    }
}

static int64_t earlier(int64_t a, int64_t b)
{
    return !a || (b && b < a) ? b : a;
}

/* Whether a socket has work for us now. Reading ZMQ_EVENTS also re-arms its edge-triggered descriptor. */
static int is_ready(void *socket, int wanted)
{
    int events = 0;
    size_t size = sizeof events;
    return socket && !zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) && (events & wanted);
}

int cm_wait_ms(cm_client *c)
{
    int64_t due, now = now_ms();
    if (!c)
        return -1;
    if (c->to_reap || is_ready(c->monitor, ZMQ_POLLIN) ||
        is_ready(c->dealer, ZMQ_POLLIN | (c->outbox ? ZMQ_POLLOUT : 0)))
        return 0;
    due = c->state == CM_DISCONNECTED ? 0 : c->due;
    if (c->state == CM_OPEN && c->asked)
        due = earlier(due, c->asked + c->options.heartbeat_ms);
    for (cm_channel *channel = c->channels; channel; channel = channel->next)
        due = earlier(due, channel->deadline);
    due = earlier(due, c->push_deadline);
    if (!due)
        return -1;
    return due <= now ? 0 : due - now > INT32_MAX ? INT32_MAX : (int)(due - now);
}

int cm_fds(const cm_client *c, int fds[CM_MAX_FDS])
{
    int count = 0;
    size_t size = sizeof(int);
    if (!c || !fds)
        return 0;
    if (c->dealer && !zmq_getsockopt(c->dealer, ZMQ_FD, &fds[count], &size))
        count++;
    size = sizeof(int);
    if (c->monitor && !zmq_getsockopt(c->monitor, ZMQ_FD, &fds[count], &size))
        count++;
    return count;
}

int cm_poll(cm_client *c, int timeout_ms)
{
    zmq_pollitem_t items[2] = {{NULL, 0, 0, 0}, {NULL, 0, 0, 0}};
    int wait, count = 0;
    if (!c || timeout_ms < -1)
        return CM_EINVAL;
    if (c->in_callback)
        return fail(c, CM_ESTATE, "cm_poll was called from within a callback");
    wait = cm_wait_ms(c);
    if (wait < 0 || (timeout_ms >= 0 && timeout_ms < wait))
        wait = timeout_ms;
    if (wait < 0 && !c->dealer)
        return fail(c, CM_ESTATE, "the client is not connected, so there is nothing to wait for; "
                                   "call cm_connect first");
    if (c->dealer) {
        items[count].socket = c->dealer;
        items[count++].events = (short)(ZMQ_POLLIN | (c->outbox ? ZMQ_POLLOUT : 0));
        items[count].socket = c->monitor;
        items[count++].events = ZMQ_POLLIN;
    }
    if (zmq_poll(items, count, wait) < 0)
        return zmq_errno() == EINTR ? CM_OK : zmq_failed(c, "cannot wait");

    c->in_callback = 1;
    c->failed = CM_OK;
    read_monitor(c);
    receive(c);
    if (c->broken)
        lost(c, CM_END_LOST, 0, c->broken);
    flush_outbox(c);
    check_times(c);
    reap(c);
    c->in_callback = 0;
    return c->failed;
}

/* ==== The public functions ============================================================================ */

const char *cm_strerror(int status)
{
    switch (status) {
    case CM_OK: return "no error";
    case CM_EINVAL: return "an argument is missing or out of range";
    case CM_ENOMEM: return "no memory";
    case CM_ESTATE: return "not allowed in this state: already connected, or called from within a callback";
    case CM_EADDRESS: return "not a ZeroMQ address: want tcp://HOST:PORT or ipc://PATH";
    case CM_EKEY: return "not a CURVE key of 40 characters of Z85, or half of a key pair";
    case CM_ENOCURVE: return "this libzmq was built without CURVE";
    case CM_EEXIST: return "this client has a channel on that topic: leave it first";
    case CM_ECLOSED: return "the channel was left or closed: join again";
    case CM_EFULL: return "too much is waiting already: push less, or try later";
    case CM_ETOOBIG: return "longer than its limit";
    case CM_EJSON: return "not JSON, or not an object where an object is required";
    case CM_EUTF8: return "not UTF-8";
    case CM_ENOTFOUND: return "no such key, or no more elements";
    case CM_ETYPE: return "the value has another type";
    case CM_EZMQ: return "libzmq failed";
    default: return "unknown status";
    }
}

const char *cm_detail(const cm_client *c)
{
    return c ? c->detail : "";
}

enum cm_state cm_client_state(const cm_client *c)
{
    return c ? c->state : CM_DISCONNECTED;
}

void *cm_client_user(const cm_client *c)
{
    return c ? c->options.user : NULL;
}

void cm_options_init(cm_options *o)
{
    if (!o)
        return;
    memset(o, 0, sizeof *o);
    o->path = "/socket";
    o->params = "{}";
    o->timeout_ms = 10000;
    o->heartbeat_ms = 30000;
    o->max_send_bytes = 1000000;
    o->max_receive_bytes = 16 << 20;
    o->max_buffered_bytes = 8 << 20;
    o->max_pushes = 10000;
}

/* Check JSON that is to be sent. */
static int check_json(cm_client *c, const char *what, const char *json, int object)
{
    size_t wrong, start = strspn(json, " \t\r\n");
    if (!is_json(json, strlen(json), 1, &wrong))
        return fail(c, CM_EJSON, "%s is not JSON, or nests deeper than %d levels, or has a number beyond a double: "
                                 "byte %zu of '%.60s'", what, SEND_LEVELS, wrong, json);
    if (object && json[start] != '{')
        return fail(c, CM_EJSON, "%s is not a JSON object: '%.60s'", what, json);
    return CM_OK;
}

/* `{"path":…,"params":{…,"vsn":"2.0.0"}}`: our vsn is the last one, which takes precedence. */
static int set_opening(cm_client *c, const char *params)
{
    static const char format[] = "{\"path\":%s,\"params\":{%.*s%s\"vsn\":\"2.0.0\"}}";
    const char *start, *end;
    char *opening;
    cm_text value;
    size_t room;
    int status = check_json(c, "params", params, 1);
    if (status != CM_OK)
        return status;
    if (cm_json_get(params, strlen(params), "format", &value) == CM_OK)
        return fail(c, CM_EINVAL, "params must not have a \"format\": this client speaks JSON");
    start = strchr(params, '{') + 1;
    end = strrchr(params, '}');
    room = strlen(c->path_json) + (size_t)(end - start) + sizeof format;
    if (room > c->options.max_send_bytes || room > INT32_MAX)
        return fail(c, CM_ETOOBIG, "params of %zu bytes (max_send_bytes is %zu)", strlen(params),
                    c->options.max_send_bytes);
    opening = malloc(room);
    if (!opening)
        return no_memory(c);
    snprintf(opening, room, format, c->path_json, (int)(end - start), start,
             strspn(start, " \t\r\n") == (size_t)(end - start) ? "" : ",");
    free(c->opening);
    c->opening = opening;
    return CM_OK;
}

static int set_key(cm_client *c, const char *name, const char *key, char out[41])
{
    uint8_t raw[32];
    if (strlen(key) != 40 || !zmq_z85_decode(raw, key))
        return fail(c, CM_EKEY, "%s is not 40 characters of Z85", name);
    memcpy(out, key, 41);
    return CM_OK;
}

static int set_keys(cm_client *c, const cm_options *o)
{
    int status;
    if (!o->public_key != !o->secret_key)
        return fail(c, CM_EKEY, "public_key and secret_key: set both or neither");
    if (!o->server_key)
        return o->public_key ? fail(c, CM_EKEY, "public_key and secret_key have no effect without server_key") : CM_OK;
    if (!zmq_has("curve"))
        return fail(c, CM_ENOCURVE, "%s", cm_strerror(CM_ENOCURVE));
    status = set_key(c, "server_key", o->server_key, c->server_key);
    if (status != CM_OK)
        return status;
    if (!o->public_key)
        return zmq_curve_keypair(c->public_key, c->secret_key) ? zmq_failed(c, "cannot generate keys") : CM_OK;
    status = set_key(c, "public_key", o->public_key, c->public_key);
    return status != CM_OK ? status : set_key(c, "secret_key", o->secret_key, c->secret_key);
}

static int set_up(cm_client *c, const cm_options *o)
{
    int status;
    if (!o->address || !o->path || !o->params)
        return fail(c, CM_EINVAL, "address, path and params must be set (cm_options_init gives path and params)");
    if (o->timeout_ms < 1 || o->heartbeat_ms < 1)
        return fail(c, CM_EINVAL, "timeout_ms %d and heartbeat_ms %d must be at least 1 (call cm_options_init first)",
                    o->timeout_ms, o->heartbeat_ms);
    if (!o->max_send_bytes || !o->max_receive_bytes || !o->max_buffered_bytes || !o->max_pushes)
        return fail(c, CM_EINVAL, "the limits max_… must not be 0 (call cm_options_init first)");
    c->address = copy_text(o->address);
    if (!c->address)
        return no_memory(c);
    c->path_json = quoted(o->path, &status);
    if (!c->path_json)
        return fail(c, status, "path: %s", cm_strerror(status));
    status = set_opening(c, o->params);
    if (status == CM_OK)
        status = set_keys(c, o);
    if (status != CM_OK)
        return status;
    c->context = o->zmq_context;
    if (!c->context) {
        c->context = zmq_ctx_new();
        c->owns_context = 1;
    }
    return c->context ? CM_OK : zmq_failed(c, "cannot create a ZeroMQ context");
}

static void free_client(cm_client *c)
{
    volatile char *secret = c->secret_key;
    drop_socket(c, LINGER_MS);
    if (c->context && c->owns_context)
        while (zmq_ctx_term(c->context) && zmq_errno() == EINTR)
            ;
    for (size_t i = 0; i < sizeof c->secret_key; i++)
        secret[i] = 0;
    free(c->address);
    free(c->path_json);
    free(c->opening);
    free(c);
}

int cm_client_new(const cm_options *options, cm_client **client, char *why, size_t size)
{
    cm_client *c;
    int status;
    if (client)
        *client = NULL;
    if (!options || !client) {
        if (why && size)
            snprintf(why, size, "options and client must not be NULL");
        return CM_EINVAL;
    }
    c = calloc(1, sizeof *c);
    if (!c) {
        if (why && size)
            snprintf(why, size, "%s", cm_strerror(CM_ENOMEM));
        return CM_ENOMEM;
    }
    c->options = *options;
    c->channels_end = &c->channels;
    c->outbox_end = &c->outbox;
    status = set_up(c, options);
    if (status != CM_OK) {
        if (why && size)
            snprintf(why, size, "%s", c->detail);
        free_client(c);
        return status;
    }
    c->options.address = c->options.path = c->options.params = NULL;
    c->options.server_key = c->options.public_key = c->options.secret_key = NULL;
    *client = c;
    return CM_OK;
}

int cm_client_free(cm_client *c)
{
    if (!c)
        return CM_OK;
    if (c->in_callback)
        return fail(c, CM_ESTATE, "cm_client_free was called from within a callback");
    c->in_callback = c->ending = 1;
    cm_disconnect(c);
    for (cm_channel *channel = c->channels; channel; channel = channel->next)
        set_closed(channel);
    reap(c);
    free_client(c);
    return CM_OK;
}

int cm_set_params(cm_client *c, const char *params)
{
    return c && params ? set_opening(c, params) : CM_EINVAL;
}

int cm_connect(cm_client *c)
{
    if (!c)
        return CM_EINVAL;
    if (c->state != CM_DISCONNECTED || c->ending)
        return fail(c, CM_ESTATE, c->ending ? "the client is being freed"
                                            : "the client is connected or connecting: call cm_disconnect first");
    c->tries = 0;
    return attempt(c);
}

int cm_disconnect(cm_client *c)
{
    if (!c)
        return CM_EINVAL;
    if (c->state == CM_OPEN) {
        flush_outbox(c);
        zmq_take(c, 'C', "", 0);
    }
    drop_socket(c, LINGER_MS);
    c->state = CM_DISCONNECTED;
    for (cm_channel *channel = c->channels; channel; channel = channel->next) {
        if (channel->state == CM_LEAVING)
            set_closed(channel);
        else if (channel->state != CM_CLOSED)
            set_errored(channel);
    }
    return CM_OK;
}

/* The size of `text` as a JSON string. */
static size_t quoted_size(const char *text)
{
    size_t size = 2;
    for (const unsigned char *at = (const unsigned char *)text; *at; at++)
        size += *at < 0x20 ? 6 : *at == '"' || *at == '\\' ? 2 : 1;
    return size;
}

/* Check that a message with this payload does not exceed max_send_bytes. */
static int check_size(cm_client *c, const char *topic_json, const char *event, size_t size)
{
    size_t whole = size + strlen(topic_json) + quoted_size(event) + 64;
    if (size > c->options.max_send_bytes || whole > c->options.max_send_bytes)
        return fail(c, CM_ETOOBIG, "%zu bytes of payload do not fit a message (max_send_bytes is %zu)", size,
                    c->options.max_send_bytes);
    return CM_OK;
}

static int check_payload(cm_client *c, const char *topic_json, const char *event, const char *payload)
{
    int status = check_json(c, "the payload", payload, 0);
    return status != CM_OK ? status : check_size(c, topic_json, event, strlen(payload));
}

static int check_join(cm_client *c, const char *topic_json, const char *payload, const cm_history *history)
{
    int status = check_json(c, "the payload", payload, history != NULL);
    return status != CM_OK ? status
                           : check_size(c, topic_json, "phx_join", strlen(payload) + (history ? ASK_BYTES : 0));
}

static int join(cm_client *c, const char *topic, const char *payload, const cm_handlers *handlers, void *user,
                cm_history *history, cm_channel **out)
{
    cm_channel *channel;
    int status;
    if (out)
        *out = NULL;
    if (!c)
        return CM_EINVAL;
    if (c->ending)
        return fail(c, CM_ESTATE, "the client is being freed");
    if (!topic || !*topic)
        return fail(c, CM_EINVAL, "a topic must not be empty");
    for (channel = c->channels; channel; channel = channel->next)
        if (!strcmp(channel->topic, topic) && channel->state != CM_LEAVING && channel->state != CM_CLOSED)
            return fail(c, CM_EEXIST, "'%.120s': %s", topic, cm_strerror(CM_EEXIST));
    channel = calloc(1, sizeof *channel);
    if (!channel)
        return no_memory(c);
    channel->client = c;
    channel->user = user;
    channel->history = history;
    if (handlers)
        channel->handlers = *handlers;
    channel->topic_json = quoted(topic, &status);
    if (!channel->topic_json) {
        fail(c, status, "topic: %s", cm_strerror(status));
    } else if ((status = check_join(c, channel->topic_json, payload ? payload : "{}", history)) == CM_OK) {
        channel->topic = copy_text(topic);
        channel->payload = copy_text(payload ? payload : "{}");
        if (!channel->topic || !channel->payload)
            status = no_memory(c);
    }
    if (status != CM_OK) {
        free(channel->topic);
        free(channel->topic_json);
        free(channel->payload);
        free(channel);
        return status;
    }
    channel->topic_size = strlen(topic);
    channel->state = CM_JOINING;
    channel->deadline = now_ms() + c->options.timeout_ms;
    *c->channels_end = channel;
    c->channels_end = &channel->next;
    if (c->state == CM_OPEN)
        send_join(channel);
    if (out)
        *out = channel;
    return CM_OK;
}

int cm_join(cm_client *c, const char *topic, const char *payload, const cm_handlers *handlers, void *user,
            cm_channel **out)
{
    return join(c, topic, payload, handlers, user, NULL, out);
}

int cm_join_history(cm_client *c, const char *topic, const char *payload, const cm_handlers *handlers, void *user,
                    cm_history *history, cm_channel **out)
{
    if (out)
        *out = NULL;
    if (!c)
        return CM_EINVAL;
    if (!history)
        return fail(c, CM_EINVAL, "history must not be NULL");
    if (history->last < 0)
        return fail(c, CM_EINVAL, "history.last is %d; want 1 or more, or 0 for none", history->last);
    if (history->known && (!memchr(history->position.epoch, 0, CM_EPOCH_SIZE) ||
                           !is_position(history->position.epoch, strlen(history->position.epoch),
                                        history->position.offset)))
        return fail(c, CM_EINVAL, "history.position '%.64s' %lld is none: want an epoch of a-z and 0-9, and an offset "
                                  "from 0 to %lld", history->position.epoch, history->position.offset, MAX_OFFSET);
    return join(c, topic, payload, handlers, user, history, out);
}

int cm_set_join_payload(cm_channel *channel, const char *payload)
{
    char *copy;
    int status;
    if (!channel || !payload)
        return CM_EINVAL;
    status = check_join(channel->client, channel->topic_json, payload, channel->history);
    if (status != CM_OK)
        return status;
    copy = copy_text(payload);
    if (!copy)
        return no_memory(channel->client);
    free(channel->payload);
    channel->payload = copy;
    return CM_OK;
}

static int is_utf8(const char *text)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + strlen(text);
    while (at < end) {
        size_t length = utf8_length(at, end);
        if (!length)
            return 0;
        at += length;
    }
    return 1;
}

static int check_push(cm_channel *channel, const char *event, int timeout_ms)
{
    cm_client *c = channel->client;
    if (channel->state == CM_LEAVING || channel->state == CM_CLOSED)
        return fail(c, CM_ECLOSED, "'%.120s': %s", channel->topic, cm_strerror(CM_ECLOSED));
    if (timeout_ms < 0)
        return fail(c, CM_EINVAL, "timeout_ms is %d; want 1 or more, or 0 for the client's", timeout_ms);
    if (!event || !*event || !strncmp(event, "phx_", 4))
        return fail(c, CM_EINVAL, "'%.60s' cannot be pushed: an event must not be empty or begin with phx_",
                    event ? event : "");
    if (!is_utf8(event))
        return fail(c, CM_EUTF8, "event: %s", cm_strerror(CM_EUTF8));
    return CM_OK;
}

int cm_push(cm_channel *channel, const char *event, const char *payload, int timeout_ms, cm_reply_fn *on_reply,
            void *user)
{
    int status;
    if (!channel)
        return CM_EINVAL;
    if (!payload)
        payload = "{}";
    status = check_push(channel, event, timeout_ms);
    if (status == CM_OK)
        status = check_payload(channel->client, channel->topic_json, event, payload);
    if (status != CM_OK)
        return status;
    return add_push(channel, event, payload, strlen(payload), 0, timeout_ms, on_reply, user);
}

int cm_push_binary(cm_channel *channel, const char *event, const void *data, size_t size, int timeout_ms,
                   cm_reply_fn *on_reply, void *user)
{
    int status;
    if (!channel || (!data && size))
        return CM_EINVAL;
    status = check_push(channel, event, timeout_ms);
    if (status == CM_OK)
        status = check_size(channel->client, channel->topic_json, event, size);
    if (status != CM_OK)
        return status;
    if (channel->topic_size > FIELD_BYTES || strlen(event) > FIELD_BYTES)
        return fail(channel->client, CM_ETOOBIG, "a topic of %zu and an event of %zu bytes; with a binary "
                                                 "payload, each may have at most %d",
                    channel->topic_size, strlen(event), FIELD_BYTES);
    return add_push(channel, event, data, size, 1, timeout_ms, on_reply, user);
}

int cm_leave(cm_channel *channel)
{
    cm_client *c;
    if (!channel)
        return CM_EINVAL;
    c = channel->client;
    if (channel->state == CM_LEAVING || channel->state == CM_CLOSED)
        return fail(c, CM_ECLOSED, "'%.120s': %s", channel->topic, cm_strerror(CM_ECLOSED));
    channel->leave_ref = ++c->last_ref;
    if (channel->join_ref == NO_REF || c->state != CM_OPEN || send_leave(channel, channel->leave_ref) != CM_OK) {
        set_closed(channel);
        return CM_OK;
    }
    channel->state = CM_LEAVING;
    channel->deadline = now_ms() + c->options.timeout_ms;
    return CM_OK;
}

enum cm_channel_state cm_channel_state(const cm_channel *channel)
{
    return channel ? channel->state : CM_CLOSED;
}

const char *cm_channel_topic(const cm_channel *channel)
{
    return channel ? channel->topic : "";
}

cm_client *cm_channel_client(const cm_channel *channel)
{
    return channel ? channel->client : NULL;
}

void *cm_channel_user(const cm_channel *channel)
{
    return channel ? channel->user : NULL;
}
