/* Tree: what a candidate leaves of a tree that ignores TERM, and how long the killing takes.
 *
 * Each candidate gets TERM. One that has not ended PATIENCE_MS later gets KILL, as a container engine or a
 * supervisor would do. What then still lives in the measurement's namespace was left behind. A bare tree
 * as PID 1 is the kernel's own kill of a PID namespace: it gets KILL at once. */
#include "probe.h"

#include <sys/epoll.h>
#include <sys/syscall.h>

enum { GRACE_MS = 500, PATIENCE_MS = 2000 };

struct census {
    pid_t candidate;
    int living, epoll;
};

static void count_living(pid_t pid, pid_t parent, char state, void *data) {
    (void)parent;
    struct census *census = data;
    census->living += pid != census->candidate && state != 'Z' && state != 'X';
}

/* A pidfd becomes readable when its process dies: the first of all is the moment of the first KILL. */
static void watch(pid_t pid, pid_t parent, char state, void *data) {
    (void)parent, (void)state;
    struct census *census = data;
    if (pid == census->candidate)
        return;
    int fd = syscall(SYS_pidfd_open, pid, 0);
    struct epoll_event event = {EPOLLIN | EPOLLET, {.fd = fd}};
    if (fd < 0 || epoll_ctl(census->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("watching the tree");
}

static void one(const struct probe *probe, int i) {
    const struct candidate *candidate = &probe->candidates[i];
    const char *slash = strrchr(candidate->argv[0], '/');
    bool kernel = candidate->pid1 && slash && strcmp(slash, "/child") == 0;
    struct rlimit before, raised;
    struct run run = start(candidate, probe->cpu);
    await_ready(probe, i, &run);

    getrlimit(RLIMIT_NOFILE, &before);
    raised = (struct rlimit){probe->amount + 1024, before.rlim_max};
    if (raised.rlim_cur > raised.rlim_max)
        raised.rlim_max = raised.rlim_cur;
    if (setrlimit(RLIMIT_NOFILE, &raised) < 0)
        die("RLIMIT_NOFILE");
    struct census census = {run.pid, 0, epoll_create1(EPOLL_CLOEXEC)};
    each_process(watch, &census);
    pause_us(100000);

    /* Two thousand dying processes must not keep us from looking at the clock. Where it is refused the
     * figures only get a little coarser. */
    struct sched_param urgent = {1}, usual = {0};
    sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &urgent);

    struct epoll_event event;
    int status;
    int64_t sent = now();
    kill(run.pid, kernel ? SIGKILL : SIGTERM);
    bool died = epoll_wait(census.epoll, &event, 1, PATIENCE_MS) > 0;
    int64_t first = kernel ? sent : now();
    bool ended = died && await_end(&run, -1, &status);
    int64_t gone = now();
    sched_setscheduler(0, SCHED_OTHER, &usual);
    if (!ended) {
        kill(run.pid, SIGKILL);
        await_end(&run, -1, &status);
    }
    each_process(count_living, &census);
    report(i, "left", census.living);
    report(i, "by_itself", ended);
    if (ended) {
        report(i, "first_to_gone", (gone - first) / 1e6);
        report(i, "due_to_gone", (gone - sent) / 1e6 - (kernel ? 0 : GRACE_MS));
    }
    /* Closing the pidfds by number: they are the only descriptors above the epoll's. */
    close_range(census.epoll, ~0U, 0);
    setrlimit(RLIMIT_NOFILE, &before);
    close(run.in);
    close(run.out);
    clean_up();
}

void measure_tree(const struct probe *probe) {
    for (int round = 0; round < probe->rounds; round++) {
        const int *order = new_order(probe);
        for (int step = 0; step < probe->count; step++)
            one(probe, order[step]);
    }
}
