//! Whom the child runs as, where, and that nothing starts where that is not permitted.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::sys::signal::Signal;

use crate::support::binary::{installed, under_test, under_test_static, witness};
use crate::support::docker::{self, Image, container};
use crate::support::ended::Ended;
use crate::support::{Stepdown, both, need, proc, wait_until};

pub(crate) fn is_root() -> Result<(), String> {
    if nix::unistd::geteuid().is_root() {
        Ok(())
    } else {
        Err("only root can become somebody else".to_owned())
    }
}

/// Files of users and groups, with what real ones have: comments, other charsets, odd lines.
const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
    # no entry\n\
    \n\
    latin:x:300:300:M\xfcller:/home/latin:/bin/sh\n\
    app:x:1000:1001:App:/home/app:/bin/sh\n\
    homeless:x:1002:1002:::\n\
    broken:x::0::/:\n\
    short:x:400:401\n\
    dos:x:500:501::/home/dos\r\n";
const GROUP: &[u8] = b"root:x:0:\napp:x:1001:\naudio:x:29:latin,app\nvideo:x:44:app\n\
    tape:x:26:latin,dos\r\n";

/// `FROM scratch` with users and groups, but for `bare`; both can run `/stepdown` and `/witness`.
fn image(bare: bool) -> &'static str {
    static IMAGES: [OnceLock<String>; 2] = [OnceLock::new(), OnceLock::new()];
    IMAGES[usize::from(bare)].get_or_init(|| {
        let files = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str, content: &[u8]| -> PathBuf {
            let path = files.path().join(name);
            fs::write(&path, content).expect("a directory of our own");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("our own");
            path
        };
        let image = Image::from_scratch(if bare { "bare" } else { "users" })
            .file("/stepdown", under_test_static())
            .file("/witness", witness());
        if bare {
            return image.build();
        }
        image
            .file("/etc/passwd", file("passwd", PASSWD))
            .file("/etc/group", file("group", GROUP))
            .build()
    })
}

/// What a program says about whom it runs as: ids, groups with the primary one, HOME and USER.
fn whom(ended: &Ended) -> (String, Vec<u32>, String, Option<String>) {
    ended.code(0);
    let line = |prefix: &str| {
        let mut lines = ended.stdout.lines();
        lines.find_map(|line| line.strip_prefix(prefix).map(str::to_owned))
    };
    let ids = line("ids ").expect("witness tells");
    let gid = ids.rsplit(' ').next().and_then(|gid| gid.parse().ok());
    let lines = ended.stdout.lines();
    let mut groups: Vec<u32> = lines
        .filter_map(|line| line.strip_prefix("group ")?.parse().ok())
        .chain(gid)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    (
        ids,
        groups,
        line("env HOME=").expect("HOME is set"),
        line("env USER="),
    )
}

#[test]
fn names_and_numbers_are_those_of_docker_run_user() {
    need!(docker::available());
    for (user, name) in [
        ("app", Some("app")),
        ("1000", Some("app")),
        ("app:audio", Some("app")),
        ("app:4711", Some("app")),
        ("latin", Some("latin")),
        ("dos", Some("dos")),
        ("4711", None),
        ("4711:4712", None),
        ("0", Some("root")),
    ] {
        let theirs = container(image(false))
            .options(["--user", user, "--entrypoint", "/witness"])
            .command(["dump"])
            .run();
        let ours = container(image(false))
            .stepdown(["--user", user, "--", "/witness", "dump"])
            .run();
        let (ids, groups, home, user_variable) = whom(&ours);
        assert_eq!((ids, groups, home), {
            let (ids, groups, home, _) = whom(&theirs);
            (ids, groups, home)
        });
        assert_eq!(user_variable.as_deref(), name, "{user}");
    }
}

#[test]
fn numbers_need_no_file() {
    need!(docker::available());
    for (options, ids) in [
        (&["--user", "4711:4712"][..], "4711 4711 4712 4712"),
        (&["--user", "4711"], "4711 4711 0 0"),
        (
            &["--user", "4711", "--group", "4713"],
            "4711 4711 4713 4713",
        ),
        (&["--group", "4713"], "0 0 4713 4713"),
    ] {
        let ended = container(image(true))
            .stepdown(options.iter().chain(&["--", "/witness", "dump"]))
            .run();
        ended.code(0).said(&format!("ids {ids}")).was_silent();
    }
    // An entry that leaves the directory open is no reason for an empty HOME.
    for (user, ids) in [
        ("homeless", "1002 1002 1002 1002"),
        ("short", "400 400 401 401"),
    ] {
        let ended = container(image(false))
            .stepdown(["--user", user, "--", "/witness", "dump"])
            .run();
        ended.code(0).said(&format!("ids {ids}"));
        ended.said("env HOME=/").said(&format!("env USER={user}"));
    }
    let ended = container(image(true))
        .stepdown(["--user", "app", "--", "/witness", "dump"])
        .run();
    ended.code(125).logged(&["--user", "app", "number"]);
}

#[test]
fn a_name_that_is_none_is_refused_with_its_option_and_the_way_out() {
    need!(docker::available());
    for (options, parts) in [
        (["--user", "ap"], ["--user", "did you mean app?"]),
        (["--user", "app:audoi"], ["--user", "did you mean audio?"]),
        (["--group", "vido"], ["--group", "did you mean video?"]),
        (["--user", "broken"], ["--user", "has no id"]),
        (["--user", "4294967295"], ["--user", "is no id"]),
        (
            ["--user=app:0", "--group=app"],
            ["--group", "names a group already"],
        ),
    ] {
        let ended = container(image(false))
            .stepdown(options)
            .command(["--pre-start", "/witness die 9", "--", "/witness", "dump"])
            .run();
        ended.code(125).logged(&parts).never_logged("pre-start");
        assert!(ended.stdout.is_empty(), "{}", ended.told());
    }
}

#[test]
fn what_is_not_permitted_is_refused_before_anything_starts() {
    need!(docker::available());
    let nobody = &["--user", "1000:1001"][..];
    for (docker, options, parts) in [
        (nobody, &["--user", "0"][..], ["--user", "uid 1000"]),
        (
            nobody,
            &["--user", "1000:0"],
            ["gid 0", "as --user 1000:1001"],
        ),
        (
            &["--user", "1234:1001"],
            &["--user", "1234"],
            ["gid 0", "as --user 1234:1001"],
        ),
        (nobody, &["--group", "0"], ["--group", "gid 0"]),
        (nobody, &["--user=1001:1001"], ["--user", "CAP_SETUID"]),
        (
            &["--cap-drop", "ALL"],
            &["--user", "app"],
            ["--user", "CAP_SETUID"],
        ),
        (
            &["--cap-drop", "SETGID"],
            &["--user", "app"],
            ["--user", "CAP_SETGID"],
        ),
    ] {
        let ended = container(image(false))
            .options(docker)
            .stepdown(options)
            .command(["--pre-start", "/witness dump", "--", "/witness", "dump"])
            .run();
        ended.code(125).logged(&parts);
        assert!(ended.stdout.is_empty(), "{options:?}\n{}", ended.told());
    }
}

#[test]
fn who_is_already_whom_the_child_shall_be_may_stay_it() {
    need!(docker::available());
    for options in [
        &["--user", "app"][..],
        &["--user", "1000:1001"],
        &["--group", "app"],
        &["--user=1000", "--group=1001"],
    ] {
        let ended = container(image(false))
            .options(["--user", "1000:1001", "--cap-drop", "ALL"])
            .stepdown(options.iter().chain(&["--", "/witness", "dump"]))
            .run();
        ended.code(0).said("ids 1000 1000 1001 1001").was_silent();
    }
    // root without capabilities can be root, and keeps its group.
    let ended = container(image(false))
        .options(["--cap-drop", "ALL"])
        .stepdown(["--user", "root", "--", "/witness", "dump"])
        .run();
    ended.code(0).said("ids 0 0 0 0").was_silent();
}

#[test]
fn the_variable_of_the_option_is_named_where_it_asks_too_much() {
    need!(docker::available());
    let ended = container(image(false))
        .options(["--user", "1000:1001", "-e", "STEPDOWN_USER=root"])
        .stepdown(["--", "/witness", "dump"])
        .run();
    ended
        .code(125)
        .logged(&["STEPDOWN_USER: ", "not permitted"]);
}

#[test]
fn env_wins_over_the_variables_of_the_user() {
    need!(is_root());
    let ended = Stepdown::new()
        .args(["--user", "daemon", "--env", "HOME=/elsewhere"])
        .shell("echo $HOME $USER")
        .run();
    ended.code(0).said("/elsewhere daemon");
    // Of a user without a name nothing is known but the numbers.
    let ended = Stepdown::new()
        .env("USER", "inherited")
        .args(["--user", "54321"])
        .shell("echo $HOME $USER")
        .run();
    ended.code(0).said("/ inherited");
}

#[test]
fn hooks_run_as_stepdown_itself() {
    need!(is_root());
    both(|mode| {
        let here = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(here.path(), fs::Permissions::from_mode(0o777)).expect("our own");
        let elsewhere = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o755)).expect("our own");
        let hook = |phase: &str| format!("sh -c 'echo {phase} $(id -u) $(pwd) $HOME'");
        let ended = Stepdown::in_mode(mode)
            .dir(here.path())
            .env("HOME", "/ours")
            .args(["--user", "12345:12345", "--workdir"])
            .args([elsewhere.path()])
            .args([
                "--pre-start",
                &hook("before"),
                "--post-stop",
                &hook("after"),
            ])
            .shell("echo child $(id -u) $(pwd) $HOME")
            .run();
        let (here, elsewhere) = (here.path().display(), elsewhere.path().display());
        ended
            .code(0)
            .said(&format!("before 0 {here} /ours"))
            .said(&format!("child 12345 {elsewhere} /"))
            .said(&format!("after 0 {here} /ours"));
    });
}

#[test]
fn a_directory_that_is_not_there_is_refused_before_anything_starts() {
    both(|mode| {
        for (directory, why) in [
            ("/no/such/directory", "No such file or directory"),
            ("/etc/passwd", "Not a directory"),
        ] {
            let ended = Stepdown::in_mode(mode)
                .args(["--workdir", directory, "--post-stop", "echo hook"])
                .child(["echo", "child"])
                .run();
            ended.code(125).logged(&["--workdir", directory, why]);
            assert!(ended.stdout.is_empty(), "{}", ended.told());
        }
        let place = tempfile::tempdir().expect("a temporary directory");
        let made = place.path().join("made");
        let ended = Stepdown::in_mode(mode)
            .args(["--pre-start", &format!("mkdir {}", made.display())])
            .args(["--workdir".as_ref(), made.as_os_str()])
            .child(["pwd"])
            .run();
        ended.code(0).said(made.to_str().expect("a plain path"));
    });
}

#[test]
fn a_directory_may_be_open_to_the_user_alone() {
    need!(is_root());
    need!(installed("/usr/bin/setpriv"));
    let place = tempfile::tempdir().expect("a temporary directory");
    let home = place.path().join("home");
    let inner = home.join("inner");
    fs::create_dir_all(&inner).expect("a directory of our own");
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    mode(place.path(), 0o755).expect("our own");
    for directory in [&inner, &home] {
        mode(directory, 0o700).expect("our own");
        std::os::unix::fs::chown(directory, Some(12345), Some(12345)).expect("as root");
    }
    // Without CAP_DAC_OVERRIDE, as in a container with `cap_drop: ALL`, root passes no foreign door.
    let start = |options: &[&str], directory: &Path| {
        Stepdown::new()
            .program("setpriv")
            .args([
                "--bounding-set=-all,+setuid,+setgid,+kill",
                "--inh-caps=-all",
            ])
            .args([under_test()])
            .args(options)
            .args(["--workdir".as_ref(), directory.as_os_str()])
            .child(["pwd"])
            .run()
    };
    for directory in [&home, &inner] {
        let ended = start(&["--user", "12345:12345"], directory);
        ended
            .code(0)
            .said(directory.to_str().expect("a plain path"));
        // Neither root nor the user may.
        for options in [&["--user", "12346:12346"][..], &[]] {
            let ended = start(options, directory);
            ended.code(125).logged(&["--workdir", "Permission denied"]);
            assert!(ended.stdout.is_empty(), "{}", ended.told());
        }
    }
    let ended = start(&["--user", "12345:12345"], &inner.join("none"));
    ended.code(125).logged(&["--workdir", "No such file"]);
}

#[test]
fn stepdown_may_still_be_looked_into_when_the_child_is_somebody_else() {
    need!(is_root());
    need!(installed("/usr/bin/setpriv"));
    // Without CAP_SYS_PTRACE root is as curious as anybody: it may read what belongs to its own
    // user, unless the process says no (ptrace(2), PTRACE_MODE_READ).
    let without = ["--bounding-set=-sys_ptrace", "--"];
    for user in ["0", "12345"] {
        let mut run = Stepdown::new()
            .program("/usr/bin/setpriv")
            .args(without)
            .args([under_test()])
            .args(["--user", user])
            .child(["sh", "-c", "echo ready; exec sleep 1000"])
            .start();
        run.says("ready");
        let exe = format!("/proc/{}/exe", run.pid());
        // The child may have said its word before stepdown, which shares its memory until exec, goes on.
        wait_until("stepdown may be looked into", || {
            let look = Stepdown::new()
                .program("/usr/bin/setpriv")
                .args(without)
                .args(["readlink", &exe])
                .run();
            look.status.success()
        });
        run.signal(Signal::SIGTERM);
        run.wait().code(143).nothing_left();
    }
}

#[test]
fn new_privileges_are_denied_to_the_child_alone() {
    both(|mode| {
        for (option, denied) in [(&["--no-new-privs"][..], "1"), (&[], "0")] {
            let mut run = Stepdown::in_mode(mode)
                .args(option)
                .shell("echo ready; exec sleep 1000")
                .start();
            run.says("ready");
            let child = run.children()[0].pid;
            let seen = |pid| proc::status(pid, "NoNewPrivs");
            assert_eq!(seen(child).as_deref(), Some(denied));
            let own = run.pid();
            assert_eq!(seen(own).as_deref(), Some("0"), "stepdown needs its own");
            run.signal(Signal::SIGTERM);
            run.wait().code(143).nothing_left();
        }
    });
}

#[test]
fn a_child_of_another_user_is_stopped_and_swept() {
    need!(is_root());
    both(|mode| {
        let script = "setsid sh -c 'trap \"\" TERM; echo holding; while :; do sleep 1; done' & \
                      wait";
        let mut run = Stepdown::in_mode(mode)
            .args(["--user", "12345:12345", "--sweep-grace", "100ms"])
            .shell(script)
            .start();
        run.says("holding").signal(Signal::SIGTERM);
        run.wait().code(143).nothing_left();
    });
}
