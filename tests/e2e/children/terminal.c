/* A child that uses the terminal that it was started on. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static void say(const char *what)
{
    if (write(1, what, strlen(what)) < 0 || write(1, "\n", 1) < 0)
        _exit(99);
}

/* What an editor does on Ctrl-Z: it tidies up, stops its whole job as the default action would, by this
   signal, and goes on when it is continued. INT ends it. */
static void editor(int stop)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTSTP);
    sigaddset(&wanted, SIGCONT);
    sigaddset(&wanted, SIGINT);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    say("ready");
    for (;;) {
        sigset_t stopping;
        switch (sigwaitinfo(&wanted, NULL)) {
        case SIGTSTP:
            say("suspending");
            sigemptyset(&stopping);
            sigaddset(&stopping, SIGTSTP);
            sigprocmask(SIG_UNBLOCK, &stopping, NULL);
            kill(0, stop);
            sigprocmask(SIG_BLOCK, &stopping, NULL);
            say("resumed");
            break;
        case SIGCONT:
            say("continued");
            break;
        case SIGINT:
            exit(9);
        }
    }
}

/* Reads lines of the terminal, in a group of its own where asked for. */
static void reader(void)
{
    char line[256];
    say("ready");
    while (fgets(line, sizeof line, stdin))
        printf("read %s", line), fflush(stdout);
    say("end of input");
}

/* Changes every setting, as full-screen programs do, and does not put them back. */
static void raw(void)
{
    struct termios settings;
    tcgetattr(0, &settings);
    cfmakeraw(&settings);
    tcsetattr(0, TCSANOW, &settings);
    say("ready");
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    const char *act = argc > 1 ? argv[1] : "";
    if (strcmp(act, "editor") == 0)
        editor(argc > 2 ? atoi(argv[2]) : SIGTSTP);
    if (strcmp(act, "reader-apart") == 0)
        setpgid(0, 0);
    if (strncmp(act, "reader", 6) == 0) {
        reader();
        return 0;
    }
    if (strcmp(act, "raw") == 0)
        raw();
    fprintf(stderr, "terminal: what is \"%s\"?\n", act);
    return 97;
}
