/* Start-up: from execve of the candidate to its end, and to the first line of its child's main. */
#include "probe.h"

void measure_startup(const struct probe *probe) {
    enum { WARM_UP = 5 };
    pin(probe->cpu);
    for (int round = -WARM_UP; round < probe->rounds; round++) {
        const int *order = new_order(probe);
        for (int step = 0; step < probe->count; step++) {
            int index = order[step];
            struct run run = start(&probe->candidates[index], probe->cpu);
            struct rusage usage;
            int status;
            if (wait4(run.pid, &status, 0, &usage) < 0)
                die("wait4");
            int64_t ended = now(), in_main;
            if (status != 0 || !hear(&run, &in_main, sizeof in_main, 0)) {
                fprintf(stderr, "probe: %s failed, status %#x\n", probe->candidates[index].argv[0], status);
                exit(1);
            }
            close_run(&run);
            if (probe->candidates[index].pid1)
                pause_us(300); /* lets the kernel put away the namespace outside the next one's time */
            if (round < 0)
                continue;
            report(index, "total", (ended - run.began) / 1e3);
            report(index, "to_main", (in_main - run.began) / 1e3);
            report(index, "faults", usage.ru_minflt + usage.ru_majflt);
        }
    }
}
