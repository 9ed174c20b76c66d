/* A server without shutdown code. Its clients say what it shall do, one line each.

   drainee ADDRESS PORT WAIT; WAIT: how its threads wait for the next request (recv, poll, select),
   or hidden: in recv, but none of the same user may look into the process (PR_SET_DUMPABLE), or
   accepts: it accepts no connection before it is released. A UDP datagram to 127.0.0.1 and the
   same port releases one request that it holds.

   fast: answers. slow: answers once released. stream: answers with one line now and one once
   released. hang-up: answers and closes the connection. big N: answers with N bytes and ends the
   whole process. exit: ends the whole process. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *wait_kind;
static sem_t held;

static void need(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        _exit(98);
    }
}

static int waits_in(const char *kind)
{
    return strcmp(wait_kind, kind) == 0;
}

static void send_all(int connection, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t sent = send(connection, bytes, count, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        count -= sent;
    }
}

/* The next line without its end; 0 when the client has closed. */
static int read_line(int connection, char *text, size_t room)
{
    for (size_t length = 0; length + 1 < room; length++) {
        if (waits_in("poll"))
            poll(&(struct pollfd){ .fd = connection, .events = POLLIN }, 1, 3600 * 1000);
        if (waits_in("select")) {
            fd_set readable;
            FD_ZERO(&readable);
            FD_SET(connection, &readable);
            select(connection + 1, &readable, NULL, NULL, NULL);
        }
        if (recv(connection, text + length, 1, 0) <= 0)
            return 0;
        if (text[length] == '\n') {
            text[length] = 0;
            return 1;
        }
    }
    return 0;
}

static void answer_big(int connection, int count)
{
    char *bytes = malloc(count);
    memset(bytes, 'x', count);
    need(setsockopt(connection, SOL_SOCKET, SO_SNDBUF, &count, sizeof count), "SO_SNDBUF");
    send_all(connection, bytes, count);
    _exit(7);
}

static void *serve(void *passed)
{
    int connection = (intptr_t)passed, goes_on = 1, count;
    char line[128];
    while (goes_on && read_line(connection, line, sizeof line)) {
        if (strcmp(line, "exit") == 0)
            _exit(7);
        if (sscanf(line, "big %d", &count) == 1)
            answer_big(connection, count);
        int streams = strcmp(line, "stream") == 0;
        if (streams)
            send_all(connection, "part\n", 5);
        if (streams || strcmp(line, "slow") == 0)
            sem_wait(&held);
        send_all(connection, "done\n", 5);
        goes_on = strcmp(line, "hang-up") != 0;
    }
    close(connection);
    return NULL;
}

static void *release(void *passed)
{
    char byte;
    for (;;)
        if (recv((intptr_t)passed, &byte, 1, 0) >= 0)
            sem_post(&held);
    return NULL;
}

static void start(void *(*thread)(void *), int fd)
{
    pthread_t started;
    if (pthread_create(&started, NULL, thread, (void *)(intptr_t)fd) != 0)
        _exit(98);
    pthread_detach(started);
}

/* A socket that is bound to this address. */
static int bound(const char *address, int port, int type)
{
    int on = 1, off = 0, is_six = strchr(address, ':') != NULL;
    int fd = socket(is_six ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);
    need(fd, "socket");
    if (is_six)
        need(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off), "IPV6_V6ONLY");
    if (type == SOCK_STREAM)
        need(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    if (is_six) {
        inet_pton(AF_INET6, address, &six.sin6_addr);
        need(bind(fd, (struct sockaddr *)&six, sizeof six), "bind");
    } else {
        inet_pton(AF_INET, address, &four.sin_addr);
        need(bind(fd, (struct sockaddr *)&four, sizeof four), "bind");
    }
    return fd;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 97;
    int port = atoi(argv[2]);
    wait_kind = argv[3];
    sem_init(&held, 0, 0);
    if (waits_in("hidden"))
        prctl(PR_SET_DUMPABLE, 0);
    start(release, bound("127.0.0.1", port, SOCK_DGRAM));
    int listener = bound(argv[1], port, SOCK_STREAM);
    need(listen(listener, waits_in("accepts") ? 1 : 64), "listen");
    puts("ready");
    fflush(stdout);
    if (waits_in("accepts"))
        sem_wait(&held);
    for (;;) {
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        need(connection, "accept");
        start(serve, connection);
    }
}
