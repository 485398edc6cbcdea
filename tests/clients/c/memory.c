/* Every allocation fails once, the first, the second, and so on: each call says CM_ENOMEM or goes on, nothing is
 * lost, and what was accepted is answered. */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>

static long until_failure;

static int fails(void)
{
    return until_failure && !--until_failure;
}

static void *failing_malloc(size_t size)
{
    return fails() ? NULL : malloc(size);
}

static void *failing_calloc(size_t count, size_t size)
{
    return fails() ? NULL : calloc(count, size);
}

static void *failing_realloc(void *old, size_t size)
{
    return fails() ? NULL : realloc(old, size);
}

#define malloc failing_malloc
#define calloc failing_calloc
#define realloc failing_realloc
#include "../../../clients/c/channelmesh.c"

static int accepted, answered;

static void on_reply(cm_channel *channel, const cm_reply *reply, void *user)
{
    (void)channel, (void)reply, (void)user;
    answered++;
}

static int talk(void *gateway, const char *address)
{
    cm_options options;
    cm_client *client;
    cm_channel *channel;
    cm_history history = {0};
    int turns = 0, status;
    cm_options_init(&options);
    options.address = address;
    options.params = "{\"user\":\"Ana\"}";
    status = cm_client_new(&options, &client, NULL, 0);
    if (status != CM_OK)
        return status;
    status = cm_join_history(client, "room:1", "{\"a\":1}", NULL, NULL, &history, &channel);
    if (status == CM_OK) {
        cm_set_join_payload(channel, "{\"a\":2}");
        accepted += cm_push(channel, "early", "{}", 0, on_reply, NULL) == CM_OK;
        accepted += cm_push_binary(channel, "early", "abc", 3, 0, on_reply, NULL) == CM_OK;
        status = cm_connect(client);
    }
    while (status == CM_OK && cm_channel_state(channel) != CM_JOINED && turns++ < 1000) {
        char identity[64], kind, content[400];
        int size, length;
        status = cm_poll(client, 20);
        size = zmq_recv(gateway, identity, sizeof identity, ZMQ_DONTWAIT);
        if (size < 0)
            continue;
        zmq_recv(gateway, &kind, 1, 0);
        length = zmq_recv(gateway, content, sizeof content, 0);
        zmq_send(gateway, identity, (size_t)size, ZMQ_SNDMORE);
        zmq_send(gateway, kind == 'O' ? "O" : "T", 1, ZMQ_SNDMORE);
        if (kind == 'O')
            length = snprintf(content, sizeof content, "{}");
        else
            length = snprintf(content, sizeof content, "[\"%d\",\"%d\",\"room:1\",\"phx_reply\",{\"status\":\"ok\"}]",
                              atoi(content + 2), atoi(content + 2));
        zmq_send(gateway, content, (size_t)length, 0);
    }
    if (status == CM_OK && cm_channel_state(channel) == CM_JOINED)
        accepted += cm_push(channel, "late", "[1]", 0, on_reply, NULL) == CM_OK;
    cm_client_free(client);
    return status;
}

int main(void)
{
    void *context = zmq_ctx_new(), *gateway = zmq_socket(context, ZMQ_ROUTER);
    char address[100];
    size_t size = sizeof address;
    int failures = 0, nth = 0;
    if (zmq_bind(gateway, "tcp://127.0.0.1:*") || zmq_getsockopt(gateway, ZMQ_LAST_ENDPOINT, address, &size))
        return 1;
    for (;;) {
        int status;
        until_failure = ++nth;
        status = talk(gateway, address);
        if (status != CM_OK && status != CM_ENOMEM) {
            printf("allocation %d: %d %s\n", nth, status, cm_strerror(status));
            return 1;
        }
        failures += status == CM_ENOMEM;
        if (until_failure) /* there was none to fail */
            break;
    }
    zmq_close(gateway);
    zmq_ctx_term(context);
    if (accepted != answered || failures < 10 || !accepted) {
        printf("%d accepted, %d answered, %d of %d failed\n", accepted, answered, failures, nth);
        return 1;
    }
    puts("ok");
    return 0;
}
