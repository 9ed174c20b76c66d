/* The child of the container stories: static, needs nothing but the kernel, acts as argv says. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* One line, one write: several processes share the pipe. */
static void say(const char *text, int number)
{
    char line[128];
    int length = number < 0 ? snprintf(line, sizeof line, "%s\n", text)
                            : snprintf(line, sizeof line, "%s %d\n", text, number);
    if (write(1, line, length) < 0)
        _exit(99);
}

static void wait_for_ever(void)
{
    for (;;)
        pause();
}

/* Prints every signal that arrives, in the order of arrival; TERM, INT and QUIT end it with `code`. */
static void print_signals(int code)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    say("ready", -1);
    for (;;) {
        int number = sigwaitinfo(&all, NULL);
        if (number == SIGCONT || number == SIGCHLD || number < 0)
            continue;
        say("got", number);
        if (number == SIGTERM || number == SIGINT || number == SIGQUIT)
            exit(code);
    }
}

/* Ignores everything that can be ignored. */
static void ignore_signals(void)
{
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    say("ready", -1);
    wait_for_ever();
}

/* Makes `count` orphans that end at once, then waits for ever without being their parent. */
static void make_orphans(int count)
{
    for (int made = 0; made < count; made++) {
        pid_t middle = fork();
        if (middle == 0) {
            if (fork() == 0)
                _exit(0);
            _exit(0);
        }
        waitpid(middle, NULL, 0);
    }
    say("ready", -1);
    wait_for_ever();
}

/* Leaves a living orphan of a middle process that is gone, in a session of its own, and waits. */
static void keep_an_orphan(void)
{
    pid_t middle = fork();
    if (middle == 0) {
        if (fork() == 0) {
            setsid();
            wait_for_ever();
        }
        _exit(0);
    }
    waitpid(middle, NULL, 0);
    say("ready", -1);
    wait_for_ever();
}

/* Ends with 0 and leaves an orphan behind that holds standard output and error open. */
static void leave_a_holder(void)
{
    if (fork() == 0) {
        signal(SIGTERM, SIG_IGN);
        setsid();
        say("holding", -1);
        wait_for_ever();
    }
    say("leaving", -1);
    exit(0);
}

/* Obeys only the line `stop` on standard input. */
static void obey_console(void)
{
    char line[128];
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    say("ready", -1);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\r\n")] = 0;
        if (strcmp(line, "stop") == 0) {
            say("saved", -1);
            exit(0);
        }
        say(strcat(strcpy((char[160]){ 0 }, "unknown: "), line), -1);
    }
    say("input is closed", -1);
    wait_for_ever();
}

/* Says how it was started. */
static void describe(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    say("uid", getuid());
    say("gid", getgid());
    say("nofile", files.rlim_cur);
    say("seccomp", prctl(PR_GET_SECCOMP));
    say("leader of its group", getpgrp() == getpid());
    for (int fd = 3; fd < (int)files.rlim_cur && fd < 4096; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            say("leaked", fd);
    say(access("/proc/self", F_OK) == 0 ? "proc is there" : "no proc", -1);
    int file = open("/probe", O_CREAT | O_WRONLY, 0600);
    say(file < 0 && errno == EROFS ? "root is read-only" : "root is writable or not ours", -1);
}

/* Takes memory without end, and uses it. */
static void hoard(void)
{
    enum { STEP = 1 << 20 };
    for (;;) {
        char *more = malloc(STEP);
        if (more)
            memset(more, 1, STEP);
    }
}

/* A worker does so; its end is what we end with. */
static void let_a_worker_hoard(void)
{
    pid_t worker = fork();
    if (worker == 0)
        hoard();
    int status = 0;
    waitpid(worker, &status, 0);
    say("worker died of", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    exit(3);
}

int main(int argc, char **argv)
{
    const char *act = argc > 1 ? argv[1] : "";
    int number = argc > 2 ? atoi(argv[2]) : 0;

    if (strcmp(act, "exit") == 0)
        return number;
    if (strcmp(act, "raise") == 0) {
        /* A core file would take time and land nowhere. */
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
        raise(number);
        return 99;
    }
    if (strcmp(act, "say") == 0) {
        say(argc > 2 ? argv[2] : "", -1);
        return 0;
    }
    if (strcmp(act, "wait") == 0) {
        say("ready", -1);
        wait_for_ever();
    }
    if (strcmp(act, "print-signals") == 0)
        print_signals(number);
    if (strcmp(act, "ignore-signals") == 0)
        ignore_signals();
    if (strcmp(act, "hoard") == 0)
        hoard();
    if (strcmp(act, "let-a-worker-hoard") == 0)
        let_a_worker_hoard();
    if (strcmp(act, "tell") == 0 && argc > 2) {
        const char *value = getenv(argv[2]);
        printf("%s=%s\n", argv[2], value ? value : "is not set");
        return 0;
    }
    if (strcmp(act, "orphans") == 0)
        make_orphans(number);
    if (strcmp(act, "keep-an-orphan") == 0)
        keep_an_orphan();
    if (strcmp(act, "leave-a-holder") == 0)
        leave_a_holder();
    if (strcmp(act, "console") == 0)
        obey_console();
    if (strcmp(act, "describe") == 0) {
        describe();
        /* With a second word it stays and shows its signals too. */
        if (argc > 2)
            print_signals(number);
        return 0;
    }
    /* As PID 1: takes /proc away and becomes the program that follows. */
    if (strcmp(act, "without-proc") == 0 && argc > 2) {
        if (umount2("/proc", MNT_DETACH) != 0) {
            perror("umount /proc");
            return 98;
        }
        execv(argv[2], argv + 2);
        perror(argv[2]);
        return 98;
    }
    fprintf(stderr, "actor: what is \"%s\"?\n", act);
    return 97;
}
