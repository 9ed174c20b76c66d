/*
 * Small programs with one known defect each, and the twin of each without it.
 *
 * Usage: gallery NAME clean|broken [PORT | PACE]
 * PACE: how many times as long late-handler and slow-start take for their start. All print `ready` once they can be signalled, and end with 0 on TERM unless their defect says otherwise.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int broken;
static int bell[2];

static void ready(void) {
    puts("ready");
    fflush(stdout);
}

/* TERM rings the bell; what is to be done is done outside of the handler. */
static void ring(int signal) {
    (void)signal;
    if (write(bell[1], "", 1) != 1) _exit(99);
}

static void handle(void) {
    if (pipe(bell) != 0) exit(98);
    struct sigaction action = {.sa_handler = ring, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &action, NULL);
}

static void wait_for_term(void) {
    char byte;
    while (read(bell[0], &byte, 1) != 1) continue;
}

static void milliseconds(int count) { usleep((useconds_t)count * 1000); }

static void no_handler(void) {
    if (!broken) handle();
    ready();
    if (broken) for (;;) pause();
    wait_for_term();
}

static void late_handler(int pace) {
    if (!broken) handle();
    milliseconds(250 * pace);
    if (broken) handle();
    ready();
    wait_for_term();
}

static void block(int how) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(how, &set, NULL);
}

/* TERM is not lost while the program starts, and not acted on before it has. */
static void slow_start(int pace) {
    handle();
    if (broken) block(SIG_BLOCK);
    milliseconds(700 * pace);
    ready();
    block(SIG_UNBLOCK);
    wait_for_term();
}

static void blocked(void) {
    if (broken) block(SIG_BLOCK);
    handle();
    ready();
    wait_for_term();
}

static void hanging_handler(void) {
    handle();
    ready();
    wait_for_term();
    if (broken) for (;;) pause();
}

static void slow_drain(void) {
    handle();
    ready();
    wait_for_term();
    if (broken) milliseconds(7000);
}

/* Starts a child that only KILL or TERM ends; before TERM is handled, or the child would handle it, too. */
static pid_t worker(int away) {
    pid_t pid = fork();
    if (pid != 0) return pid;
    if (away) {
        setsid();
        if (fork() != 0) _exit(0);
    }
    for (;;) pause();
}

static void orphan(void) {
    pid_t pid = worker(0);
    handle();
    ready();
    wait_for_term();
    if (broken) return;
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

static void double_fork(void) {
    pid_t pid = broken ? worker(1) : worker(0);
    if (broken) waitpid(pid, NULL, 0);
    handle();
    ready();
    wait_for_term();
    if (broken) return;
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

static int listen_on(const char *port) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 64) != 0) exit(97);
    return fd;
}

/* The child inherits the listening socket; whether it may outlive us is not the point here. */
static void port_kept(const char *port) {
    int fd = broken ? listen_on(port) : -1;
    worker(0);
    if (!broken) fd = listen_on(port);
    handle();
    ready();
    wait_for_term();
    close(fd);
}

static int active, stopping;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

/* An answer is owed until TERM has come, so that it is in flight then however long TERM takes. The broken one
 * ends before it answers anybody. */
static void *answer(void *argument) {
    int fd = (int)(long)argument;
    char buffer[4096];
    if (read(fd, buffer, sizeof buffer) > 0) {
        pthread_mutex_lock(&lock);
        while (!stopping) pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
        const char *text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes";
        if (write(fd, text, strlen(text)) < 0) perror("write");
    }
    close(fd);
    pthread_mutex_lock(&lock);
    active--;
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Is a connection waiting to be accepted? */
static int is_asked(int listener, int patience) {
    struct pollfd queue = {.fd = listener, .events = POLLIN};
    return poll(&queue, 1, patience) > 0;
}

static void *serve(void *argument) {
    int listener = (int)(long)argument;
    for (;;) {
        if (!is_asked(listener, -1)) continue;
        /* A connection is in the queue or active, and never neither. */
        pthread_mutex_lock(&lock);
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0) active++;
        pthread_mutex_unlock(&lock);
        if (fd < 0) continue;
        pthread_t thread;
        if (pthread_create(&thread, NULL, answer, (void *)(long)fd) != 0) return NULL;
        pthread_detach(thread);
    }
}

static void requests(const char *port) {
    handle();
    pthread_t thread;
    int listener = listen_on(port);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    pthread_create(&thread, NULL, serve, (void *)(long)listener);
    ready();
    wait_for_term();
    if (broken) _exit(0);
    pthread_mutex_lock(&lock);
    stopping = 1;
    pthread_cond_broadcast(&changed);
    while (active > 0 || is_asked(listener, 0)) {
        pthread_mutex_unlock(&lock);
        milliseconds(5);
        pthread_mutex_lock(&lock);
    }
    _exit(0);
}

static void *take_lock(void *argument) {
    (void)argument;
    pthread_mutex_lock(&lock);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void deadlock(void) {
    handle();
    pthread_t thread;
    pthread_mutex_lock(&lock);
    pthread_create(&thread, NULL, take_lock, NULL);
    ready();
    wait_for_term();
    if (!broken) pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
}

int main(int count, char **words) {
    if (count < 3) return 96;
    const char *name = words[1], *port = count > 3 ? words[3] : "0";
    int pace = count > 3 ? atoi(words[3]) : 1;
    broken = strcmp(words[2], "broken") == 0;
    if (strcmp(name, "no-handler") == 0) no_handler();
    else if (strcmp(name, "late-handler") == 0) late_handler(pace);
    else if (strcmp(name, "slow-start") == 0) slow_start(pace);
    else if (strcmp(name, "blocked") == 0) blocked();
    else if (strcmp(name, "hanging-handler") == 0) hanging_handler();
    else if (strcmp(name, "slow-drain") == 0) slow_drain();
    else if (strcmp(name, "orphan") == 0) orphan();
    else if (strcmp(name, "double-fork") == 0) double_fork();
    else if (strcmp(name, "port-kept") == 0) port_kept(port);
    else if (strcmp(name, "requests") == 0) requests(port);
    else if (strcmp(name, "deadlock") == 0) deadlock();
    else if (strcmp(name, "exit-code") == 0) {
        hanging_handler();
        return 3;
    } else return 95;
    return 0;
}
