/* A server on the sockets that it was given, as sd_listen_fds(3) has it.

   Says `NAME KIND` of each, KIND being tcp, unix or what is wrong with it, and then `ready`. A client sends one line:

   | line | what happens |
   | --- | --- |
   | crash | it exits with 7 |
   | wait | the answer comes once there is a file `go` in its directory |
   | who | is answered by the name of the socket and the generation |
   | GET … | is answered by 200 where there is a file `ready` and the generation, else by 503; and so are the others that |
   |       | follow on the connection |
   | anything else | is answered by the name of the socket and the line |

   On TERM it closes its sockets, says `closed` and ends with 0 once there is a file `go`; with the argument `quick` it
   ends at once. With the argument `hasty` it does the same, and the first generation accepts no more once there is
   a file `next`. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST = 3, MOST = 16 };

struct client {
    int fd;
    const char *name;
};

static volatile sig_atomic_t told;

static void on_term(int signal_number)
{
    (void)signal_number;
    told = 1;
}

static void await_go(void)
{
    while (access("go", F_OK) != 0)
        usleep(3 * 1000);
}

static void answer_http(FILE *stream, const char *generation)
{
    char line[256], ready[64];
    do {
        int closes = 0;
        while (fgets(line, sizeof line, stream) && line[0] != '\r')
            closes |= strncasecmp(line, "connection: close", 17) == 0;
        snprintf(ready, sizeof ready, "ready%s", generation);
        const char *status = access(ready, F_OK) == 0 ? "200 OK" : "503 Service Unavailable";
        fprintf(stream, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", status);
        if (closes)
            return;
        fflush(stream);
    } while (fgets(line, sizeof line, stream));
}

static void *serve(void *argument)
{
    struct client *client = argument;
    char line[256] = "";
    FILE *stream = fdopen(client->fd, "r+");
    if (fgets(line, sizeof line, stream)) {
        line[strcspn(line, "\n")] = 0;
        if (strcmp(line, "crash") == 0)
            _exit(7);
        if (strcmp(line, "wait") == 0)
            await_go();
        const char *generation = getenv("STEPDOWN_GENERATION");
        if (strncmp(line, "GET ", 4) == 0)
            answer_http(stream, generation);
        else
            fprintf(stream, "%s %s\n", client->name, strcmp(line, "who") == 0 ? generation : line);
    }
    fclose(stream);
    free(client);
    return NULL;
}

static const char *kind(int fd)
{
    int value = -1;
    socklen_t length = sizeof value;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) < 0 || value != 1)
        return "does not listen";
    if (fcntl(fd, F_GETFD) != 0)
        return "is closed by exec";
    if (fcntl(fd, F_GETFL) & O_NONBLOCK)
        return "does not block";
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &length);
    return value == AF_UNIX ? "unix" : "tcp";
}

int main(int argc, char **argv)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS"), *listed = getenv("LISTEN_FDNAMES");
    struct pollfd sockets[MOST];
    const char *names[MOST];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!pid || atoi(pid) != getpid() || !fds) {
        puts("no sockets");
        return 98;
    }
    const char *how = argc > 1 ? argv[1] : "";
    int count = atoi(fds), is_hasty = strcmp(how, "hasty") == 0, is_quick = is_hasty || strcmp(how, "quick") == 0;
    const char *generation = getenv("STEPDOWN_GENERATION");
    is_hasty = is_hasty && generation && strcmp(generation, "1") == 0;
    char *rest = strdup(listed ? listed : "");
    for (int index = 0; index < count && index < MOST; index++) {
        const char *name = strsep(&rest, ":");
        names[index] = name && *name ? name : "unknown";
        sockets[index] = (struct pollfd){ .fd = FIRST + index, .events = POLLIN };
        printf("%s %s\n", names[index], kind(FIRST + index));
    }
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_term }, NULL);
    puts("ready");
    while (!told) {
        const struct timespec soon = { .tv_nsec = 3 * 1000 * 1000 };
        int is_over = is_hasty && access("next", F_OK) == 0;
        if (ppoll(sockets, is_over ? 0 : count, is_hasty ? &soon : NULL, &before) <= 0)
            continue;
        for (int index = 0; index < count; index++) {
            if (!(sockets[index].revents & POLLIN))
                continue;
            struct client *client = malloc(sizeof *client);
            *client = (struct client){ accept4(sockets[index].fd, NULL, NULL, SOCK_CLOEXEC), names[index] };
            pthread_t thread;
            pthread_create(&thread, NULL, serve, client);
            pthread_detach(thread);
        }
    }
    for (int index = 0; index < count; index++)
        close(sockets[index].fd);
    puts("closed");
    if (!is_quick)
        await_go();
    return 0;
}
