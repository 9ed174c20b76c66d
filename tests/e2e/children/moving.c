/* A process of the tree gets another parent while a signal for the tree is on its way: it must get it all the same. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static sigset_t usr1;

static void say(int pipe, char what)
{
    if (write(pipe, &what, 1) != 1)
        _exit(99);
}

static char hear(int pipe)
{
    char what;
    return read(pipe, &what, 1) == 1 ? what : 0;
}

/* Says that it is there, and then, signal by signal, whether one has come. */
static void counter(int told, int rounds)
{
    struct timespec patience = {5, 0};
    say(told, 'r');
    while (rounds-- > 0)
        say(told, sigtimedwait(&usr1, NULL, &patience) == SIGUSR1 ? 'y' : 'n');
    _exit(0);
}

static int lost(int round)
{
    printf("lost in round %d\n", round);
    return 1;
}

/* The parent of the counter, and its parent, end within a millisecond of the signal. */
static int parents(int rounds)
{
    for (int round = 0; round < rounds; round++) {
        int gate[2], told[2];
        if (pipe(gate) || pipe(told))
            return 99;
        if (fork() == 0) {
            close(gate[1]);
            for (int depth = 0; depth < 2; depth++) {
                if (fork() > 0) {
                    hear(gate[0]);
                    srand(2 * round + depth);
                    usleep(rand() % 1000);
                    _exit(0);
                }
            }
            close(gate[0]);
            counter(told[1], 1);
        }
        close(gate[0]);
        hear(told[0]);
        kill(getppid(), SIGUSR1);
        close(gate[1]);
        wait(NULL);
        if (hear(told[0]) != 'y')
            return lost(round);
        close(told[0]);
        close(told[1]);
    }
    return 0;
}

static void *nothing(void *unused)
{
    return unused;
}

static void *churn(void *unused)
{
    for (;;) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, nothing, NULL) == 0)
            pthread_join(thread, NULL);
    }
    return unused;
}

/* The parent of the counter has threads that come and go. */
static int threads(int rounds)
{
    int told[2];
    pthread_t thread;
    if (pipe(told))
        return 99;
    pid_t child = fork();
    if (child == 0)
        counter(told[1], rounds);
    hear(told[0]);
    if (pthread_create(&thread, NULL, churn, NULL))
        return 99;
    for (int round = 0; round < rounds; round++) {
        kill(getppid(), SIGUSR1);
        if (hear(told[0]) != 'y') {
            kill(child, SIGKILL);
            return lost(round);
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    int rounds = argc > 2 ? atoi(argv[2]) : 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    return strcmp(argv[1], "threads") ? parents(rounds) : threads(rounds);
}
