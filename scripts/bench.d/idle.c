/* Idle: what a candidate holds, and how often it wakes, while its child sleeps. */
#include "probe.h"

static void find_child(pid_t pid, pid_t parent, char state, void *data) {
    (void)state;
    pid_t *family = data;
    if (parent == family[0])
        family[1] = pid;
}

/* All candidates idle at the same time, `amount` seconds long, so they share every disturbance. */
void measure_idle(const struct probe *probe) {
    struct run runs[64];
    long before[64];
    for (int round = 0; round < probe->rounds; round++) {
        for (int i = 0; i < probe->count; i++) {
            runs[i] = start(&probe->candidates[i], -1);
            await_ready(probe, i, &runs[i]);
        }
        pause_us(300000); /* what follows the child's start is over */
        for (int i = 0; i < probe->count; i++) {
            pid_t pid = runs[i].pid, family[2] = {pid, 0};
            report(i, "rss", proc_number(pid, "smaps_rollup", "Rss:"));
            report(i, "dirty", proc_number(pid, "smaps_rollup", "Private_Dirty:"));
            report(i, "threads", proc_number(pid, "status", "Threads:"));
            report(i, "fds", descriptors_above_2(pid));
            each_process(find_child, family);
            if (family[1])
                report(i, "child_fds", descriptors_above_2(family[1]));
        }
        for (int i = 0; i < probe->count; i++)
            before[i] = context_switches(runs[i].pid);
        pause_us(probe->amount * 1000000LL);
        for (int i = 0; i < probe->count; i++)
            report(i, "switches", context_switches(runs[i].pid) - before[i]);
        clean_up();
        for (int i = 0; i < probe->count; i++)
            close_run(&runs[i]);
    }
}
