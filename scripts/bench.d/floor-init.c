/* The least an init can cost: block every signal, fork, exec, forward, reap, return the child's status.
 *
 * It has no option, no message and no care for terminals or process groups. It is the floor that the
 * table compares every real init with, not something to use. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    if (argc < 2)
        return 125;

    pid_t child = fork();
    if (child < 0)
        return 125;
    if (child == 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        execvp(argv[1], argv + 1);
        _exit(errno == ENOENT ? 127 : 126);
    }

    for (;;) {
        int signal = sigwaitinfo(&all, NULL);
        if (signal < 0)
            continue;
        if (signal != SIGCHLD) {
            kill(child, signal);
            continue;
        }
        /* One SIGCHLD can stand for many deaths, so everything that is dead is taken each time. */
        int status;
        pid_t gone;
        while ((gone = waitpid(-1, &status, WNOHANG)) > 0)
            if (gone == child)
                return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}
