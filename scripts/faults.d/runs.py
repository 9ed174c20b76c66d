"""What scripts/faults plays: options, command, what is asked for, and the exit status."""

OBEYS = "trap 'exit 3' TERM; trap 'echo usr1 >>$OUT' USR1; echo up >>$OUT; while :; do sleep 0.05; done"
IGNORES = "trap '' TERM; trap 'echo usr1 >>$OUT' USR1; echo up >>$OUT; while :; do sleep 0.05; done"
LEAVES = "trap 'exit 3' TERM; trap 'echo usr1 >>$OUT' USR1; setsid sh -c \"trap '' TERM; sleep 300\" & echo up >>$OUT; while :; do sleep 0.05; done"

# All that is served and kept beside the command.
SERVED = ["--health-listen=127.0.0.1:$PORT", "--state-file=$DIR/state", "--metrics-file=$DIR/metrics.prom"]
SERVED += ["--live-when=exec:true", "--live-every=50ms", "--ready-when=notify", "--cgroup"]
# Options, command, what is asked for, and the exit status.
RUNS = {
    "exit": (["--sweep-grace=100ms"], "echo up >>$OUT; exit 7", False, 7),
    "stop": (["--grace=1s", "--post-stop=true"], OBEYS, True, 3),
    "kill": (["--grace=200ms"], IGNORES, True, 137),
    "left": (["--grace=1s", "--sweep-grace=200ms"], LEAVES, True, 3),
    "restart": (["--restart=on-failure", "--restart-delay=50ms", "--restart-limit=2"], "echo up >>$OUT; exit 7", False, 7),
    "drain": (["--grace=1s", "--drain-port=9", "--drain-timeout=300ms", "--report=$DIR/report"], OBEYS, True, 3),
    "served": (["--grace=1s", *SERVED], OBEYS, True, 3),
}
CHILD_RUNS = {
    "command": (["--user=65534:65534", "--workdir=/", "--no-new-privs"], "echo up >>$OUT; exit 7", False, 7),
    "hook": (["--post-stop=/bin/true"], "echo up >>$OUT; exit 7", False, 7),
    "sockets": (["--listen=unix:$DIR/socket", "--listen=127.0.0.1:0", "--stdin=relay"], "echo up >>$OUT; exit 7", False, 7),
}
