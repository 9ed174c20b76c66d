/* Programs that a stop does not end, or not in order, and their clean twins.

   | mode | meaning |
   | --- | --- |
   | plain | has no handler |
   | handler | for TERM |
   | blocks | TERM in both of its threads |
   | blocks-one | TERM in its first thread only |
   | signalfd | blocks TERM and takes it by a signalfd |
   | sigwait | blocks TERM and takes it by sigwait(3), in another thread |
   | kernel | waits for its child of vfork(2): state D |
   | traced | handles TERM; its child has stopped for its tracer, the mode's process: state t |
   | zombies | handles TERM and has two children that it does not reap |
   | reaps | handles TERM and has two children that it reaps |
   | daemon | handles TERM and has a child in a session whose leader has ended, which handles TERM, too |
   | master | handles TERM and has a child in its own session, which handles TERM, too |
   | setsid | starts a child with a handler in a session of its own, and has none itself | */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *mode;

static int is(const char *name)
{
    return strcmp(mode, name) == 0;
}

static void end(int signal)
{
    (void)signal;
    _exit(0);
}

static void block(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(how, &set, NULL);
}

static void *rest(void *unused)
{
    (void)unused;
    for (;;)
        pause();
    return NULL;
}

static void *unblocked(void *unused)
{
    block(SIG_UNBLOCK);
    return rest(unused);
}

static void *waits(void *unused)
{
    sigset_t set;
    int signal;
    (void)unused;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigwait(&set, &signal);
    _exit(0);
}

static void thread(void *(*body)(void *))
{
    pthread_t id;
    pthread_create(&id, NULL, body, NULL);
}

int main(int count, char **words)
{
    mode = count > 1 ? words[1] : "";
    const char *handlers[] = { "handler", "traced", "zombies", "reaps", "daemon", "master" };
    for (unsigned at = 0; at < sizeof handlers / sizeof *handlers; at++)
        if (is(handlers[at]))
            signal(SIGTERM, end);
    if (is("blocks") || is("blocks-one") || is("signalfd") || is("sigwait"))
        block(SIG_BLOCK);
    if (is("blocks"))
        thread(rest);
    if (is("blocks-one"))
        thread(unblocked);
    if (is("sigwait"))
        thread(waits);
    if (is("signalfd")) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        int fd = signalfd(-1, &set, 0);
        struct signalfd_siginfo info;
        puts("ready");
        fflush(stdout);
        return read(fd, &info, sizeof info) != sizeof info;
    }
    if (is("traced") && fork() == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
    }
    if (is("zombies") || is("reaps")) {
        for (int child = 0; child < 2; child++)
            if (fork() == 0)
                _exit(0);
        while (is("reaps") && wait(NULL) > 0)
            ;
    }
    if (is("daemon") && fork() == 0) {
        setsid();
        if (fork() == 0)
            rest(NULL);
        _exit(0);
    }
    if (is("daemon"))
        wait(NULL);
    if ((is("master") || is("setsid")) && fork() == 0) {
        if (is("setsid"))
            setsid();
        signal(SIGTERM, end);
        rest(NULL);
    }
    puts("ready");
    fflush(stdout);
    if (is("kernel") && vfork() == 0)
        for (;;)
            pause();
    rest(NULL);
}
