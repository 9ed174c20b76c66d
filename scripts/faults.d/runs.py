"""What scripts/faults plays: options, command, what is asked for, and the exit status."""

from pathlib import Path

SERVER = Path(__file__).resolve().parent / "server.py"

OBEYS = "trap 'exit 3' TERM; trap 'echo usr1 >>$OUT' USR1; echo up >>$OUT; while :; do sleep 0.05; done"
IGNORES = "trap '' TERM; trap 'echo usr1 >>$OUT' USR1; echo up >>$OUT; while :; do sleep 0.05; done"
LEAVES = "trap 'exit 3' TERM; trap 'echo usr1 >>$OUT' USR1; setsid sh -c \"trap '' TERM; sleep 300\" & echo up >>$OUT; while :; do sleep 0.05; done"
# It is up once stepdown has noticed the end of the one before.
HANDS_OVER = "(trap 'exit 3' TERM; trap 'echo usr1 >>$OUT' USR1; while kill -0 $$ 2>/dev/null; do sleep 0.02; done; "
HANDS_OVER += "echo up >>$OUT; while :; do sleep 0.05; done) & echo $! >$OUT.pid"

# All that is served and kept beside the command.
SERVED = ["--health-listen=127.0.0.1:$PORT", "--state-file=$DIR/state", "--metrics-file=$DIR/metrics.prom"]
SERVED += ["--live-when=exec:true", "--live-every=50ms", "--ready-when=notify", "--cgroup"]
# The one that is replaced is drained.
REPLACED = ["--listen=127.0.0.1:$PORT", "--replace-on=USR2", "--ready-when=notify", "--ready-timeout=3s"]
REPLACED += ["--grace=1s", "--drain-timeout=300ms"]
# Options, command, what is asked for, and the exit status.
RUNS = {
    "exit": (["--sweep-grace=100ms"], "echo up >>$OUT; exit 7", False, 7),
    "stop": (["--grace=1s", "--post-stop=true"], OBEYS, True, 3),
    "kill": (["--grace=200ms"], IGNORES, True, 137),
    "left": (["--grace=1s", "--sweep-grace=200ms"], LEAVES, True, 3),
    "restart": (["--restart=on-failure", "--restart-delay=50ms", "--restart-limit=2"], "echo up >>$OUT; exit 7", False, 7),
    "drain": (["--grace=1s", "--drain-port=9", "--drain-timeout=300ms", "--report=$DIR/report"], OBEYS, True, 3),
    "served": (["--grace=1s", *SERVED], OBEYS, True, 3),
    "replace": (REPLACED, f"exec python3 -IS {SERVER} serve", True, 3),
    "handover": (["--grace=1s", "--main-pid=file:$DIR/out.pid"], HANDS_OVER, True, 3),
    "mainpid": (["--grace=1s", "--main-pid=notify"], f"exec python3 -IS {SERVER} hand-over", True, 3),
}
# What is taken at the turn of a run, by strace's words: the calls that follow it fail as well.
TURNS = {"replace": "si_signo=SIGUSR2", "handover": "si_signo=SIGCHLD", "mainpid": "si_signo=SIGCHLD"}
CHILD_RUNS = {
    "command": (["--user=65534:65534", "--workdir=/", "--no-new-privs"], "echo up >>$OUT; exit 7", False, 7),
    "hook": (["--post-stop=/bin/true"], "echo up >>$OUT; exit 7", False, 7),
    "sockets": (["--listen=unix:$DIR/socket", "--listen=127.0.0.1:0", "--stdin=relay"], "echo up >>$OUT; exit 7", False, 7),
}
