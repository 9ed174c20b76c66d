/* Signals: how fast one passes through, how fast TERM ends a candidate, and how long TERM is lost after exec. */
#include "probe.h"

/* From kill(2) at the candidate to the first instruction of its child's handler; sender, candidate and
 * child share one processor, so the figure holds two context switches and no wake-up of an idle processor.
 * Every round starts new processes: where one's pages happen to lie is worth a few per cent for its life. */
void measure_latency(const struct probe *probe) {
    enum { BURSTS = 10 };
    struct run runs[64];
    int burst_size = probe->amount / BURSTS;
    pin(probe->cpu);
    for (int round = 0; round < probe->rounds; round++) {
        for (int i = 0; i < probe->count; i++) {
            runs[i] = start(&probe->candidates[i], probe->cpu);
            await_ready(probe, i, &runs[i]);
        }
        pause_us(50000);
        for (int burst = 0; burst < BURSTS; burst++)
            for (int i = 0; i < probe->count; i++)
                for (int n = -2; n < burst_size; n++) { /* the first two warm the caches for this candidate */
                    int64_t handled, sent = now();
                    kill(runs[i].pid, SIGUSR1);
                    if (!hear(&runs[i], &handled, sizeof handled, 1000))
                        report(i, "lost", 1);
                    else if (n >= 0)
                        report(i, "latency", (handled - sent) / 1e3);
                    pause_us(100); /* the candidate is back in its wait before the next one */
                }
        clean_up();
        for (int i = 0; i < probe->count; i++)
            close_run(&runs[i]);
    }
}

/* From kill(2) with TERM until the candidate is reaped; its child exits 0 in its handler. */
void measure_exit(const struct probe *probe) {
    pin(probe->cpu);
    for (int round = -2; round < probe->rounds; round++) {
        const int *order = new_order(probe);
        for (int step = 0; step < probe->count; step++) {
            int i = order[step], status;
            struct run run = start(&probe->candidates[i], probe->cpu);
            await_ready(probe, i, &run);
            pause_us(2000);
            int64_t sent = now();
            kill(run.pid, SIGTERM);
            if (waitpid(run.pid, &status, 0) < 0)
                die("waitpid");
            int64_t gone = now();
            close_run(&run);
            if (round < 0)
                continue;
            report(i, "exit", (gone - sent) / 1e3);
            if (status != 0)
                report(i, "bad_status", status);
        }
    }
    clean_up();
}

/* Sends TERM `offset` microseconds after execve: does the candidate stop because of it? */
static bool acts_on_term_at(const struct run *run, double offset) {
    int64_t due = run->began + (int64_t)(offset * 1e3);
    char byte;
    int status;
    while (now() < due)
        ;
    kill(run->pid, SIGTERM);
    /* Either the end closes the pipe, or the child says that it runs. Then the end may still come, but
     * soon: the child's handler only exits. */
    hear(run, &byte, 1, 2000);
    return await_end(run, 40, &status);
}

/* The deaf window of an init: how long after execve a TERM is lost.
 *
 * TERM is really sent, once per run, at an offset from execve, from another processor, and counts as lost
 * when the candidate goes on. That is one bit a run, so the offset follows a staircase, up after a loss and
 * down after a success, in strides that shrink; it settles around the offset at which half
 * of the TERMs are lost, which is the median of the window. The offsets after it has settled are reported.
 *
 * To read the signal masks in /proc/PID/status in a loop would give an exact sample each run, but it was
 * tried and is wrong three times over: the reading slows the start by a tenth to a fifth; a process inside
 * sigtimedwait(2) shows an empty mask although it hears everything; and a signal can be kept by the
 * mask and lost later, as when it is forwarded to a process group that the child has not made yet. */
void measure_deaf(const struct probe *probe) {
    const double first_offset = 600, first_stride = 128, last_stride = 8;
    double offset[64], stride[64];
    int before_last[64];
    pin(other_cpu(probe->cpu));
    for (int i = 0; i < probe->count; i++)
        offset[i] = first_offset, stride[i] = first_stride, before_last[i] = -1;
    for (int round = 0; round < probe->rounds; round++) {
        const int *order = new_order(probe);
        for (int step = 0; step < probe->count; step++) {
            int i = order[step];
            struct run run = start(&probe->candidates[i], probe->cpu);
            int acted = acts_on_term_at(&run, offset[i]);
            clean_up();
            close_run(&run);
            if (stride[i] == last_stride)
                report(i, "deaf", offset[i]);
            if (before_last[i] >= 0 && before_last[i] != acted)
                stride[i] = stride[i] / 2 > last_stride ? stride[i] / 2 : last_stride;
            before_last[i] = acted;
            offset[i] += acted ? -stride[i] : stride[i];
        }
    }
}
