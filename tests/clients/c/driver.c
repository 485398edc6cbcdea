/* A client that does what it is told, line by line, and tells what happens: for test_c_client.py.
 *
 * Arguments are options, NAME=VALUE. Commands and reports have fields separated by tabs. Each command is answered
 * by `status NUMBER DETAIL`. In an event loop of its own, on the client's descriptors.
 */
#define _POSIX_C_SOURCE 200809L

#include "channelmesh.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_FIELDS 6
#define MAX_CHANNELS 200

struct driver {
    cm_client *client;
    cm_channel *channels[MAX_CHANNELS];
    cm_history history;
    int leave_refused;
    int quit, hold; /* hold: let the client rest until the next command */
};

static void report_payload(const cm_payload *payload)
{
    if (payload->data[payload->size] != 0)
        abort(); /* the promised NUL */
    if (!payload->binary) {
        printf("text\t%s\n", payload->data);
        return;
    }
    fputs("bytes\t", stdout);
    for (size_t i = 0; i < payload->size; i++)
        printf("%02x", (unsigned char)payload->data[i]);
    putchar('\n');
}

static void on_open(cm_client *client, void *user)
{
    (void)client, (void)user;
    puts("open");
}

static void on_end(cm_client *client, const cm_end *end, void *user)
{
    (void)client, (void)user;
    printf("end\t%d\t%d\t%s\t%d\n", (int)end->kind, end->code, end->reason, end->retry_ms);
}

static void on_dropped(cm_client *client, const char *why, void *user)
{
    (void)client, (void)user;
    printf("dropped\t%s\n", why);
}

static void on_join(cm_channel *channel, const cm_reply *reply, void *user)
{
    struct driver *driver = user;
    printf("join\t%s\t%s\t", cm_channel_topic(channel), reply->status);
    report_payload(&reply->payload);
    if (reply->kind == CM_REPLY_ERROR && driver->leave_refused)
        cm_leave(channel);
}

static void on_event(cm_channel *channel, const char *event, const cm_payload *payload, void *user)
{
    (void)user;
    printf("event\t%s\t%s\t", cm_channel_topic(channel), event);
    report_payload(payload);
}

static void on_error(cm_channel *channel, const char *reason, void *user)
{
    (void)user;
    printf("error\t%s\t%s\n", cm_channel_topic(channel), reason);
}

static void on_close(cm_channel *channel, void *user)
{
    struct driver *driver = user;
    printf("close\t%s\n", cm_channel_topic(channel));
    for (int i = 0; i < MAX_CHANNELS; i++)
        if (driver->channels[i] == channel)
            driver->channels[i] = NULL;
}

static void on_reply(cm_channel *channel, const cm_reply *reply, void *user)
{
    (void)channel;
    printf("reply\t%s\t%d\t%s\t", (char *)user, (int)reply->kind, reply->status);
    report_payload(&reply->payload);
    free(user); /* once for each push: a leak or a second free would end this program */
}

static cm_channel **find(struct driver *driver, const char *topic)
{
    for (int i = 0; i < MAX_CHANNELS; i++)
        if (topic ? driver->channels[i] && !strcmp(cm_channel_topic(driver->channels[i]), topic) : !driver->channels[i])
            return &driver->channels[i];
    return NULL;
}

static void on_gap(cm_channel *channel, void *user)
{
    struct driver *driver = user;
    printf("gap\t%s\t%s\t%lld\n", cm_channel_topic(channel), driver->history.position.epoch,
           driver->history.position.offset);
}

/* history TOPIC PAYLOAD [LAST [EPOCH OFFSET]]; without LAST, with the history of an earlier join */
static void set_history(struct driver *driver, char **field, int count)
{
    if (count > 3)
        driver->history = (cm_history){atoi(field[3]), count > 5, {"", 0}, on_gap};
    if (count > 5) {
        snprintf(driver->history.position.epoch, CM_EPOCH_SIZE, "%s", field[4]);
        driver->history.position.offset = atoll(field[5]);
    }
}

static int join(struct driver *driver, const char *topic, const char *payload, int with_history)
{
    static const cm_handlers handlers = {on_join, on_event, on_error, on_close};
    cm_channel *channel;
    int status = with_history
                     ? cm_join_history(driver->client, topic, payload, &handlers, driver, &driver->history, &channel)
                     : cm_join(driver->client, topic, payload, &handlers, driver, &channel);
    if (status == CM_OK)
        *find(driver, NULL) = channel;
    return status;
}

/* push|bytes TOPIC EVENT PAYLOAD TIMEOUT ID; without ID no reply is wanted */
static int push(struct driver *driver, char **field, int count)
{
    cm_channel **channel = find(driver, field[1]);
    char *id = count > 5 ? malloc(strlen(field[5]) + 1) : NULL;
    int status, timeout = atoi(field[4]);
    if (id)
        strcpy(id, field[5]);
    if (!strcmp(field[0], "push")) {
        status = cm_push(channel ? *channel : NULL, field[2], field[3], timeout, id ? on_reply : NULL, id);
    } else {
        size_t size = strlen(field[3]) / 2;
        unsigned char *bytes = malloc(size + !size);
        for (size_t i = 0; i < size; i++) {
            char digits[3] = {field[3][2 * i], field[3][2 * i + 1], 0};
            bytes[i] = (unsigned char)strtoul(digits, NULL, 16);
        }
        status = cm_push_binary(channel ? *channel : NULL, field[2], bytes, size, timeout, id ? on_reply : NULL, id);
        free(bytes);
    }
    if (status != CM_OK)
        free(id);
    return status;
}

static void command(struct driver *driver, char *line)
{
    char *field[MAX_FIELDS] = {NULL}, *at = line;
    int count = 0, status = CM_EINVAL;
    cm_channel **channel;
    while (at && count < MAX_FIELDS) {
        field[count++] = at;
        at = strchr(at, '\t');
        if (at)
            *at++ = 0;
    }
    driver->hold = !strcmp(field[0], "hold");
    channel = count > 1 ? find(driver, field[1]) : NULL;
    if (!strcmp(field[0], "connect"))
        status = cm_connect(driver->client);
    else if (!strcmp(field[0], "disconnect"))
        status = cm_disconnect(driver->client);
    else if (!strcmp(field[0], "params"))
        status = cm_set_params(driver->client, field[1]);
    else if (!strcmp(field[0], "join"))
        status = join(driver, field[1], field[2], 0);
    else if (!strcmp(field[0], "history")) {
        set_history(driver, field, count);
        status = join(driver, field[1], field[2], 1);
    } else if (!strcmp(field[0], "position")) {
        printf("position\t%d\t%s\t%lld\n", driver->history.known, driver->history.position.epoch,
               driver->history.position.offset);
        status = CM_OK;
    }
    else if (!strcmp(field[0], "payload"))
        status = cm_set_join_payload(channel ? *channel : NULL, field[2]);
    else if (!strcmp(field[0], "leave"))
        status = cm_leave(channel ? *channel : NULL);
    else if (count >= 5)
        status = push(driver, field, count);
    else if (!strcmp(field[0], "quit"))
        driver->quit = 1;
    else if (driver->hold)
        status = CM_OK;
    printf("status\t%d\t%s\n", status, status == CM_OK ? "" : cm_detail(driver->client));
}

/* Commands that are there; 0 at their end. */
static int read_commands(struct driver *driver, char **buffer, size_t *used, size_t *room)
{
    ssize_t size;
    char *newline;
    if (*room - *used < 65536) {
        *room += 65536 + *room / 2;
        *buffer = realloc(*buffer, *room);
        if (!*buffer)
            abort();
    }
    size = read(STDIN_FILENO, *buffer + *used, *room - *used - 1);
    if (size <= 0)
        return 0;
    *used += (size_t)size;
    while ((newline = memchr(*buffer, '\n', *used))) {
        size_t length = (size_t)(newline - *buffer) + 1;
        *newline = 0;
        command(driver, *buffer);
        memmove(*buffer, newline + 1, *used - length);
        *used -= length;
    }
    return 1;
}

static int slowly(int tries, void *user)
{
    (void)tries, (void)user;
    return 60000;
}

static void set(cm_options *o, struct driver *driver, const char *name, const char *value)
{
    struct {
        const char *name;
        const char **text;
        int *number;
        size_t *size;
    } known[] = {
        {"address", &o->address, NULL, NULL},         {"path", &o->path, NULL, NULL},
        {"params", &o->params, NULL, NULL},           {"server_key", &o->server_key, NULL, NULL},
        {"public_key", &o->public_key, NULL, NULL},   {"secret_key", &o->secret_key, NULL, NULL},
        {"timeout_ms", NULL, &o->timeout_ms, NULL},   {"heartbeat_ms", NULL, &o->heartbeat_ms, NULL},
        {"max_send_bytes", NULL, NULL, &o->max_send_bytes}, {"max_receive_bytes", NULL, NULL, &o->max_receive_bytes},
        {"max_buffered_bytes", NULL, NULL, &o->max_buffered_bytes}, {"max_pushes", NULL, NULL, &o->max_pushes},
        {"leave_refused", NULL, &driver->leave_refused, NULL},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].name, name)) {
            if (known[i].text)
                *known[i].text = value;
            else if (known[i].number)
                *known[i].number = atoi(value);
            else
                *known[i].size = strtoul(value, NULL, 10);
            return;
        }
    if (!strcmp(name, "slowly"))
        o->reconnect_after_ms = o->rejoin_after_ms = slowly;
    else
        abort();
}

int main(int argc, char **argv)
{
    struct driver driver = {0};
    cm_options options;
    char why[240], *buffer = NULL;
    size_t used = 0, room = 0;
    int status = CM_OK;
    cm_options_init(&options);
    options.user = &driver;
    options.on_open = on_open;
    options.on_end = on_end;
    options.on_dropped = on_dropped;
    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        *value++ = 0;
        set(&options, &driver, argv[i], value);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    status = cm_client_new(&options, &driver.client, why, sizeof why);
    if (status != CM_OK) {
        printf("status\t%d\t%s\n", status, why);
        return 3;
    }
    while (!driver.quit && status == CM_OK) {
        struct pollfd polled[1 + CM_MAX_FDS] = {{STDIN_FILENO, POLLIN, 0}};
        int fds[CM_MAX_FDS], count = cm_fds(driver.client, fds);
        count = driver.hold ? 0 : count;
        for (int i = 0; i < count; i++)
            polled[1 + i] = (struct pollfd){fds[i], POLLIN, 0};
        if (poll(polled, (nfds_t)(1 + count), driver.hold ? -1 : cm_wait_ms(driver.client)) < 0)
            break;
        if (polled[0].revents && !read_commands(&driver, &buffer, &used, &room))
            break;
        status = driver.hold ? CM_OK : cm_poll(driver.client, 0);
    }
    if (status != CM_OK)
        printf("failed\t%d\t%s\n", status, cm_detail(driver.client));
    free(buffer);
    if (cm_client_free(driver.client) != CM_OK)
        abort();
    puts("freed");
    return status != CM_OK;
}
