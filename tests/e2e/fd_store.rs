//! `--fd-store-max`: descriptors that one life of the command hands over for the next one.

use std::fs::File;

use nix::sys::signal::Signal;

use crate::identity::is_root;
use crate::support::ended::Ended;
use crate::support::{Mode, Stepdown, binary, both, need, proc};

/// Plays these deeds, a line for each life of the command, and fails after each but the last one.
fn lives(mode: Mode, options: &[&str], lives: &[&str]) -> Ended {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let deeds = binary::deeds();
    let mut script = "echo >>lives; case $(wc -l <lives) in ".to_owned();
    for (index, life) in lives.iter().enumerate() {
        let fails = if index + 1 < lives.len() { "fail" } else { "" };
        let life = format!("{}) exec {} {life} {fails};; ", index + 1, deeds.display());
        script.push_str(&life);
    }
    script.push_str("esac");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(dir.path(), open).expect("a directory of ours");
    Stepdown::in_mode(mode)
        .program(binary::for_everybody())
        .dir(dir.path())
        .args([
            "--restart=on-failure",
            "--restart-delay=1ms",
            "--restart-limit=none",
        ])
        .args(options)
        .shell(&script)
        .run()
}

fn of<'a>(ended: &'a Ended, name: &str) -> Vec<&'a str> {
    let lines = ended.stdout.lines();
    lines.filter(|line| line.starts_with(name)).collect()
}

#[test]
fn what_is_kept_stands_behind_the_sockets_of_the_next_life() {
    both(|mode| {
        let ended = lives(
            mode,
            &["--listen=web=127.0.0.1:0", "--fd-store-max=2"],
            &[
                "tell LISTEN_FDNAMES tell FDSTORE keep a 'FDSTORE=1 FDNAME=state' keep b FDSTORE=1 \
                 keep c 'FDSTORE=1 FDNAME=late'",
                "tell LISTEN_FDS tell LISTEN_FDNAMES tell-file 4 tell-file 5 \
                 notify 'FDSTOREREMOVE=1 FDNAME=state'",
                "tell LISTEN_FDNAMES tell-file 4",
            ],
        );
        ended.code(0).nothing_left();
        let names = of(&ended, "LISTEN_FDNAMES");
        assert_eq!(
            names,
            [
                "LISTEN_FDNAMES web",
                "LISTEN_FDNAMES web:state:stored",
                "LISTEN_FDNAMES web:stored"
            ]
        );
        assert_eq!(
            of(&ended, "descriptor"),
            ["descriptor 4: a", "descriptor 5: b", "descriptor 4: b"]
        );
        ended.said("LISTEN_FDS 3").said("FDSTORE 2");
        ended.logged(&["\"late\" is not kept: there are 2 already (--fd-store-max)"]);
    });
}

#[test]
fn what_a_child_of_another_user_says_last_counts() {
    need!(is_root());
    both(|mode| {
        let options = ["--user=65534", "--fd-store-max=9"];
        let keeps = "keep a 'FDSTORE=1 FDNAME=a' keep b 'FDSTORE=1 FDNAME=b'";
        let ended = lives(
            mode,
            &options,
            &[keeps, "tell LISTEN_FDNAMES tell-file 3 tell-file 4"],
        );
        ended.code(0).said("LISTEN_FDNAMES a:b");
        assert_eq!(
            of(&ended, "descriptor"),
            ["descriptor 3: a", "descriptor 4: b"]
        );
    });
}

#[test]
fn the_same_one_is_kept_once() {
    both(|mode| {
        let again = "keep-again 3 'FDSTORE=1 FDNAME=again' tell LISTEN_FDNAMES";
        let ended = lives(
            mode,
            &["--fd-store-max=9"],
            &["keep a 'FDSTORE=1 FDNAME=a'", again, again],
        );
        ended.code(0).never_logged("is not kept");
        assert_eq!(of(&ended, "LISTEN"), ["LISTEN_FDNAMES a"; 2]);
    });
}

#[test]
fn what_has_lost_its_other_side_is_dropped_unless_that_is_not_wanted() {
    both(|mode| {
        let ended = lives(
            mode,
            &["--fd-store-max=9"],
            &[
                "keep-pipe 'FDSTORE=1 FDNAME=dropped' keep-pipe 'FDSTORE=1 FDPOLL=0 FDNAME=wanted' \
                 keep a 'FDSTORE=1 FDNAME=file'",
                "tell LISTEN_FDNAMES",
            ],
        );
        ended.code(0).said("LISTEN_FDNAMES wanted:file");
    });
}

/// The kernel drops them, and says so (MSG_CTRUNC).
#[test]
fn what_there_is_no_descriptor_for_is_told_once() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let deeds = format!(
            "exec {} await go keep a 'FDSTORE=1 FDNAME=a' keep b FDSTORE=1 say said pause",
            binary::deeds().display()
        );
        let options = ["--restart=on-failure", "--fd-store-max=9", "-v"];
        let stepdown = Stepdown::in_mode(mode).args(options).dir(dir.path());
        let mut run = stepdown.shell(&deeds).start();
        run.logs("started, pid");
        proc::leave_no_descriptor(run.pid());
        File::create(dir.path().join("go")).expect("a directory of ours");
        run.says("said");
        run.logs("not kept: Too many open files");
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(143).nothing_left();
        assert_eq!(ended.stderr.matches("not kept").count(), 1);
    });
}

#[test]
fn without_it_nothing_is_kept() {
    both(|mode| {
        let keeps = "keep a 'FDSTORE=1 FDNAME=a' tell FDSTORE";
        let ended = lives(mode, &[], &[keeps, "tell LISTEN_FDS"]);
        ended
            .code(0)
            .said("no NOTIFY_SOCKET")
            .said("FDSTORE is not set")
            .said("LISTEN_FDS is not set");
        let options = ["--ready-when=notify", "--restart-start-failures"];
        let ended = lives(mode, &options, &[keeps, "notify READY=1 tell LISTEN_FDS"]);
        ended.code(0).said("LISTEN_FDS is not set");
    });
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let cases: [(&[&str], &str); 3] = [
        (&["--fd-store-max=3"], "add --restart"),
        (
            &["--restart=always", "--fd-store-max=x"],
            "a whole number up to 512",
        ),
        (
            &["--restart=always", "--fd-store-max=513"],
            "a whole number up to 512",
        ),
    ];
    for (options, way_out) in cases {
        let ended = Stepdown::new().args(options).child(["true"]).run();
        ended.code(125).logged(&[way_out]);
    }
}
