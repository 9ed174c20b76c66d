/* Programs whose processes end one after the other, and that say who was told what. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* One line, one write: several processes share the pipe. */
static void say(const char *who, const char *what)
{
    char line[128];
    int length = snprintf(line, sizeof line, "%s %s\n", who, what);
    if (write(1, line, length) < 0)
        _exit(99);
}

static void block_all(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
}

static const char *name_of(int number)
{
    return number == SIGTERM ? "got TERM" : number == SIGINT ? "got INT" : "got CONT";
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The next of TERM, INT and CONT, or 0 once this much time has passed; without end when it is negative. */
static int next_signal(long within_ms)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGCONT);
    long until = now_ms() + within_ms;
    for (;;) {
        long left = until - now_ms();
        if (within_ms >= 0 && left <= 0)
            return 0;
        struct timespec limit = { left / 1000, left % 1000 * 1000000 };
        int number = sigtimedwait(&wanted, NULL, within_ms < 0 ? NULL : &limit);
        if (number > 0)
            return number;
    }
}

/* Needs its time after the first TERM or INT; a second one means at once, as uvicorn has it. */
static void serve(const char *name, long needs_ms)
{
    block_all();
    say(name, "ready");
    int number;
    do {
        number = next_signal(-1);
        say(name, name_of(number));
    } while (number == SIGCONT);
    long until = now_ms() + needs_ms;
    while ((number = next_signal(until - now_ms())) != 0) {
        say(name, name_of(number));
        if (number != SIGCONT) {
            say(name, "was hurried");
            _exit(3);
        }
    }
    say(name, "has finished");
    _exit(0);
}

/* Runs the rest of the words as a child and waits for it; a signal ends it at once. */
static void front(char **words, int apart)
{
    if (fork() == 0) {
        if (apart)
            setsid();
        execv(words[0], words);
        _exit(98);
    }
    while (wait(NULL) < 0 && errno == EINTR) {
    }
    _exit(0);
}

/* A worker loses what it works on when it is told itself; its master tells it by a byte. */
static void work(int orders)
{
    char byte;
    if (read(orders, &byte, 1) != 0)
        _exit(97);
    _exit(0);
}

/* A daemon with workers that finish their tasks so long after it was told; then the rest ends as it is
   told to. The program that started it ends at once, as the shell in front of a daemon does. */
static void daemonized_master(int workers, long task_ms)
{
    int ready[2];
    char byte;
    if (pipe(ready) < 0)
        _exit(98);
    if (fork() == 0) {
        setsid();
        if (fork() > 0)
            _exit(0);
        int orders[2];
        if (pipe(orders) < 0)
            _exit(98);
        for (int worker = 0; worker < workers; worker++)
            if (fork() == 0) {
                close(orders[1]);
                work(orders[0]);
            }
        block_all();
        if (write(ready[1], "x", 1) < 0)
            _exit(98);
        while (next_signal(-1) != SIGTERM) {
        }
        say("master", "got TERM");
        if (next_signal(task_ms) == SIGTERM)
            say("master", "was told twice");
        close(orders[1]);
        for (int worker = 0, status; worker < workers; worker++)
            if (wait(&status) > 0)
                say("worker", WIFEXITED(status) ? "has finished" : "has lost its task");
        _exit(0);
    }
    if (read(ready[0], &byte, 1) != 1)
        _exit(98);
    wait(NULL);
    say("main", "ready");
    for (;;)
        pause();
}

/* A parent that is deaf, left behind in a session of its own with a child that only has to be told. */
static void deaf_parent(long needs_ms)
{
    int ready[2];
    char byte;
    if (pipe(ready) < 0)
        _exit(98);
    if (fork() == 0) {
        setsid();
        signal(SIGTERM, SIG_IGN);
        if (fork() == 0) {
            /* What is ignored never comes, not even to who waits for it. */
            signal(SIGTERM, SIG_DFL);
            serve("child", needs_ms);
        }
        if (write(ready[1], "x", 1) < 0)
            _exit(98);
        while (wait(NULL) < 0) {
        }
        say("parent", "has seen it");
        _exit(0);
    }
    if (read(ready[0], &byte, 1) != 1)
        _exit(98);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    const char *act = argc > 1 ? argv[1] : "";
    if (strcmp(act, "serve") == 0 && argc > 3)
        serve(argv[2], atol(argv[3]));
    if (strcmp(act, "front") == 0 && argc > 2) {
        argv[1] = argv[0];
        front(argv + 1, 0);
    }
    if (strcmp(act, "front-apart") == 0 && argc > 2) {
        argv[1] = argv[0];
        front(argv + 1, 1);
    }
    if (strcmp(act, "master") == 0 && argc > 3)
        daemonized_master(atoi(argv[2]), atol(argv[3]));
    if (strcmp(act, "deaf-parent") == 0 && argc > 2)
        deaf_parent(atol(argv[2]));
    fprintf(stderr, "left-behind: what is \"%s\"?\n", act);
    return 97;
}
