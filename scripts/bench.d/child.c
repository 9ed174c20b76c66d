/* The programs that run below an init in the benchmark: one static binary, the role is its first argument.
 *
 *   stamp        write the time at which main began to stdout (8 bytes), exit 0: the static `true`
 *   sleep        write a byte, sleep; TERM ends it with status 0
 *   usr1         write a byte; write the time at each SIGUSR1
 *   storm N      write a byte, wait for a byte on stdin, make N orphans, write a byte, sleep
 *   brief F MS   append to the file F when main began and, MS milliseconds later, when it exits with 1
 *   again ...    run this command again and again: the least that a supervisor can do
 *   tree N       be a tree of N processes that ignore TERM; write a byte when it is complete
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void put(const void *data, size_t size) {
    if (write(1, data, size) != (ssize_t)size)
        _exit(1);
}

static void on_term(int signal) {
    (void)signal;
    _exit(0);
}

static void on_usr1(int signal) {
    (void)signal;
    int64_t at = now();
    put(&at, sizeof at);
}

static void handle(int signal, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler};
    sigaction(signal, &action, NULL);
}

static void sleep_for_ever(void) {
    for (;;)
        pause();
}

/* Orphans are made as daemons are: a process in between forks and exits. It makes a few at once,
 * so that the storm lasts a second and is not mostly the cost of the processes in between. */
static void storm(int orphans) {
    enum { AT_ONCE = 4 };
    char go;
    put("r", 1);
    if (read(0, &go, 1) != 1)
        _exit(1);
    while (orphans > 0) {
        int batch = orphans < AT_ONCE ? orphans : AT_ONCE;
        pid_t between = fork();
        if (between < 0)
            continue;
        if (between == 0) {
            for (int made = 0; made < batch;) {
                pid_t orphan = fork();
                if (orphan == 0)
                    _exit(0);
                if (orphan > 0)
                    made++;
            }
            _exit(0);
        }
        orphans -= batch;
        while (waitpid(between, NULL, 0) < 0)
            ;
    }
    put("d", 1);
    sleep_for_ever();
}

static int *alive;

static void member(void) {
    __atomic_add_fetch(alive, 1, __ATOMIC_SEQ_CST);
    sleep_for_ever();
}

static pid_t must_fork(void) {
    pid_t pid = fork();
    if (pid < 0)
        _exit(1);
    return pid;
}

/* The root, BRANCHES branches, and leaves below the branches. Every second leaf has a session of its
 * own; 23 of 100 are daemons: in a session of their own too, and their parent has exited. */
static void tree(int size) {
    enum { BRANCHES = 20 };
    alive = mmap(NULL, sizeof *alive, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (alive == MAP_FAILED)
        _exit(1);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    int leaves = size - 1 - BRANCHES;
    for (int branch = 0; branch < BRANCHES; branch++) {
        if (must_fork() != 0)
            continue;
        for (int leaf = branch; leaf < leaves; leaf += BRANCHES) {
            int kind = (leaf / BRANCHES) % 100;
            int daemon = kind < 23, session = kind < 50;
            pid_t pid = must_fork();
            if (pid == 0) {
                if (session)
                    setsid();
                if (daemon && must_fork() != 0)
                    _exit(0);
                member();
            }
            if (daemon)
                waitpid(pid, NULL, 0);
        }
        member();
    }
    while (__atomic_load_n(alive, __ATOMIC_SEQ_CST) < size - 1)
        usleep(1000);
    put("r", 1);
    sleep_for_ever();
}

/* The letter of what has happened, and when. */
struct moment {
    int64_t what, at;
};

static void note(int file, char what, int64_t at) {
    struct moment moment = {what, at};
    if (write(file, &moment, sizeof moment) != sizeof moment)
        _exit(2);
}

static void brief(const char *path, int milliseconds, int64_t began) {
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    note(file, 'b', began);
    usleep(milliseconds * 1000);
    note(file, 'e', now());
    _exit(1);
}

static pid_t running;

static void end_both(int signal) {
    kill(running, signal);
    _exit(0);
}

static void again(char **command) {
    handle(SIGTERM, end_both);
    for (;;) {
        running = vfork();
        if (running == 0) {
            execvp(command[0], command);
            _exit(127);
        }
        if (running < 0 || waitpid(running, NULL, 0) < 0)
            _exit(1);
    }
}

int main(int argc, char **argv) {
    int64_t began = now();
    const char *role = argc > 1 ? argv[1] : "";
    int number = argc > 2 ? atoi(argv[2]) : 0;
    if (strcmp(role, "stamp") == 0) {
        put(&began, sizeof began);
        return 0;
    }
    if (strcmp(role, "brief") == 0 && argc > 3)
        brief(argv[2], atoi(argv[3]), began);
    if (strcmp(role, "again") == 0 && argc > 2)
        again(argv + 2);
    if (strcmp(role, "storm") == 0)
        storm(number);
    if (strcmp(role, "tree") == 0)
        tree(number);
    if (strcmp(role, "usr1") == 0)
        handle(SIGUSR1, on_usr1);
    handle(SIGTERM, on_term);
    put("r", 1);
    sleep_for_ever();
}
