/* HTTP servers that stories need.

   http registry PORT (0: any): a service registry, as Consul or Eureka are, but small.
   PUT /services/NAME registers, DELETE deregisters, GET says whether it is registered. /status/N
   answers with N, /silent never answers, /redirect leads to /status/200. Each request is printed.

   http gate PORT FILE STATUS: answers with this status once the file is there. Where it is there
   from the start, it takes one request after the other and its queue holds one. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void need(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        _exit(98);
    }
}

struct request {
    char method[16], path[256], host[128], length[16];
};

/* The value of a header field, or nothing. */
static void field(const char *head, const char *name, char *value, size_t room)
{
    const char *line = strcasestr(head, name);
    value[0] = 0;
    if (line) {
        line += strlen(name);
        line += strspn(line, " ");
        snprintf(value, room, "%.*s", (int)strcspn(line, "\r\n"), line);
    }
}

/* Reads up to the end of the head; 0 when the client has closed before. */
static int read_request(int connection, struct request *request)
{
    char head[8192];
    size_t length = 0;
    do {
        ssize_t count = recv(connection, head + length, sizeof head - 1 - length, 0);
        if (count <= 0)
            return 0;
        length += count;
        head[length] = 0;
    } while (strstr(head, "\r\n\r\n") == NULL);
    field(head, "\r\nHost:", request->host, sizeof request->host);
    field(head, "\r\nContent-Length:", request->length, sizeof request->length);
    return sscanf(head, "%15s %255s", request->method, request->path) == 2;
}

static const char *reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 204:
        return "No Content";
    case 302:
        return "Found";
    case 404:
        return "Not Found";
    case 503:
        return "Service Unavailable";
    default:
        return "Some Status";
    }
}

static void answer(int connection, int status, const char *more)
{
    char text[256];
    int length = snprintf(text, sizeof text, "HTTP/1.0 %d %s\r\n%sContent-Length: 0\r\n\r\n", status,
                          reason(status), more);
    send(connection, text, length, MSG_NOSIGNAL);
}

static pthread_mutex_t services_lock = PTHREAD_MUTEX_INITIALIZER;
static char services[64][64];

/* The place of a service, or of "", which is free. */
static int place_of(const char *name)
{
    for (int index = 0; index < 64; index++)
        if (strcmp(services[index], name) == 0)
            return index;
    return -1;
}

static int status_of_service(const char *method, const char *name)
{
    int status = 200;
    pthread_mutex_lock(&services_lock);
    int place = place_of(name);
    if (strcmp(method, "PUT") == 0) {
        if (place < 0 && (place = place_of("")) >= 0)
            snprintf(services[place], sizeof services[place], "%s", name);
        status = 201;
    } else if (place < 0) {
        status = 404;
    } else if (strcmp(method, "DELETE") == 0) {
        services[place][0] = 0;
        status = 204;
    }
    pthread_mutex_unlock(&services_lock);
    return status;
}

static void *register_services(void *passed)
{
    int connection = (intptr_t)passed, status;
    struct request request;
    char name[64];
    if (read_request(connection, &request)) {
        printf("%s %s Host:%s Content-Length:%s\n", request.method, request.path, request.host,
               request.length);
        if (strcmp(request.path, "/silent") == 0)
            for (;;)
                pause();
        if (strcmp(request.path, "/redirect") == 0)
            answer(connection, 302, "Location: /status/200\r\n");
        else if (sscanf(request.path, "/status/%d", &status) == 1)
            answer(connection, status, "");
        else if (sscanf(request.path, "/services/%63[^?]", name) == 1)
            answer(connection, status_of_service(request.method, name), "");
        else
            answer(connection, 200, "");
    }
    close(connection);
    return NULL;
}

static const char *gate;
static int gate_status;

static void *answer_at_the_gate(void *passed)
{
    int connection = (intptr_t)passed;
    struct request request;
    if (read_request(connection, &request)) {
        while (access(gate, F_OK) != 0)
            usleep(10 * 1000);
        answer(connection, gate_status, "");
    }
    close(connection);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 97;
    void *(*serve)(void *) = register_services;
    int on = 1, has_threads = 1;
    if (strcmp(argv[1], "gate") == 0 && argc > 4) {
        serve = answer_at_the_gate;
        gate = argv[3];
        gate_status = atoi(argv[4]);
        has_threads = access(gate, F_OK) != 0;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(listener, "socket");
    need(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[2])) };
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof at;
    need(bind(listener, (struct sockaddr *)&at, length), "bind");
    need(listen(listener, has_threads ? 64 : 0), "listen");
    need(getsockname(listener, (struct sockaddr *)&at, &length), "getsockname");
    printf("ready on %d\n", ntohs(at.sin_port));
    for (;;) {
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        need(connection, "accept");
        if (!has_threads) {
            serve((void *)(intptr_t)connection);
            continue;
        }
        pthread_t started;
        if (pthread_create(&started, NULL, serve, (void *)(intptr_t)connection) != 0)
            _exit(98);
        pthread_detach(started);
    }
}
