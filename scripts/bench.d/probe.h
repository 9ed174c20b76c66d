/* What the measurements share: starting a candidate, the clock, and small looks into /proc. */
#ifndef PROBE_H
#define PROBE_H

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* One command line under test; `pid1` says whether it gets a PID namespace of its own. */
struct candidate {
    char **argv;
    bool pid1;
};

/* A started candidate. `out` reads its stdout, `in` writes its stdin, `began` is the time just before
 * its execve, in nanoseconds of CLOCK_MONOTONIC. */
struct run {
    pid_t pid;
    int in, out;
    int64_t began;
};

struct probe {
    struct candidate *candidates;
    int count;
    int rounds;
    int amount; /* what the measurement makes of it: seconds, orphans, size of the tree */
    int cpu;    /* the processor that candidates run on, -1 for any */
};

int64_t now(void);
void die(const char *what);
void pause_us(int64_t microseconds);
void pin(int cpu);
int other_cpu(int cpu);

struct run start(const struct candidate *candidate, int cpu);
/* Waits for `size` bytes from the candidate's stdout; false if they do not come within the time. */
bool hear(const struct run *run, void *data, size_t size, int timeout_ms);
void await_ready(const struct probe *probe, int index, const struct run *run);
/* Waits at most `timeout_ms` for the candidate's end; true and its status if it came. */
bool await_end(const struct run *run, int timeout_ms, int *status);
void close_run(struct run *run);
/* Kills and reaps everything that lives in this measurement's PID namespace, except ourselves. */
void clean_up(void);
/* A new random order of the candidates, for each round: with a fixed one, who runs after whom, and finds the
 * caches full of what, is worth a few per cent. The orders are the same in each run of the probe. */
const int *new_order(const struct probe *probe);
void report(int index, const char *measure, double value);

/* Number after `key` in /proc/PID/FILE, 0 if it is not there. */
long proc_number(pid_t pid, const char *file, const char *key);
/* Nanoseconds of processor time of all threads, from /proc/PID/task/TID/schedstat. */
int64_t cpu_ns(pid_t pid);
long context_switches(pid_t pid);
int descriptors_above_2(pid_t pid);
/* Calls `visit` for each process but ourselves; the state is proc(5)'s letter. */
void each_process(void (*visit)(pid_t pid, pid_t parent, char state, void *data), void *data);

void measure_startup(const struct probe *probe);
void measure_idle(const struct probe *probe);
void measure_latency(const struct probe *probe);
void measure_exit(const struct probe *probe);
void measure_deaf(const struct probe *probe);
void measure_orphans(const struct probe *probe);
void measure_tree(const struct probe *probe);

#endif
