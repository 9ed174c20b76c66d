"""What scripts/chaos runs: programs, how they become ready, and how they hand over."""

# It notes which signals it gets, once it is up.
NOTED = (
    "note() { echo $1 >>$STEPDOWN_CHAOS/got; }; trap 'note HUP' HUP; trap 'note USR1' USR1; trap 'note WINCH' WINCH; "
    "trap 'note INT; over=1' INT; trap 'note TERM; over=1' TERM; note up; "
)
NOTES = ["notes", "notes-on"]
# What the program does, and the statuses that it has of its own.
PROGRAMS = {
    "obeys": ("trap 'exit 3' TERM INT; while :; do sleep 0.02; done", {3}),
    "ignores": ("trap '' TERM INT; while :; do sleep 0.02; done", set()),
    "forks": ("trap '' TERM; while :; do (trap '' TERM; sleep 0.3) & sleep 0.02; done", set()),
    "leaves": (
        "setsid sh -c \"trap '' TERM; sleep 60\" & (setsid sleep 60 &) ; trap 'exit 3' TERM; while :; do sleep 0.02; done",
        {3},
    ),
    "stops": ("kill -STOP $$; exit 3", {3}),
    "exits": ("sleep 0.0$(($$ % 10)); exit 7", {7}),
    "gone": ("exit 7", {7}),
    "floods": ("trap 'exit 3' TERM; while :; do echo flood; echo flood >&2; done", {3}),
    "hangs": ("exec sleep 1000", set()),
    "notes": (NOTED + "while [ ! $over ]; do sleep 0.02; done; exit 3", {3}),
    "notes-on": (NOTED + "while :; do sleep 0.02; done", set()),
    "eats": ("a=aaaaaaaaaaaaaaaa; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do a=$a$a; done; exit 7", {7}),
}
# How the next one becomes ready, where it is to replace the one that serves: at once, late, never, by its second life.
READY = ["true", "sleep 0.05", "sh -c 'test $STEPDOWN_GENERATION = 1'", "sh -c 'test $STEPDOWN_GENERATION != 2'"]
# The program takes over from a shell that writes its pid: before it ends, a moment later, never, or to an empty file.
HAND_OVER = 'sh -c "$1" & '
HANDS_OVER = ["echo $! >$0", "pid=$!; (sleep 0.05; echo $pid >$0) &", ":", "sleep 0.05; echo $! >$0", ": >$0"]
