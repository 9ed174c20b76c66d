use super::*;

fn fate(text: &str) -> String {
    let Some(text) = Text::read(text) else {
        return "not understood".to_owned();
    };
    let shown = |words: &[Word]| {
        let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        words.join(" ")
    };
    match text.fate() {
        Fate::Execs(words) => format!("execs {}", words.map(shown).unwrap_or_default()),
        Fate::Last(words) => format!("last {}", shown(words)),
        Fate::Stays(why, _) => format!("stays {why}"),
        Fate::InFront(words) => format!("in front of {}", shown(words)),
        Fate::Behind(words) => format!("behind {}", shown(words)),
        Fate::Ignores(at) => format!("ignores at {at}"),
        Fate::Unknown => "unknown".to_owned(),
    }
}

#[test]
fn lines_and_scripts() {
    for (text, expected) in [
        ("node server.js", "last node server.js"),
        ("exec node server.js", "execs node server.js"),
        ("cd /app && node server.js", "last node server.js"),
        ("A=1 B='2 3' node \"server js\"", "last node server js"),
        ("set -e; exec \"$@\"", "execs $@"),
        ("exec 2>&1; node x", "last node x"),
        ("exec 3>/tmp/x\nnode x >&3", "last node x"),
        ("node x 2>&1 | tee log", "stays a pipeline"),
        ("node x | exec tee log", "stays a pipeline"),
        ("exec node x | tee log", "stays a pipeline"),
        ("exec node x 2>&1 |\n  tee log", "stays a pipeline"),
        ("{ exec node x; } | tee log", "stays a pipeline"),
        ("cd /app && exec node x | tee log", "stays a pipeline"),
        ("exec node x &\nwait", "stays jobs in the background"),
        ("a && exec node x & wait", "stays jobs in the background"),
        ("(exec node x) & wait", "stays jobs in the background"),
        ("exec node x & sleep infinity", "behind node x"),
        ("trap 'kill $!' TERM; exec node x & wait", "unknown"),
        // Another one replaces the shell, as far as that shows.
        ("exec a & exec b", "execs b"),
        ("if a; then exec b | c; else exec c; fi", "execs "),
        ("if a; then exec b | c; fi", "unknown"),
        ("case $1 in\n a) exec b;;\n *) c | d\nesac", "execs "),
        ("exec a | b; if c; then exec d; fi", "execs "),
        (
            "while true; do a; sleep 1; done",
            "stays a loop without end",
        ),
        ("while :; do a; done", "stays a loop without end"),
        ("while [ -e x ]; do a; done", "unknown"),
        ("until a; do sleep 1; done; node x", "last node x"),
        ("for i in 1 2; do echo $i; done", "unknown"),
        ("a & b & wait", "stays jobs in the background"),
        ("trap 'kill $p' TERM; a & p=$!; wait", "unknown"),
        ("if [ \"$1\" = x ]; then exec a; fi\nb", "last b"),
        ("test -n \"$M\" && exec a\nb", "last b"),
        ("exec 3>&1\nb", "last b"),
        ("if a; then exec b; else exec c; fi", "execs "),
        ("if a; then b; fi; c d", "last c d"),
        ("f() { a; }\nf", "unknown"),
        ("f() {\n  exec \"$@\"\n}\nf", "execs "),
        ("f()\n{\n a\n}\ng x", "last g x"),
        ("function f { a; }\nb c", "last b c"),
        (
            "case \"$1\" in\n a|b) x ;;\n (c) y;;\n *) z\nesac\nrun it",
            "last run it",
        ),
        ("cat <<EOF\nexec x\n'\nEOF\nrun it", "last run it"),
        ("cat <<-'E O' >f\n\tx\n\tE O\nrun it", "last run it"),
        ("a=$(b \"$(c ')')\") d", "last d"),
        ("[[ a && b || ( c ) ]] && run it", "last run it"),
        ("a=(b c); run it", "last run it"),
        ("(a; b)", "unknown"),
        ("{ a; }", "unknown"),
        ("echo done", "unknown"),
        ("node x; true", "in front of node x"),
        ("node x || true", "in front of node x"),
        ("cd /app; node x; echo $?; exit 1", "in front of node x"),
        ("node x\nrc=$?\necho $rc\nexit $rc", "in front of node x"),
        ("node x\nexit $?", "in front of node x"),
        ("node x && exit 0", "in front of node x"),
        ("node x &&\n exit 0", "in front of node x"),
        ("node x && exit 0 || exit 1", "in front of node x"),
        ("node x\necho $?\nexit 0", "unknown"),
        ("node x &\nrc=$?\nexit $rc", "unknown"),
        // It was over soon, as what follows says, or it is not known what it is.
        ("a && echo done", "unknown"),
        ("a\necho done", "unknown"),
        ("a\nexit 0", "unknown"),
        ("[[ -e x ]] && exit 0", "unknown"),
        ("mkdir a; true", "unknown"),
        ("f() { a; }; f; true", "unknown"),
        ("a & true", "unknown"),
        ("node x & tail -f /dev/null", "behind node x"),
        ("a; node x & sleep infinity", "behind node x"),
        ("cp a b & tail -f /dev/null", "last tail -f /dev/null"),
        (
            "service a start; tail -f /dev/null",
            "last tail -f /dev/null",
        ),
        // That is the program, and the other one is beside it.
        ("cron & node x", "last node x"),
        // It may be a function or an alias that nobody has read.
        (". ./lib.sh\nmain \"$@\"", "unknown"),
        ("[ -e a ] && source a\nlog x\nrun", "unknown"),
        ("if a; then\n . ./lib.sh\nfi\nmain", "unknown"),
        ("eval \"$(a init)\"\nmain", "unknown"),
        (". ./lib.sh; main; exit $?", "unknown"),
        ("alias run=exec\nrun node x", "unknown"),
        ("alias node='exec node'\nnode x", "unknown"),
        (". ./lib.sh\nnode x", "last node x"),
        (". ./lib.sh\n./main", "last ./main"),
        (". ./lib.sh\n\"$@\"", "last $@"),
        ("alias run=exec\ngunicorn a", "last gunicorn a"),
        // What is put in may be `exec`.
        ("exec=exec\n$exec node x", "unknown"),
        ("$(START_CMD)", "unknown"),
        ("`a b` node x", "unknown"),
        ("${WRAPPER:-exec} node x", "unknown"),
        ("${RUN:-/usr/bin/node} x", "unknown"),
        ("\"$1\" x; exit $?", "unknown"),
        ("$CMD & tail -f /dev/null", "last tail -f /dev/null"),
        ("$@", "last $@"),
        ("\"$*\" x", "last $* x"),
        ("$JAVA_HOME/bin/java x", "last $JAVA_HOME/bin/java x"),
        ("\"$(a b)/run\"", "last $(a b)/run"),
        ("exec $CMD x", "execs $CMD x"),
        (
            "./a &\n./b &\nwait -n\nexit $?",
            "stays jobs in the background",
        ),
        ("./a &\nwait $!\necho ended", "stays jobs in the background"),
        (
            "a & p=$!; wait $p; rc=$?; exit $rc",
            "stays jobs in the background",
        ),
        ("(a; b) & wait || true", "stays jobs in the background"),
        ("trap 'kill $!' TERM; a & wait; exit $?", "unknown"),
        ("cp a b & wait; exit 0", "unknown"),
        ("wait; exit 0", "unknown"),
        ("a & wait | exit 0", "unknown"),
        ("a & exit 0", "unknown"),
        ("set -m\n./a &\n./b\nfg %1", "stays jobs in the background"),
        ("./a & fg; exit $?", "stays jobs in the background"),
        ("trap a TERM; ./a & fg", "unknown"),
        ("fg", "unknown"),
        ("./a & disown", "unknown"),
        ("time node x", "last node x"),
        ("time -p node x", "last node x"),
        ("time A=1 node x", "last node x"),
        ("a\ntime exec node x", "execs node x"),
        ("time { node x; }", "unknown"),
        ("time (node x)", "unknown"),
        ("time -v node x", "last time -v node x"),
        ("exec time node x", "execs time node x"),
        ("time\nnode x", "last node x"),
        ("# exec x\nrun \\\n  it # y", "last run it"),
        ("diff <(a) <(b)", "last diff <(a) <(b)"),
        ("run `a b` ${x:-'y'}", "last run `a b` ${x:-'y'}"),
        ("if a; then b", "not understood"),
        ("a 'b", "not understood"),
        ("", "unknown"),
        ("a &", "unknown"),
    ] {
        assert_eq!(fate(text), expected, "{text}");
    }
}

#[test]
fn sleeps_that_are_certain() {
    for (text, expected) in [
        ("sleep 10; curl x; sleep 5", &["10", "5"][..]),
        ("/bin/sleep 10 && nginx -s quit\nsleep 5", &["10", "5"]),
        ("sleep 60 || true", &["60"]),
        ("curl a/drain || sleep 60", &[]),
        ("[ -e /slow ] && sleep 45; nginx -s quit", &[]),
        ("[ -e a ] &&\n  sleep 45\nsleep 3", &["3"]),
        ("a | sleep 5; sleep 6", &["6"]),
        ("sleep 5 & wait; sleep 6", &["6"]),
        ("sleep 60 && a & wait", &[]),
        ("sleep 1; exit 0; sleep 60", &["1"]),
        ("[ -e a ] && exit 0; sleep 60", &[]),
        ("if a; then exit 0; fi; sleep 60", &[]),
        ("if a; then b; fi; sleep 60", &["60"]),
        ("while pgrep a; do sleep 1; done; sleep 60", &["60"]),
        ("case $1 in a) exec b;; esac; sleep 60", &[]),
        ("a || { b; exit 1; }; sleep 60", &[]),
        ("exec a; sleep 60", &[]),
        (". ./lib.sh; sleep 60", &[]),
        ("$A; sleep 60", &[]),
        ("f() { exit; }; sleep 1; f; sleep 60", &["1"]),
        ("set -e; sleep 1; curl x; sleep 60", &["1"]),
        ("set -eu; echo a; sleep 60", &["60"]),
        ("set -u; curl x; sleep 60", &["60"]),
        ("sleep 1 2", &[]),
    ] {
        let read = Text::read(text).unwrap();
        assert_eq!(read.sleeps(), expected, "{text}");
    }
}
