/* Obeys lines on the FIFO given: `say MESSAGE` to NOTIFY_SOCKET, with \n for a newline; `exit N`.

   Prints `ready` first, then `done` after each line. TERM is taken as `exit 3`, unless `deaf` was
   said. `notifier once MESSAGE` says it and stays until standard input is closed; `notifier flood`
   says the same for ever. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void need(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        _exit(98);
    }
}

/* A socket that is connected to the service manager. */
static int connected(void)
{
    struct sockaddr_un manager = { .sun_family = AF_UNIX };
    const char *name = getenv("NOTIFY_SOCKET");
    if (name == NULL || strlen(name) >= sizeof manager.sun_path)
        _exit(97);
    memcpy(manager.sun_path, name, strlen(name));
    if (name[0] == '@')
        manager.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    need(fd, "socket");
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + strlen(name);
    need(connect(fd, (struct sockaddr *)&manager, length), "connect");
    return fd;
}

static void say(const char *message)
{
    int fd = connected();
    need(send(fd, message, strlen(message), 0), "send");
    close(fd);
}

/* As `systemd-notify` does: says it from a process that ends at once, then passes a descriptor along and
   waits until it is closed. */
static void say_with_barrier(const char *message, int to_the_end)
{
    int ends[2];
    need(pipe2(ends, O_CLOEXEC), "pipe");
    pid_t pid = fork();
    need(pid, "fork");
    if (pid == 0) {
        say(message);
        char text[] = "BARRIER=1";
        struct iovec data = { text, sizeof text - 1 };
        char control[CMSG_SPACE(sizeof(int))] = { 0 };
        struct msghdr header = {
            .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
        };
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(rights), &ends[1], sizeof(int));
        need(sendmsg(connected(), &header, 0), "sendmsg");
        _exit(0);
    }
    close(ends[1]);
    waitpid(pid, NULL, 0);
    /* Nobody writes: it is readable once the other end is closed everywhere. */
    char byte;
    if (to_the_end)
        need(read(ends[0], &byte, 1), "read");
    close(ends[0]);
}

/* A message whose descriptors say nothing to anybody. */
static void say_with_descriptor(const char *message)
{
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct iovec data = { (char *)message, strlen(message) };
    char control[CMSG_SPACE(sizeof(int) * 2)] = { 0 };
    struct msghdr header = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
    };
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * 2);
    memcpy(CMSG_DATA(rights), (int[]){ nowhere, nowhere }, sizeof(int) * 2);
    need(sendmsg(connected(), &header, 0), "sendmsg");
    close(nowhere);
}

/* A child says it, and stays as long as we do: who has gone cannot be looked up. */
static void let_a_child_say(const char *message)
{
    int ends[2];
    need(pipe2(ends, O_CLOEXEC), "pipe");
    pid_t pid = fork();
    need(pid, "fork");
    if (pid == 0) {
        dup2(ends[0], 0);
        execl("/proc/self/exe", "notifier", "once", message, (char *)NULL);
        _exit(98);
    }
    close(ends[0]);
}

static void unescape(char *text)
{
    char *to = text;
    for (; *text; text++)
        if (text[0] == '\\' && text[1] == 'n') {
            *to++ = '\n';
            text++;
        } else {
            *to++ = *text;
        }
    *to = 0;
}

static void end(int signal_number)
{
    (void)signal_number;
    _exit(3);
}

static void obey(char *line)
{
    char *rest = strchr(line, ' ');
    if (rest)
        *rest++ = 0;
    else
        rest = "";
    if (strcmp(line, "say") == 0) {
        unescape(rest);
        say(rest);
    } else if (strcmp(line, "say-and-wait") == 0) {
        unescape(rest);
        say_with_barrier(rest, 1);
    } else if (strcmp(line, "gone-says") == 0) {
        say_with_barrier(rest, 0);
    } else if (strcmp(line, "say-with-descriptor") == 0) {
        say_with_descriptor(rest);
    } else if (strcmp(line, "child-says") == 0) {
        let_a_child_say(rest);
    } else if (strcmp(line, "env") == 0) {
        const char *value = getenv(rest);
        printf("%s %s\n", rest, value ? value : "is not set");
    } else if (strcmp(line, "deaf") == 0) {
        signal(SIGTERM, SIG_IGN);
    } else if (strcmp(line, "exit") == 0) {
        _exit(atoi(rest));
    } else {
        fprintf(stderr, "notifier: what is \"%s\"?\n", line);
        _exit(97);
    }
    printf("done %s\n", line);
}

int main(int argc, char **argv)
{
    char line[4096];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 2 && strcmp(argv[1], "once") == 0) {
        say(argv[2]);
        while (read(0, line, sizeof line) > 0)
            ;
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "flood") == 0) {
        const char message[] = "READY=1\nSTATUS=x\nEXTEND_TIMEOUT_USEC=1";
        int fd = connected();
        puts("ready");
        for (;;)
            need(send(fd, message, sizeof message - 1, 0), "send");
    }
    if (argc < 2)
        return 97;
    signal(SIGTERM, end);
    puts("ready");
    FILE *orders = fopen(argv[1], "re");
    while (orders && fgets(line, sizeof line, orders)) {
        line[strcspn(line, "\n")] = 0;
        obey(line);
    }
    return 0;
}
