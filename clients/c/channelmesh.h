/* Channelmesh over plain ZeroMQ: a client for Phoenix Channels in C99, over libzmq >= 4.3 and nothing else.
 *
 * A client has one connection to a gateway and any number of channels on it. It reconnects and rejoins
 * automatically, like phoenix.js. cm_poll does all the work, and is the only function that calls your callbacks,
 * except for cm_client_free, which reports what it ends. The protocol is described in docs/protocol.md,
 * section 1.2.
 *
 * Memory: arguments are copied before the call returns and remain yours. What a callback receives is valid until
 * that callback returns.
 * Threads: the library starts none (libzmq has its own I/O threads). A client may be used by one thread at a
 * time; clients are independent of each other, and there is no global state.
 * Text is UTF-8. Payloads are JSON text or bytes; the library interprets the envelope only.
 */
#ifndef CHANNELMESH_H
#define CHANNELMESH_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- What functions return -------------------------------------------------------------------------- */

enum cm_status {
    CM_OK = 0,
    CM_EINVAL = -1,    /* an argument is missing or out of range */
    CM_ENOMEM = -2,    /* no memory */
    CM_ESTATE = -3,    /* not allowed in this state: already connected, or called from within a callback */
    CM_EADDRESS = -4,  /* not a ZeroMQ address */
    CM_EKEY = -5,      /* not a CURVE key, or half of a key pair */
    CM_ENOCURVE = -6,  /* this libzmq was built without CURVE */
    CM_EEXIST = -7,    /* this client has a channel on that topic */
    CM_ECLOSED = -8,   /* the channel was left or closed */
    CM_EFULL = -9,     /* too much is waiting already */
    CM_ETOOBIG = -10,  /* longer than its limit */
    CM_EJSON = -11,    /* not JSON, or not an object where an object is required */
    CM_EUTF8 = -12,    /* not UTF-8 */
    CM_ENOTFOUND = -13, /* no such key, or no more elements */
    CM_ETYPE = -14,    /* the value has another type */
    CM_EZMQ = -15      /* libzmq failed; cm_detail has its error message */
};

/* Return an English description of any status. Never NULL. */
const char *cm_strerror(int status);

/* ---- Options ---------------------------------------------------------------------------------------- */

typedef struct cm_client cm_client;
typedef struct cm_channel cm_channel;

/* Why a connection, or an attempt, ended. */
enum cm_end_kind {
    CM_END_LOST = 1, /* no gateway, connection lost, or heartbeat unanswered; code is 0 */
    CM_END_REFUSED,  /* refused by the gateway; code is 400, 403, 404, 500 or 503 */
    CM_END_CLOSED    /* closed by the gateway; code as for WebSocket, or 4000: it does not know this client */
};

typedef struct cm_end {
    enum cm_end_kind kind;
    int code;
    const char *reason; /* a sentence, never NULL */
    int retry_ms;       /* time from the callback to the next attempt */
} cm_end;

typedef struct cm_options {
    const char *address; /* the gateway's zeromq.bind: tcp://HOST:PORT or ipc://PATH */
    const char *path;    /* the path of the socket's mount; "/socket" */
    const char *params;  /* JSON object for SocketHandler.connect; "{}". vsn is added, format is refused */

    /* CURVE, for a gateway that has a key. Keys are 40 characters of Z85. */
    const char *server_key; /* the gateway's public key; NULL: no encryption */
    const char *public_key; /* your own pair, both or neither; NULL: a fresh one for this client */
    const char *secret_key;

    /* Callbacks; each may be NULL. */
    void *user;                                                         /* passed to them */
    void (*on_open)(cm_client *client, void *user);                     /* connected; joins have been sent */
    void (*on_end)(cm_client *client, const cm_end *end, void *user);   /* it reconnects, unless you cm_disconnect */
    void (*on_dropped)(cm_client *client, const char *why, void *user); /* a malformed message was dropped */

    /* Times, in milliseconds. */
    int timeout_ms;   /* time-out of connecting, joining, pushing and leaving; 10000 */
    int heartbeat_ms; /* interval of heartbeats, and the time-out of their answers; 30000 */
    int (*reconnect_after_ms)(int tries, void *user); /* NULL: 10 50 100 150 200 250 500 1000 2000, then 5000 */
    int (*rejoin_after_ms)(int tries, void *user);    /* NULL: 1000 2000 5000, then 10000; tries from 1 */

    /* Limits. */
    size_t max_send_bytes;     /* one message to the gateway; 1000000, as its gateway.max_frame_bytes */
    size_t max_receive_bytes;  /* one message from it; more ends the connection; 16 MiB */
    size_t max_buffered_bytes; /* messages that cannot be sent yet; 8 MiB */
    size_t max_pushes;         /* pushes buffered or waiting for their reply; 10000 */

    void *zmq_context; /* a context to share; NULL: the client makes its own */
} cm_options;

/* Fill in the defaults. Call it first, then set what you need; address is the only thing you must set. */
void cm_options_init(cm_options *options);

/* ---- The client ------------------------------------------------------------------------------------- */

/* Make a client; it does nothing before cm_connect. On failure, a description is written to `why` unless that is
 * NULL, at most `size` bytes. CM_EINVAL, CM_EKEY, CM_ENOCURVE, CM_EJSON, CM_EUTF8, CM_ENOMEM. */
int cm_client_new(const cm_options *options, cm_client **client, char *why, size_t size);

/* End everything: each push still open is answered with CM_REPLY_CLOSED, each channel's on_close is called.
 * Messages that are already queued have half a second to be sent. NULL is allowed. CM_ESTATE from within a
 * callback. */
int cm_client_free(cm_client *client);

/* Return the details of the last failed call: the value, the limit and the way out. Never NULL. */
const char *cm_detail(const cm_client *client);

/* Begin to connect, and stay connected until cm_disconnect. CM_ESTATE if begun; CM_EADDRESS, CM_EZMQ. */
int cm_connect(cm_client *client);

/* Close the connection and do not reconnect. Channels are kept and rejoin after the next cm_connect, except that
 * those being left are closed. Neither on_end nor on_error is called. */
int cm_disconnect(cm_client *client);

/* Replace the connection parameters, from the next attempt on: a new token, for example in on_end. */
int cm_set_params(cm_client *client, const char *params);

enum cm_state {
    CM_DISCONNECTED, /* cm_connect was not called, or cm_disconnect was */
    CM_CONNECTING,   /* waiting for the gateway's answer */
    CM_OPEN,
    CM_WAITING       /* waiting for the next attempt */
};

enum cm_state cm_client_state(const cm_client *client);
void *cm_client_user(const cm_client *client);

/* ---- The event loop --------------------------------------------------------------------------------- */

/* Wait until there is something to do, do it, and return: handle what has arrived or is due, and send what can
 * be sent. 0 does not wait, -1 waits indefinitely. Returns CM_OK even if nothing happened or a signal arrived;
 * CM_ESTATE from within a callback; CM_ENOMEM, CM_EZMQ. */
int cm_poll(cm_client *client, int timeout_ms);

/* For your own event loop. In each iteration, call cm_fds and cm_wait_ms, sleep until one of the descriptors is
 * readable or the time has passed, and call cm_poll(client, 0). ZeroMQ's descriptors are edge-triggered and
 * change with every connection, so call both each time; cm_wait_ms is 0 while there is something to do. */
#define CM_MAX_FDS 2
int cm_fds(const cm_client *client, int fds[CM_MAX_FDS]); /* how many, 0 to 2 */
int cm_wait_ms(cm_client *client);                        /* -1: no timer is set */

/* ---- Payloads and replies --------------------------------------------------------------------------- */

typedef struct cm_payload {
    const char *data; /* JSON text or bytes; one more byte, a NUL, follows */
    size_t size;      /* without it */
    int binary;       /* 0: JSON text */
} cm_payload;

enum cm_reply_kind {
    CM_REPLY_OK = 1,
    CM_REPLY_ERROR,
    CM_REPLY_OTHER,   /* any other status */
    CM_REPLY_TIMEOUT, /* no reply in time; the status is "timeout", the payload {} */
    CM_REPLY_CLOSED   /* the channel has ended without a reply; the status is "closed", the payload {} */
};

typedef struct cm_reply {
    enum cm_reply_kind kind;
    const char *status;
    cm_payload payload;
} cm_reply;

/* Called exactly once for each push that was accepted. */
typedef void cm_reply_fn(cm_channel *channel, const cm_reply *reply, void *user);

/* ---- Channels --------------------------------------------------------------------------------------- */

/* Each may be NULL. */
typedef struct cm_handlers {
    /* The reply to a join or rejoin. CM_REPLY_OK means joined; after anything else the channel rejoins
     * automatically, until cm_leave. */
    cm_reply_fn *on_join;
    /* A push or broadcast from the server. */
    void (*on_event)(cm_channel *channel, const char *event, const cm_payload *payload, void *user);
    /* The channel crashed in the server, or the connection was lost; the channel rejoins automatically. */
    void (*on_error)(cm_channel *channel, const char *reason, void *user);
    /* The channel has ended, by cm_leave or by the server. This is the last call: the channel is then freed. */
    void (*on_close)(cm_channel *channel, void *user);
} cm_handlers;

/* Join a topic, at once or when connected. `payload` is JSON; NULL means {}. `channel` may be NULL; it is valid
 * until its on_close has returned. CM_EEXIST: leave the other channel first. CM_EINVAL, CM_EJSON, CM_EUTF8,
 * CM_ETOOBIG, CM_ENOMEM. */
int cm_join(cm_client *client, const char *topic, const char *payload, const cm_handlers *handlers, void *user,
            cm_channel **channel);

/* Where the history of a topic was read up to. It can be stored. */
#define CM_EPOCH_SIZE 65
typedef struct cm_position {
    char epoch[CM_EPOCH_SIZE];
    long long offset;
} cm_position;

/* What a client has received of a topic's history. Begin with {0}. */
typedef struct cm_history {
    int last;             /* how many of the newest broadcasts the first join asks for; 0: none */
    int known;            /* whether there is a position; set it, and a stored position, to go on from there */
    cm_position position; /* of the last broadcast received; changed by cm_poll, before on_event */
    /* What was missed cannot be recovered: reload. Broadcasts go on from the position. May be NULL. */
    void (*on_gap)(cm_channel *channel, void *user);
} cm_history;

/* As cm_join, on a topic whose channel has a history: each rejoin brings what was missed, in order, and on_event gets
 * no broadcast twice. `history` stays yours, and must be valid until on_close has returned; a later join on the topic
 * goes on from its position. `payload` must be an object; its "history" is replaced. CM_EINVAL: `last` or an offset is
 * negative, or an epoch has other characters than a-z and 0-9. */
int cm_join_history(cm_client *client, const char *topic, const char *payload, const cm_handlers *handlers, void *user,
                    cm_history *history, cm_channel **channel);

/* Set the payload of later joins, for example the last message seen. */
int cm_set_join_payload(cm_channel *channel, const char *payload);

/* Send an event with a JSON payload (NULL means {}). While the channel is not joined, the push waits and is sent
 * after the join, in order. A push that was sent is not sent again after the connection is lost. `timeout_ms` is
 * the time-out of the reply, from now on; 0 means the client's. `on_reply` may be NULL if no reply is needed.
 * CM_ECLOSED, CM_EFULL, CM_ETOOBIG, CM_EJSON, CM_EUTF8, CM_EINVAL (phx_ events are reserved), CM_ENOMEM. */
int cm_push(cm_channel *channel, const char *event, const char *payload, int timeout_ms, cm_reply_fn *on_reply,
            void *user);

/* The same with a binary payload. The topic and the event may then have at most 255 bytes. */
int cm_push_binary(cm_channel *channel, const char *event, const void *data, size_t size, int timeout_ms,
                   cm_reply_fn *on_reply, void *user);

/* Leave. on_close is called when the server has answered, cannot be reached, or does not answer in time. No other
 * event follows, and open pushes are answered with CM_REPLY_CLOSED. CM_ECLOSED if it was left before. */
int cm_leave(cm_channel *channel);

enum cm_channel_state { CM_JOINING, CM_JOINED, CM_ERRORED /* will rejoin */, CM_LEAVING, CM_CLOSED };

enum cm_channel_state cm_channel_state(const cm_channel *channel);
const char *cm_channel_topic(const cm_channel *channel);
cm_client *cm_channel_client(const cm_channel *channel);
void *cm_channel_user(const cm_channel *channel);

/* ---- JSON ------------------------------------------------------------------------------------------- */

/* The largest size of the JSON string of a text of n bytes, including the quotes and a NUL. */
#define CM_QUOTED_SIZE(n) (6 * (n) + 3)

/* Write `text` as a JSON string, quotes included. CM_ETOOBIG if `out` is too small, CM_EUTF8. */
int cm_json_quote(const char *text, char *out, size_t out_size);

/* A part of a JSON text, without a terminating NUL. */
typedef struct cm_text {
    const char *data;
    size_t size;
} cm_text;

/* Get the value at a key of a JSON object (the last one, if there are several). CM_ENOTFOUND, CM_EJSON, and
 * CM_ETYPE if the value has another type. A string is unescaped and NUL-terminated: CM_ETOOBIG if `out` is
 * too small, CM_ETYPE if it contains U+0000. */
int cm_json_get(const char *json, size_t size, const char *key, cm_text *value);
int cm_json_string(const char *json, size_t size, const char *key, char *out, size_t out_size);
int cm_json_number(const char *json, size_t size, const char *key, double *out);
int cm_json_bool(const char *json, size_t size, const char *key, int *out);

/* Get the next member of an object, or element of an array (`key` is then empty). `position` starts at 0.
 * CM_ENOTFOUND at the end, CM_EJSON. A key is a JSON string with its quotes: see cm_json_unquote. */
int cm_json_next(const char *json, size_t size, size_t *position, cm_text *key, cm_text *value);

/* Unescape a JSON string, and terminate it with a NUL. CM_EJSON, CM_ETYPE (contains U+0000), CM_ETOOBIG. */
int cm_json_unquote(cm_text quoted, char *out, size_t out_size);

#ifdef __cplusplus
}
#endif

#endif
