/* Orphans: the processor time that a candidate, as PID 1, needs for each orphan in a storm, and what it leaves. */
#include "probe.h"

struct census {
    pid_t init;
    int zombies;
};

static void count_zombie(pid_t pid, pid_t parent, char state, void *data) {
    (void)pid;
    struct census *census = data;
    census->zombies += parent == census->init && state == 'Z';
}

static int zombies_of(pid_t init) {
    struct census census = {init, 0};
    each_process(count_zombie, &census);
    return census.zombies;
}

void measure_orphans(const struct probe *probe) {
    pin(probe->cpu);
    for (int round = 0; round < probe->rounds; round++) {
        const int *order = new_order(probe);
        for (int step = 0; step < probe->count; step++) {
            int i = order[step], left;
            char byte;
            struct run run = start(&probe->candidates[i], probe->cpu);
            await_ready(probe, i, &run);
            pause_us(50000);
            int64_t before = cpu_ns(run.pid), began = now();
            if (write(run.in, "g", 1) != 1 || !hear(&run, &byte, 1, 120000)) {
                fprintf(stderr, "probe: the storm below %s did not end\n", probe->candidates[i].argv[0]);
                exit(1);
            }
            int64_t ended = now();
            for (int wait = 0; (left = zombies_of(run.pid)) > 0 && wait < 100; wait++)
                pause_us(10000);
            report(i, "orphan_cpu", (cpu_ns(run.pid) - before) / 1e3 / probe->amount);
            report(i, "storm", (ended - began) / 1e6);
            report(i, "left", left);
            clean_up();
            close_run(&run);
        }
    }
}
