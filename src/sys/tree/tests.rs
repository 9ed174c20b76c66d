//! Trees made up in a directory, and processes of our own that are pinned.

use super::*;
use crate::sys::stat::Stat;

#[test]
fn a_process_whose_first_thread_has_ended_lives_as_long_as_another_does() {
    let stat = |threads: i32| format!("7 (a) Z 3 5 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 {threads} 0 9");
    let member = |threads| Member::new(7, Stat::parse(stat(threads).as_bytes()).unwrap());
    assert!(member(1).ended);
    assert!(!member(2).ended);
}

/// A directory like /proc: pid, parent, group, state and children of each process.
fn fake_proc(processes: &[(i32, i32, i32, char, &str)]) -> (tempfile::TempDir, Proc) {
    let root = tempfile::tempdir().unwrap();
    for (pid, parent, group, state, children) in processes {
        let task = root.path().join(format!("{pid}/task/{pid}"));
        std::fs::create_dir_all(&task).unwrap();
        let stat = format!("{pid} (p{pid}) {state} {parent} {group} 0 0 -1");
        std::fs::write(root.path().join(format!("{pid}/stat")), stat).unwrap();
        if *children != "-" {
            std::fs::write(task.join("children"), children).unwrap();
        }
    }
    let proc = Proc::at(root.path()).unwrap();
    (root, proc)
}

fn pids(members: Option<Vec<Member>>) -> Vec<i32> {
    let mut pids: Vec<i32> = members.unwrap().iter().map(|member| member.pid).collect();
    pids.sort_unstable();
    pids
}

#[test]
fn who_is_reaped_while_it_is_looked_at_is_gone_and_not_from_outside() {
    let (_root, proc) = fake_proc(&[
        (7, 0, 0, 'X', "-"),
        (8, 0, 8, 'S', "-"),
        (9, 3, 9, 'Z', "-"),
    ]);
    let parents = [7, 8, 9, 10].map(|pid| proc.parent(pid));
    assert_eq!(parents, [None, Some(0), Some(3), None]);
}

#[test]
fn the_children_files_are_followed_where_the_kernel_has_them() {
    // 40 stands in no list: only a scan would find it. 31 has just lost its parent 30 and is
    // in two lists. 99 has ended between the reads.
    let (_root, proc) = fake_proc(&[
        (10, 1, 10, 'S', "20 30 31 99 "),
        (20, 10, 20, 'S', "21 "),
        (21, 20, 20, 'T', ""),
        (30, 10, 30, 'Z', "31 "),
        (31, 10, 30, 'S', ""),
        (40, 10, 40, 'S', ""),
    ]);
    assert_eq!(pids(proc.descendants(10)), [20, 21, 31]);
    assert_eq!(pids(proc.descendants(20)), [21]);
}

#[test]
fn children_of_every_thread_count() {
    let (root, proc) = fake_proc(&[
        (10, 1, 10, 'S', "20 "),
        (20, 10, 20, 'S', ""),
        (21, 10, 21, 'S', ""),
    ]);
    let thread = root.path().join("10/task/11");
    std::fs::create_dir(&thread).unwrap();
    std::fs::write(thread.join("children"), "21 ").unwrap();
    assert_eq!(pids(proc.descendants(10)), [20, 21]);
}

#[test]
fn a_thread_that_ends_meanwhile_hides_no_child() {
    let (root, proc) = fake_proc(&[
        (10, 1, 10, 'S', "20 "),
        (20, 10, 20, 'S', "21 "),
        (21, 20, 21, 'S', ""),
    ]);
    // It is listed, and its file is gone.
    std::fs::create_dir(root.path().join("20/task/30")).unwrap();
    assert_eq!(pids(proc.descendants(10)), [20, 21]);
}

#[test]
fn without_children_files_everybody_is_looked_at() {
    let (_root, proc) = fake_proc(&[
        (1, 0, 1, 'S', "-"),
        (10, 1, 10, 'S', "-"),
        (22, 21, 21, 'S', "-"),
        (21, 20, 21, 'Z', "-"),
        (20, 10, 20, 'S', "-"),
        (50, 1, 50, 'S', "-"),
    ]);
    assert_eq!(pids(proc.descendants(10)), [20, 22]);
}

#[test]
fn both_ways_to_look_agree() {
    let mut child = sleeper();
    let pid = pid_of(&child);
    let proc = Proc::open().unwrap();
    assert!(pids(proc.by_scan(own_pid())).contains(&pid));
    if let Some(listed) = proc.by_children_files(own_pid()) {
        assert!(pids(Some(listed)).contains(&pid));
    }
    end(&mut child);
}

fn sleeper() -> std::process::Child {
    std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap()
}

fn pid_of(child: &std::process::Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

fn end(child: &mut std::process::Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_descriptor_and_proc_name_the_same_parent() {
    let mut child = sleeper();
    let pid = pid_of(&child);
    let told = Pinned::open(pid).unwrap().parent();
    assert!(told.is_none_or(|parent| parent == own_pid()), "{told:?}");
    assert_eq!(Proc::open().unwrap().stat(pid).unwrap().parent, own_pid());
    assert_eq!(Pinned::ByPid(pid).parent(), None);
    end(&mut child);
}

#[test]
fn a_pid_that_changed_hands_is_not_signalled() {
    // It was found below a process of the tree, and now belongs to somebody else's child.
    let mut stranger = sleeper();
    let proc = Proc::open().unwrap();
    let below_us = |parent: i32| parent == own_pid();
    let elsewhere = |parent: i32| parent == own_pid() + 1;
    let found = proc.stat(pid_of(&stranger)).unwrap();
    let mut before = found.clone();
    before.started -= 1;
    assert!(!send_pinned(&proc, &before, &[Signal::KILL], elsewhere));
    assert!(stranger.try_wait().unwrap().is_none());
    assert!(send_pinned(&proc, &before, &[Signal::CONT], below_us));
    // The one that was found has another parent by now: the one it had has ended.
    assert!(send_pinned(&proc, &found, &[Signal::KILL], elsewhere));
    stranger.wait().unwrap();
}

#[test]
fn a_pinned_process_that_ended_is_not_mistaken_for_its_successor() {
    let mut child = sleeper();
    let pinned = Pinned::open(pid_of(&child));
    end(&mut child);
    if let Ok(pinned) = pinned {
        assert_eq!(pinned.parent(), None);
        assert!(!pinned.send(Signal::KILL));
    }
}
