/* A child that says what reached it: signals by number, and the state in which it was started.
   Raw system calls, because libc hides signals 32 and 33. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* One line, one write: several processes share the pipe. */
static void say(const char *who, const char *what, int number)
{
    char line[128];
    int length = number < 0 ? snprintf(line, sizeof line, "%s%s\n", who, what)
                            : snprintf(line, sizeof line, "%s%s %d\n", who, what, number);
    if (write(1, line, length) < 0)
        _exit(99);
}

static void set_mask(uint64_t mask)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
}

/* Says every signal that arrives; each argument SIGNAL:CODE names one that ends it, count:N ends it
   after so many. */
static void listen_to(const char *who, char **ends)
{
    uint64_t all = UINT64_MAX;
    for (int seen = 1;; seen++) {
        int number = syscall(SYS_rt_sigtimedwait, &all, NULL, NULL, 8);
        if (number < 0) {
            seen--;
            continue;
        }
        say(who, "got", number);
        for (char **end = ends; *end; end++) {
            int wanted, code;
            if (sscanf(*end, "%d:%d", &wanted, &code) == 2 && wanted == number)
                exit(code);
            if (sscanf(*end, "count:%d", &wanted) == 1 && wanted == seen)
                exit(0);
        }
    }
}

/* A main process, a member of its group, one in a session of its own, and an orphan. */
static void family(char **ends)
{
    int ready[2];
    char byte;
    set_mask(UINT64_MAX);
    if (pipe(ready) < 0)
        exit(98);
    const char *names[] = { "member ", "outsider ", "orphan " };
    for (int index = 0; index < 3; index++) {
        if (fork() != 0)
            continue;
        if (index > 0)
            setsid();
        if (index == 2 && fork() != 0)
            _exit(0);
        while (index == 2 && getppid() == getsid(0))
            sched_yield();
        if (write(ready[1], "x", 1) < 0)
            _exit(98);
        listen_to(names[index], (char *[]) { "15:0", NULL });
    }
    for (int index = 0; index < 3; index++)
        if (read(ready[0], &byte, 1) != 1)
            exit(98);
    say("", "ready", -1);
    listen_to("main ", ends);
}

static void say_bytes(const char *what, const char *bytes)
{
    printf("%s ", what);
    for (; *bytes; bytes++)
        if (*bytes > ' ' && *bytes < 127 && *bytes != '\\')
            putchar(*bytes);
        else
            printf("\\x%02x", (unsigned char)*bytes);
    putchar('\n');
}

/* Everything that a process inherits and that we know to ask for, but who it is and whose child. */
static void dump(int count, char **words)
{
    char text[4096];
    for (int index = 0; index < count; index++)
        say_bytes("argv", words[index]);
    for (char **entry = environ; *entry; entry++)
        say_bytes("env", *entry);
    if (getcwd(text, sizeof text))
        say_bytes("cwd", text);
    mode_t mask = umask(0);
    umask(mask);
    printf("umask %o\n", mask);
    for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
        struct rlimit limit;
        if (getrlimit(resource, &limit) == 0)
            printf("rlimit %d %llu %llu\n", resource, (unsigned long long)limit.rlim_cur,
                   (unsigned long long)limit.rlim_max);
    }
    printf("nice %d\n", getpriority(PRIO_PROCESS, 0));
    printf("scheduler %d\n", sched_getscheduler(0));
    printf("leader of its group %d\n", getpgrp() == getpid());
    printf("ids %d %d %d %d\n", getuid(), geteuid(), getgid(), getegid());
    gid_t groups[256];
    int group_count = getgroups(256, groups);
    for (int index = 0; index < group_count; index++)
        printf("group %d\n", groups[index]);
    uint64_t blocked = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &blocked, 8);
    printf("blocked %016llx\n", (unsigned long long)blocked);
    for (int number = 1; number <= 64; number++) {
        struct {
            void *handler;
            unsigned long flags, restorer, mask;
        } action = { 0 };
        syscall(SYS_rt_sigaction, number, NULL, &action, 8);
        if (action.handler != NULL || action.flags != 0)
            printf("signal %d %s %lx\n", number, action.handler == (void *)1 ? "ignored" : "?",
                   action.flags);
    }
    uint64_t pending = 0;
    syscall(SYS_rt_sigpending, &pending, 8);
    printf("pending %016llx\n", (unsigned long long)pending);
    for (int fd = 0; fd < 256; fd++) {
        struct stat is;
        int flags = fcntl(fd, F_GETFD);
        if (flags < 0 || fstat(fd, &is) < 0)
            continue;
        int kind = is.st_mode & S_IFMT;
        int is_pipe = kind == S_IFIFO || kind == S_IFSOCK;
        printf("fd %d flags %x %x mode %o at %lld file %llx:%llu\n", fd, flags, fcntl(fd, F_GETFL),
               is.st_mode, (long long)lseek(fd, 0, SEEK_CUR),
               is_pipe ? 0ULL : (unsigned long long)is.st_dev,
               is_pipe ? 0ULL : (unsigned long long)is.st_ino);
    }
    printf("dumpable %d keepcaps %d securebits %d nnp %d seccomp %d thp %d slack %d\n",
           prctl(PR_GET_DUMPABLE), prctl(PR_GET_KEEPCAPS), prctl(PR_GET_SECUREBITS),
           prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), prctl(PR_GET_SECCOMP),
           prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), prctl(PR_GET_TIMERSLACK));
    int value = -1;
    prctl(PR_GET_CHILD_SUBREAPER, &value);
    printf("subreaper %d\n", value);
    prctl(PR_GET_PDEATHSIG, &value);
    printf("pdeathsig %d\n", value);
    for (int capability = 0; capability < 41; capability++)
        printf("capability %d %d %d\n", capability, prctl(PR_CAPBSET_READ, capability, 0, 0, 0),
               prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0));
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    sched_getaffinity(0, sizeof cpus, &cpus);
    printf("cpus %d\n", CPU_COUNT(&cpus));
    for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
        struct itimerval timer;
        getitimer(which, &timer);
        printf("timer %d %d\n", which, timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0);
    }
    /* Where there is a /proc: what only it tells. */
    const char *wanted[] = { "SigIgn", "SigCgt", "ShdPnd", "Cap", "Umask", "Groups", "Threads",
                             "CoreDumping", "Speculation" };
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(text, sizeof text, status))
        for (size_t index = 0; index < sizeof wanted / sizeof *wanted; index++)
            if (strncmp(text, wanted[index], strlen(wanted[index])) == 0)
                printf("status %s", text);
    const char *files[] = { "/proc/self/oom_score_adj", "/proc/self/coredump_filter",
                            "/proc/self/personality", "/proc/self/loginuid" };
    for (size_t index = 0; index < sizeof files / sizeof *files; index++) {
        FILE *file = fopen(files[index], "r");
        if (file && fgets(text, sizeof text, file))
            printf("%s %s\n", files[index], text);
        if (file)
            fclose(file);
    }
}

/* Dies of this signal, whatever libc thinks of its number. */
static void die_of(int number)
{
    struct {
        void *handler;
        unsigned long flags, restorer, mask;
    } action = { 0 };
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    syscall(SYS_rt_sigaction, number, &action, NULL, 8);
    set_mask(0);
    syscall(SYS_kill, getpid(), number);
}

int main(int argc, char **argv)
{
    const char *act = argc > 1 ? argv[1] : "";
    /* A setuid witness is out of reach for whoever started it. */
    if (geteuid() != getuid() && setreuid(geteuid(), geteuid()) < 0)
        return 98;
    if (strcmp(act, "listen") == 0) {
        set_mask(UINT64_MAX);
        say("", "ready", -1);
        listen_to("", argv + 2);
    }
    if (strcmp(act, "family") == 0)
        family(argv + 2);
    if (strcmp(act, "dump") == 0) {
        /* Where standard output is part of the question the answer goes elsewhere. */
        const char *elsewhere = getenv("WITNESS_FD");
        if (elsewhere)
            stdout = fdopen(atoi(elsewhere), "w");
        dump(argc, argv);
        fflush(stdout);
        return 0;
    }
    if (strcmp(act, "exit") == 0 && argc > 2)
        return atoi(argv[2]);
    if (strcmp(act, "die") == 0 && argc > 2)
        die_of(atoi(argv[2]));
    fprintf(stderr, "witness: what is \"%s\"?\n", act);
    return 97;
}
