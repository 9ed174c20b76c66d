/* Does one deed after the other, as its arguments say: sockets, signals, and in the end another program.

   | deed | meaning |
   | --- | --- |
   | say TEXT | one line on standard output |
   | await FILE | until it is there |
   | read-input | until the end of standard input |
   | pause | for ever |
   | bind ADDRESS PORT | a TCP socket, which may share its port (SO_REUSEPORT) |
   | listen | on the last socket |
   | accept MILLISECONDS | says `connection` or, when the time is over, `nobody came` |
   | answer FD | accepts on this descriptor, and says what comes first |
   | notify MESSAGE | to NOTIFY_SOCKET, with a space for each newline (sd_notify(3)) |
   | keep TEXT MESSAGE | the same with a file that holds the text |
   | keep-pipe MESSAGE | the same with a pipe into which only this process can write |
   | keep-again FD MESSAGE | the same with this descriptor |
   | tell NAME | a variable and its value |
   | tell-file FD | what is in it |
   | fail | exits with 1 |
   | udp ADDRESS PORT | a UDP socket that stays open in what is executed |
   | loopback | brings lo up, with multicast |
   | bridge NAME, no-bridge NAME | makes or deletes it |
   | mdns | as a responder takes one datagram, and says where it is from, its TTL and its bytes |
   | block SIGNAL, unblock SIGNAL | by number |
   | raise SIGNAL | to itself |
   | await-pending SIGNAL | until it is pending |
   | take SIGNAL | which is blocked, once it has come |
   | alarm MILLISECONDS | setitimer(2) |
   | exec PROGRAM ARGS... | becomes it | */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static char **words;
static int last_socket = -1;

static void need(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(98);
    }
}

static char *word(void)
{
    if (*words == NULL) {
        fprintf(stderr, "deeds: a word is missing\n");
        exit(97);
    }
    return *words++;
}

static int number(void)
{
    return atoi(word());
}

static int bound(int type)
{
    const char *address = word();
    int port = number(), on = 1;
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    int is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
    inet_pton(AF_INET, address, &four.sin_addr);
    int fd = socket(is_six ? AF_INET6 : AF_INET, type, 0);
    need(fd, "socket");
    need(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    if (type == SOCK_STREAM)
        need(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), "SO_REUSEPORT");
    need(is_six ? bind(fd, (struct sockaddr *)&six, sizeof six)
                : bind(fd, (struct sockaddr *)&four, sizeof four), "bind");
    return fd;
}

static void accept_within(int milliseconds)
{
    int count = poll(&(struct pollfd){ .fd = last_socket, .events = POLLIN }, 1, milliseconds);
    need(count, "poll");
    if (count > 0)
        need(accept(last_socket, NULL, NULL), "accept");
    puts(count > 0 ? "connection" : "nobody came");
}

static void answer(int listener)
{
    char text[128];
    int client = accept(listener, NULL, NULL);
    need(client, "accept");
    int count = recv(client, text, sizeof text, 0);
    need(count, "recv");
    printf("%.*s\n", count, text);
    close(client);
}

/* As `ip link set lo up multicast on && ip route add 224.0.0.0/4 dev lo`. */
static void bring_loopback_up(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK | IFF_MULTICAST };
    need(ioctl(fd, SIOCSIFFLAGS, &lo), "lo up");
    struct rtentry route = { .rt_flags = RTF_UP, .rt_dev = "lo" };
    struct sockaddr_in to = { .sin_family = AF_INET }, mask = { .sin_family = AF_INET };
    to.sin_addr.s_addr = inet_addr("224.0.0.0");
    mask.sin_addr.s_addr = inet_addr("240.0.0.0");
    memcpy(&route.rt_dst, &to, sizeof to);
    memcpy(&route.rt_genmask, &mask, sizeof mask);
    need(ioctl(fd, SIOCADDRT, &route), "route");
    close(fd);
}

/* SIOCBRADDBR or SIOCBRDELBR. */
static void change_bridge(unsigned long request)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    need(ioctl(fd, request, word()), "bridge");
    close(fd);
}

static void respond_to_mdns(void)
{
    int on = 1, ttl = -1, fd = socket(AF_INET, SOCK_DGRAM, 0);
    need(fd, "socket");
    need(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    need(setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof on), "IP_RECVTTL");
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(5353) }, from;
    need(bind(fd, (struct sockaddr *)&at, sizeof at), "bind");
    struct ip_mreq group = { .imr_multiaddr = { inet_addr("224.0.0.251") },
                             .imr_interface = { inet_addr("127.0.0.1") } };
    need(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group), "membership");
    puts("ready");
    char data[2048], extra[512];
    struct iovec parts = { data, sizeof data };
    struct msghdr message = { &from, sizeof from, &parts, 1, extra, sizeof extra, 0 };
    int count = recvmsg(fd, &message, 0);
    need(count, "recvmsg");
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part))
        if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_TTL)
            memcpy(&ttl, CMSG_DATA(part), sizeof ttl);
    printf("from %d, TTL %d: ", ntohs(from.sin_port), ttl);
    for (int index = 0; index < count; index++)
        if (data[index] > ' ' && data[index] < 127)
            putchar(data[index]);
        else
            printf("\\x%02x", (unsigned char)data[index]);
    putchar('\n');
}

static void notify(int fd, char *message)
{
    struct sockaddr_un manager = { .sun_family = AF_UNIX };
    const char *name = getenv("NOTIFY_SOCKET");
    if (name == NULL || strlen(name) >= sizeof manager.sun_path) {
        puts("no NOTIFY_SOCKET");
        return;
    }
    memcpy(manager.sun_path, name, strlen(name));
    if (name[0] == '@')
        manager.sun_path[0] = 0;
    for (char *at = message; *at; at++)
        if (*at == ' ')
            *at = '\n';
    struct iovec data = { message, strlen(message) };
    char control[CMSG_SPACE(sizeof fd)] = { 0 };
    struct msghdr header = { .msg_name = &manager, .msg_iov = &data, .msg_iovlen = 1,
                             .msg_namelen = offsetof(struct sockaddr_un, sun_path) + strlen(name) };
    if (fd >= 0) {
        header.msg_control = control;
        header.msg_controllen = sizeof control;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    need(sendmsg(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), &header, 0), "sendmsg");
}

static int file_with(const char *text)
{
    int fd = memfd_create("kept", 0);
    need(fd, "memfd_create");
    need(write(fd, text, strlen(text)), "write");
    return fd;
}

static int pipe_of_ours(void)
{
    int ends[2];
    need(pipe(ends), "pipe");
    return ends[0];
}

static void tell(const char *name)
{
    const char *value = getenv(name);
    printf("%s %s\n", name, value ? value : "is not set");
}

static void tell_file(int fd)
{
    char text[128] = "";
    if (pread(fd, text, sizeof text - 1, 0) < 0)
        perror("pread");
    printf("descriptor %d: %s\n", fd, text);
}

static void mask(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number());
    need(sigprocmask(how, &set, NULL), "sigprocmask");
}

static int is_pending(int signal_number)
{
    sigset_t pending;
    need(sigpending(&pending), "sigpending");
    return sigismember(&pending, signal_number);
}

static void set_alarm(int milliseconds)
{
    struct itimerval timer = { .it_value = { milliseconds / 1000, milliseconds % 1000 * 1000 } };
    need(setitimer(ITIMER_REAL, &timer, NULL), "setitimer");
}

static void read_input(void)
{
    char bytes[128];
    while (read(0, bytes, sizeof bytes) > 0)
        ;
}

static void wait_for_file(const char *path)
{
    while (access(path, F_OK) != 0)
        usleep(3 * 1000);
}

static void wait_for_pending(int signal_number)
{
    while (!is_pending(signal_number))
        usleep(3 * 1000);
}

static void take(int signal_number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal_number);
    need(sigwaitinfo(&set, NULL), "sigwaitinfo");
}

static void become(void)
{
    char **command = words;
    execvp(word(), command);
    perror(command[0]);
    exit(98);
}

static void do_deed(const char *deed)
{
    if (strcmp(deed, "say") == 0)
        puts(word());
    else if (strcmp(deed, "await") == 0)
        wait_for_file(word());
    else if (strcmp(deed, "read-input") == 0)
        read_input();
    else if (strcmp(deed, "pause") == 0)
        for (;;)
            pause();
    else if (strcmp(deed, "bind") == 0)
        last_socket = bound(SOCK_STREAM);
    else if (strcmp(deed, "listen") == 0)
        need(listen(last_socket, 64), "listen");
    else if (strcmp(deed, "accept") == 0)
        accept_within(number());
    else if (strcmp(deed, "answer") == 0)
        answer(number());
    else if (strcmp(deed, "notify") == 0)
        notify(-1, word());
    else if (strcmp(deed, "keep") == 0) {
        int fd = file_with(word());
        notify(fd, word());
    } else if (strcmp(deed, "keep-pipe") == 0)
        notify(pipe_of_ours(), word());
    else if (strcmp(deed, "keep-again") == 0) {
        int fd = number();
        notify(fd, word());
    } else if (strcmp(deed, "tell") == 0)
        tell(word());
    else if (strcmp(deed, "tell-file") == 0)
        tell_file(number());
    else if (strcmp(deed, "fail") == 0)
        exit(1);
    else if (strcmp(deed, "udp") == 0)
        bound(SOCK_DGRAM);
    else if (strcmp(deed, "loopback") == 0)
        bring_loopback_up();
    else if (strcmp(deed, "bridge") == 0)
        change_bridge(SIOCBRADDBR);
    else if (strcmp(deed, "no-bridge") == 0)
        change_bridge(SIOCBRDELBR);
    else if (strcmp(deed, "mdns") == 0)
        respond_to_mdns();
    else if (strcmp(deed, "block") == 0)
        mask(SIG_BLOCK);
    else if (strcmp(deed, "unblock") == 0)
        mask(SIG_UNBLOCK);
    else if (strcmp(deed, "raise") == 0)
        raise(number());
    else if (strcmp(deed, "await-pending") == 0)
        wait_for_pending(number());
    else if (strcmp(deed, "take") == 0)
        take(number());
    else if (strcmp(deed, "alarm") == 0)
        set_alarm(number());
    else if (strcmp(deed, "exec") == 0)
        become();
    else {
        fprintf(stderr, "deeds: what is \"%s\"?\n", deed);
        exit(97);
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    setvbuf(stdout, NULL, _IOLBF, 0);
    words = argv + 1;
    while (*words)
        do_deed(word());
    return 0;
}
