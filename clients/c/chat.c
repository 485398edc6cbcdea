/* Chat in a room of examples/chat, together with its web page:
 *
 *     MESH_ZEROMQ__BIND=tcp://127.0.0.1:4010 mesh serve examples.chat:endpoint --port 4000
 *     ./chat tcp://127.0.0.1:4010 Ana kitchen
 *
 * It prints the messages, and who joins and leaves, and sends each line of stdin. It shows how to use channelmesh
 * in your own event loop: poll(2) on stdin and on the client's descriptors.
 */
#define _POSIX_C_SOURCE 200809L

#include "channelmesh.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 8000 /* the chat accepts 2000 characters */
#define NAME_BYTES 200

/* One connection of a user in the room; a user with two windows is listed twice. */
struct presence {
    struct presence *next;
    int seen;
    char ref[64], user[NAME_BYTES];
};

struct chat {
    cm_client *client;
    cm_channel *room;
    struct presence *here;
    int unanswered; /* messages */
    int over, failed, offline;
    char line[LINE_BYTES + 1]; /* of stdin, so far */
    size_t used;
    int skipping;
};

/* Text of other users must not control this terminal: control characters, including C1 in UTF-8, become '?'. */
static void print_text(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (at[0] == 0xC2 && at[1] >= 0x80 && at[1] < 0xA0) {
            putchar('?');
            at++;
        } else {
            putchar(*at < 0x20 || *at == 0x7F ? '?' : *at);
        }
    }
}

static void print_line(const char *before, const char *text, const char *after)
{
    fputs(before, stdout);
    print_text(text);
    puts(after);
}

/* ---- Who is here ------------------------------------------------------------------------------------- */

static int count(const struct chat *chat, const char *user)
{
    int found = 0;
    for (const struct presence *each = chat->here; each; each = each->next)
        found += !strcmp(each->user, user);
    return found;
}

static void add(struct chat *chat, const char *user, const char *ref, const char *verb)
{
    struct presence *each;
    for (each = chat->here; each; each = each->next)
        if (!strcmp(each->ref, ref)) {
            each->seen = 1;
            return;
        }
    each = calloc(1, sizeof *each);
    if (!each)
        return;
    snprintf(each->ref, sizeof each->ref, "%s", ref);
    snprintf(each->user, sizeof each->user, "%s", user);
    each->seen = 1;
    if (!count(chat, user))
        print_line("* ", user, verb);
    each->next = chat->here;
    chat->here = each;
}

/* Remove the entries with this ref or, without a ref, those that were not seen. */
static void drop(struct chat *chat, const char *ref)
{
    struct presence **link = &chat->here;
    while (*link) {
        struct presence *each = *link;
        if (ref ? strcmp(each->ref, ref) != 0 : each->seen) {
            link = &each->next;
            continue;
        }
        *link = each->next;
        if (!count(chat, each->user))
            print_line("* ", each->user, " left");
        free(each);
    }
}

/* Add the presences {"Ana": {"metas": [{"phx_ref": "…"}, …]}, …} and print them with a verb, or remove them. */
static void each_presence(struct chat *chat, cm_text users, const char *verb)
{
    cm_text key, value, metas, name, meta;
    size_t at = 0;
    char user[NAME_BYTES], ref[64];
    while (cm_json_next(users.data, users.size, &at, &key, &value) == CM_OK) {
        size_t inner = 0;
        if (!key.size || cm_json_unquote(key, user, sizeof user) != CM_OK ||
            cm_json_get(value.data, value.size, "metas", &metas) != CM_OK)
            continue;
        while (cm_json_next(metas.data, metas.size, &inner, &name, &meta) == CM_OK) {
            if (cm_json_string(meta.data, meta.size, "phx_ref", ref, sizeof ref) != CM_OK)
                continue;
            if (verb)
                add(chat, user, ref, verb);
            else
                drop(chat, ref);
        }
    }
}

static void presence_state(struct chat *chat, const cm_payload *payload)
{
    cm_text users;
    users.data = payload->data;
    users.size = payload->size;
    for (struct presence *each = chat->here; each; each = each->next)
        each->seen = 0;
    each_presence(chat, users, " is here");
    drop(chat, NULL);
}

static void presence_diff(struct chat *chat, const cm_payload *payload)
{
    cm_text users;
    if (cm_json_get(payload->data, payload->size, "joins", &users) == CM_OK)
        each_presence(chat, users, " joined");
    if (cm_json_get(payload->data, payload->size, "leaves", &users) == CM_OK)
        each_presence(chat, users, NULL);
}

/* ---- The room ---------------------------------------------------------------------------------------- */

static void on_join(cm_channel *channel, const cm_reply *reply, void *user)
{
    struct chat *chat = user;
    char reason[300] = "the room cannot be joined at the moment";
    if (reply->kind == CM_REPLY_OK) {
        print_line("* joined ", cm_channel_topic(channel), "");
    } else if (reply->kind == CM_REPLY_ERROR) {
        cm_json_string(reply->payload.data, reply->payload.size, "reason", reason, sizeof reason);
        print_line("! ", reason, "");
        chat->over = chat->failed = 1;
    }
}

static void on_event(cm_channel *channel, const char *event, const cm_payload *payload, void *user)
{
    struct chat *chat = user;
    char name[NAME_BYTES], body[LINE_BYTES + 1];
    (void)channel;
    if (payload->binary)
        return;
    if (!strcmp(event, "presence_state")) {
        presence_state(chat, payload);
    } else if (!strcmp(event, "presence_diff")) {
        presence_diff(chat, payload);
    } else if (!strcmp(event, "new_msg") &&
               cm_json_string(payload->data, payload->size, "user", name, sizeof name) == CM_OK &&
               cm_json_string(payload->data, payload->size, "body", body, sizeof body) == CM_OK) {
        putchar('<');
        print_text(name);
        print_line("> ", body, "");
    }
}

static void on_error(cm_channel *channel, const char *reason, void *user)
{
    (void)channel, (void)user;
    print_line("* the channel ended: ", reason, "; rejoining");
}

static void on_close(cm_channel *channel, void *user)
{
    struct chat *chat = user;
    (void)channel;
    chat->room = NULL;
    chat->over = 1;
}

static void on_open(cm_client *client, void *user)
{
    struct chat *chat = user;
    (void)client;
    chat->offline = 0;
}

static void on_end(cm_client *client, const cm_end *end, void *user)
{
    struct chat *chat = user;
    (void)client;
    if (!chat->offline)
        print_line("* no connection: ", end->reason, end->kind == CM_END_REFUSED ? "" : "; reconnecting");
    chat->offline = 1;
    if (end->kind == CM_END_REFUSED && end->code < 500) /* the same request would be refused again */
        chat->over = chat->failed = 1;
}

static void on_sent(cm_channel *channel, const cm_reply *reply, void *user)
{
    struct chat *chat = user;
    char reason[300] = "no reply; try again when you are connected";
    (void)channel;
    chat->unanswered--;
    if (reply->kind == CM_REPLY_OK)
        return;
    cm_json_string(reply->payload.data, reply->payload.size, "reason", reason, sizeof reason);
    print_line("! not sent: ", reason, "");
    chat->failed = 1;
}

/* ---- Lines ------------------------------------------------------------------------------------------- */

static void say(struct chat *chat, const char *line)
{
    char payload[CM_QUOTED_SIZE(LINE_BYTES) + 10] = "{\"body\":";
    size_t used = strlen(payload);
    int status = cm_json_quote(line, payload + used, sizeof payload - used - 1);
    if (status == CM_OK && chat->room) {
        strcat(payload, "}");
        status = cm_push(chat->room, "new_msg", payload, 0, on_sent, chat);
    }
    if (status == CM_OK) {
        chat->unanswered++;
    } else {
        print_line("! not sent: ", cm_strerror(status), "");
        chat->failed = 1;
    }
}

static void end_line(struct chat *chat)
{
    chat->line[chat->used] = 0;
    if (chat->skipping)
        puts("! not sent: the line is too long");
    else if (chat->used)
        say(chat, chat->line);
    chat->used = 0;
    chat->skipping = 0;
}

/* Read the available input; return whether more can follow. */
static int read_lines(struct chat *chat)
{
    char chunk[4096];
    ssize_t size = read(STDIN_FILENO, chunk, sizeof chunk);
    if (size < 0 && (errno == EINTR || errno == EAGAIN))
        return 1;
    if (size <= 0)
        end_line(chat);
    for (ssize_t i = 0; i < size; i++) {
        if (chunk[i] == '\n')
            end_line(chat);
        else if (chat->used < LINE_BYTES)
            chat->line[chat->used++] = chunk[i];
        else
            chat->skipping = 1;
    }
    return size > 0;
}

/* ---- The program ------------------------------------------------------------------------------------- */

static int run(struct chat *chat)
{
    int reading = 1;
    while (!chat->over && (reading || chat->unanswered)) {
        struct pollfd polled[1 + CM_MAX_FDS];
        int fds[CM_MAX_FDS], count = cm_fds(chat->client, fds), status;
        polled[0].fd = reading ? STDIN_FILENO : -1;
        polled[0].events = POLLIN;
        polled[0].revents = 0;
        for (int i = 0; i < count; i++) {
            polled[1 + i].fd = fds[i];
            polled[1 + i].events = POLLIN;
        }
        if (poll(polled, (nfds_t)(1 + count), cm_wait_ms(chat->client)) < 0 && errno != EINTR)
            return 0;
        status = cm_poll(chat->client, 0);
        if (status != CM_OK) {
            print_line("! ", cm_detail(chat->client), "");
            return 0;
        }
        if (polled[0].revents)
            reading = read_lines(chat);
    }
    if (chat->room)
        cm_leave(chat->room);
    while (chat->room && cm_poll(chat->client, -1) == CM_OK)
        ;
    return !chat->failed;
}

static int start(struct chat *chat, const cm_options *options, const char *room)
{
    static const cm_handlers handlers = {on_join, on_event, on_error, on_close};
    char topic[300], why[240];
    int status = cm_client_new(options, &chat->client, why, sizeof why);
    if (status != CM_OK) {
        print_line("! ", why, "");
        return 0;
    }
    snprintf(topic, sizeof topic, "room:%s", room);
    status = cm_join(chat->client, topic, NULL, &handlers, chat, &chat->room);
    if (status == CM_OK)
        status = cm_connect(chat->client);
    if (status != CM_OK)
        print_line("! ", cm_detail(chat->client), "");
    return status == CM_OK;
}

int main(int argc, char **argv)
{
    struct chat chat = {0};
    cm_options options;
    char user[CM_QUOTED_SIZE(NAME_BYTES)], params[sizeof user + 60];
    int ok;
    cm_options_init(&options);
    if (argc > 2 && !strcmp(argv[1], "-k")) {
        options.server_key = argv[2];
        argv += 2;
        argc -= 2;
    }
    if (argc < 3 || argc > 4 || cm_json_quote(argv[2], user, sizeof user) != CM_OK) {
        fprintf(stderr, "usage: chat [-k GATEWAY-KEY] ADDRESS NAME [ROOM]\n"
                        "   as: chat tcp://127.0.0.1:4010 Ana lobby\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(params, sizeof params, "{\"user\":%s,\"tab\":\"c%ld-%ld\"}", user, (long)getpid(), (long)time(NULL));
    options.address = argv[1];
    options.params = params;
    options.user = &chat;
    options.on_open = on_open;
    options.on_end = on_end;
    ok = start(&chat, &options, argc > 3 ? argv[3] : "lobby") && run(&chat);
    cm_client_free(chat.client);
    while (chat.here) {
        struct presence *next = chat.here->next;
        free(chat.here);
        chat.here = next;
    }
    return !ok;
}
