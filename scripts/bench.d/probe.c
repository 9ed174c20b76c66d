/* Runs one measurement over several candidates in interleaved rounds and prints `index measure value` lines.
 *
 *   probe MEASUREMENT ROUNDS AMOUNT CPU  own|pid1 COMMAND... ';' own|pid1 COMMAND... ';' ...
 *
 * The whole measurement lives in a PID namespace of its own, with its own /proc: when it ends, for
 * whatever reason, the kernel kills everything that is left in it, and nothing else. */
#include "probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <time.h>

int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

void die(const char *what) {
    fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

void pause_us(int64_t us) {
    struct timespec t = {us / 1000000, us % 1000000 * 1000};
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

void pin(int cpu) {
    if (cpu < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0)
        die("sched_setaffinity");
}

/* The processors of the start, before anything was pinned. */
static cpu_set_t allowed;

int other_cpu(int cpu) {
    for (int other = 0; other < CPU_SETSIZE; other++)
        if (other != cpu && CPU_ISSET(other, &allowed))
            return other;
    return cpu;
}

struct launch {
    const struct candidate *candidate;
    int cpu, in, out, null;
    int64_t began;
};

/* Runs in the parent's memory (CLONE_VM and CLONE_VFORK), so that neither page tables are copied nor the
 * parent pays for faults afterwards, and `began` needs no shared mapping. */
static int launched(void *data) {
    struct launch *launch = data;
    pin(launch->cpu);
    /* As in a container, /proc is that of the namespace. It is mounted before the clock starts. */
    if (launch->candidate->pid1 && mount("proc", "/proc", "proc", 0, NULL) < 0)
        _exit(120);
    dup2(launch->in, 0);
    dup2(launch->out, 1);
    if (launch->null >= 0)
        dup2(launch->null, 2);
    launch->began = now();
    execvp(launch->candidate->argv[0], launch->candidate->argv);
    _exit(121);
}

struct run start(const struct candidate *candidate, int cpu) {
    static char stack[65536] __attribute__((aligned(16)));
    static int null = -2;
    if (null == -2)
        null = getenv("BENCH_STDERR") ? -1 : open("/dev/null", O_WRONLY | O_CLOEXEC);
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        die("pipe");
    struct launch launch = {candidate, cpu, in[0], out[1], null, 0};
    int flags = CLONE_VM | CLONE_VFORK | SIGCHLD | (candidate->pid1 ? CLONE_NEWPID | CLONE_NEWNS : 0);
    pid_t pid = clone(launched, stack + sizeof stack, flags, &launch);
    if (pid < 0)
        die("clone");
    close(in[0]);
    close(out[1]);
    return (struct run){pid, in[1], out[0], launch.began};
}

bool hear(const struct run *run, void *data, size_t size, int timeout_ms) {
    struct pollfd ready = {run->out, POLLIN, 0};
    if (poll(&ready, 1, timeout_ms) <= 0)
        return false;
    return read(run->out, data, size) == (ssize_t)size;
}

void await_ready(const struct probe *probe, int index, const struct run *run) {
    char byte;
    if (hear(run, &byte, 1, 60000))
        return;
    fprintf(stderr, "probe: %s did not start its child\n", probe->candidates[index].argv[0]);
    exit(1);
}

bool await_end(const struct run *run, int timeout_ms, int *status) {
    int64_t until = now() + timeout_ms * 1000000LL;
    for (;;) {
        pid_t gone = waitpid(run->pid, status, timeout_ms < 0 ? 0 : WNOHANG);
        if (gone == run->pid)
            return true;
        if (gone < 0 && errno != EINTR)
            die("waitpid");
        if (timeout_ms >= 0 && now() >= until)
            return false;
        pause_us(500);
    }
}

void close_run(struct run *run) {
    close(run->in);
    close(run->out);
}

void clean_up(void) {
    /* As the init of this namespace, -1 is everything below it and nothing outside. */
    kill(-1, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
}

const int *new_order(const struct probe *probe) {
    static int order[64];
    for (int i = 0; i < probe->count; i++) {
        int j = random() % (i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    return order;
}

void report(int index, const char *measure, double value) { printf("%d %s %.3f\n", index, measure, value); }

static size_t slurp(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        text[0] = 0;
        return 0;
    }
    ssize_t got = read(fd, text, size - 1);
    close(fd);
    text[got < 0 ? 0 : got] = 0;
    return got < 0 ? 0 : got;
}

long proc_number(pid_t pid, const char *file, const char *key) {
    char path[64], text[8192];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    slurp(path, text, sizeof text);
    char *at = strstr(text, key);
    return at ? strtol(at + strlen(key), NULL, 10) : 0;
}

static void each_entry(pid_t pid, const char *directory, void (*visit)(const char *path, int number, void *data),
                       void *data) {
    char path[64], entry_path[400];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, directory);
    DIR *entries = opendir(path);
    if (!entries)
        return;
    for (struct dirent *entry; (entry = readdir(entries));) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
            continue;
        snprintf(entry_path, sizeof entry_path, "%s/%s", path, entry->d_name);
        visit(entry_path, atoi(entry->d_name), data);
    }
    closedir(entries);
}

static void add_schedstat(const char *path, int number, void *data) {
    (void)number;
    char file[450], text[128];
    snprintf(file, sizeof file, "%s/schedstat", path);
    slurp(file, text, sizeof text);
    *(int64_t *)data += strtoll(text, NULL, 10);
}

int64_t cpu_ns(pid_t pid) {
    int64_t sum = 0;
    each_entry(pid, "task", add_schedstat, &sum);
    return sum;
}

static void add_switches(const char *path, int number, void *data) {
    (void)number;
    char file[450], text[8192];
    snprintf(file, sizeof file, "%s/status", path);
    slurp(file, text, sizeof text);
    char *voluntary = strstr(text, "\nvoluntary_ctxt_switches:");
    char *forced = strstr(text, "\nnonvoluntary_ctxt_switches:");
    if (voluntary && forced)
        *(long *)data += strtol(strchr(voluntary, ':') + 1, NULL, 10) + strtol(strchr(forced, ':') + 1, NULL, 10);
}

long context_switches(pid_t pid) {
    long sum = 0;
    each_entry(pid, "task", add_switches, &sum);
    return sum;
}

static void count_above_2(const char *path, int number, void *data) {
    (void)path;
    *(int *)data += number > 2;
}

int descriptors_above_2(pid_t pid) {
    int count = 0;
    each_entry(pid, "fd", count_above_2, &count);
    return count;
}

void each_process(void (*visit)(pid_t pid, pid_t parent, char state, void *data), void *data) {
    DIR *entries = opendir("/proc");
    if (!entries)
        die("/proc");
    for (struct dirent *entry; (entry = readdir(entries));) {
        pid_t pid = atoi(entry->d_name), parent;
        if (pid <= 0 || pid == getpid())
            continue;
        char path[64], text[512], state;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        slurp(path, text, sizeof text);
        char *end = strrchr(text, ')'); /* the name before it can hold anything */
        if (end && sscanf(end + 1, " %c %d", &state, &parent) == 2)
            visit(pid, parent, state, data);
    }
    closedir(entries);
}

static const struct {
    const char *name;
    void (*measure)(const struct probe *);
} measurements[] = {
    {"startup", measure_startup}, {"idle", measure_idle}, {"latency", measure_latency},
    {"exit", measure_exit},       {"deaf", measure_deaf}, {"orphans", measure_orphans},
    {"tree", measure_tree},
};

static struct probe probe;
static const char *wanted;

static int inside(void *unused) {
    (void)unused;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("proc", "/proc", "proc", 0, NULL) < 0)
        die("own /proc");
    for (size_t i = 0; i < sizeof measurements / sizeof *measurements; i++)
        if (strcmp(wanted, measurements[i].name) == 0) {
            measurements[i].measure(&probe);
            return fflush(stdout) == 0 ? 0 : 1;
        }
    fprintf(stderr, "probe: no measurement `%s`\n", wanted);
    return 2;
}

int main(int argc, char **argv) {
    static struct candidate candidates[64];
    static char stack[262144] __attribute__((aligned(16)));
    if (argc < 6)
        return 2;
    wanted = argv[1];
    probe = (struct probe){candidates, 0, atoi(argv[2]), atoi(argv[3]), atoi(argv[4])};
    for (int i = 5; i < argc && probe.count < 64; i++) {
        candidates[probe.count++] = (struct candidate){argv + i + 1, strcmp(argv[i], "pid1") == 0};
        while (i < argc && strcmp(argv[i], ";") != 0)
            i++;
        if (i < argc)
            argv[i] = NULL;
    }
    sched_getaffinity(0, sizeof allowed, &allowed);
    pid_t pid = clone(inside, stack + sizeof stack, CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, NULL);
    if (pid < 0)
        die("new PID namespace (root is needed)");
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
