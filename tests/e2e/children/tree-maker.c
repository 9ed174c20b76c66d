/* Makes process trees that are hard to end; prints `ready` once all of it lives. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Every process of a tree writes one byte into it when it is there. */
static int here[2];

/* What all processes share: how many may still be forked. Without it a failed story would never end. */
static int *budget;

static void say(const char *text)
{
    if (write(1, text, strlen(text)) < 0)
        _exit(99);
}

static void wait_for_ever(void)
{
    for (;;)
        pause();
}

static int may_fork(void)
{
    return __sync_fetch_and_sub(budget, 1) > 0;
}

static pid_t fork_or_fail(void)
{
    pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        _exit(98);
    }
    return pid;
}

/* Makes `count` processes below this one, numbered from `first`: eight children share them. Half lead
   a session of their own, and 23 in 100 are daemons, whose middle process is gone. */
static void grow(int first, int count)
{
    int branches = count < 8 ? count : 8;
    for (int branch = 0; branch < branches; branch++) {
        int from = count * branch / branches, to = count * (branch + 1) / branches;
        int number = first + from;
        int daemon = number % 100 < 23;
        pid_t pid = fork_or_fail();
        if (pid == 0) {
            if (number % 2)
                setsid();
            if (daemon && fork_or_fail() > 0)
                _exit(0);
            if (write(here[1], "+", 1) < 0)
                _exit(97);
            grow(number + 1, to - from - 1);
            wait_for_ever();
        }
        if (daemon)
            waitpid(pid, NULL, 0);
    }
}

static void make_tree(int count)
{
    if (pipe(here) != 0)
        exit(96);
    grow(0, count);
    char bytes[4096];
    for (int seen = 0; seen < count;) {
        int more = read(here[0], bytes, sizeof bytes);
        if (more <= 0)
            exit(95);
        seen += more;
    }
}

/* A process that has two children and replaces each that dies, down to the third generation. */
static void hydra(int depth)
{
    int heads = 0;
    for (;;) {
        if (depth == 0)
            wait_for_ever();
        if (heads == 2) {
            wait(NULL);
            heads--;
        }
        if (!may_fork())
            _exit(0);
        pid_t pid = fork();
        if (pid == 0) {
            setsid();
            depth--;
            heads = 0;
        } else if (pid > 0) {
            heads++;
        }
    }
}

/* A process that lives only until it has forked the next one. */
static void run_away(void)
{
    while (may_fork()) {
        pid_t pid = fork();
        if (pid > 0)
            _exit(0);
    }
    _exit(0);
}

/* Every process forks as often as the system lets it. */
static void bomb(void)
{
    while (may_fork())
        if (fork() < 0)
            usleep(200);
    wait_for_ever();
}

/* Many processes that fork whenever there is room for one more, until all of it has lasted too long; with a
 * pause, so that what ends them is not kept from the CPU, where there is none. */
static void storm(int limit, int pause)
{
    time_t began = time(NULL);
    setrlimit(RLIMIT_NPROC, &(struct rlimit){ limit, limit });
    signal(SIGCHLD, SIG_IGN);
    while (time(NULL) - began < 60) {
        pid_t pid = fork();
        if (pid > 0)
            may_fork();
        else if (pid < 0 && pause > 0)
            usleep(pause);
    }
    _exit(0);
}

static void *wait_in_thread(void *nothing)
{
    wait_for_ever();
    return nothing;
}

/* A process whose first thread has ended: it looks like a zombie, and lives. */
static void lose_first_thread(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_in_thread, NULL) != 0)
        _exit(91);
    pthread_exit(NULL);
}

int main(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : "";
    int count = argc > 2 ? atoi(argv[2]) : 0;

    signal(SIGTERM, SIG_IGN);
    budget = mmap(NULL, sizeof *budget, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (budget == MAP_FAILED)
        return 94;
    *budget = count;
    if (strcmp(kind, "tree") == 0) {
        make_tree(count);
        say("ready\n");
        wait_for_ever();
    }
    if (strcmp(kind, "headless") == 0) {
        pid_t pid = fork_or_fail();
        if (pid == 0)
            lose_first_thread();
        char path[64], line[256] = "";
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        while (!strstr(line, ") Z ")) {
            FILE *stat = fopen(path, "r");
            if (!stat || !fgets(line, sizeof line, stat))
                return 90;
            fclose(stat);
            usleep(1000);
        }
        signal(SIGTERM, SIG_DFL);
        say("ready\n");
        wait_for_ever();
    }
    /* The others keep forking below a process that ends when it is told to. */
    if (fork_or_fail() == 0) {
        if (strcmp(kind, "hydra") == 0)
            hydra(3);
        if (strcmp(kind, "run-away") == 0)
            run_away();
        if (strcmp(kind, "bomb") == 0)
            bomb();
        if (strcmp(kind, "storm") == 0)
            storm(count, 0);
        if (strcmp(kind, "patient-storm") == 0)
            storm(count, 10000);
        _exit(93);
    }
    /* Let it come to life: its forks are counted. */
    while (*budget > count - 8)
        usleep(200);
    signal(SIGTERM, SIG_DFL);
    say("ready\n");
    wait_for_ever();
    return 92;
}
