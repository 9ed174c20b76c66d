//! Which of the processes that are left a sweep asks to end: roots first, and none twice.
//!
//! A master tells its workers to end; many workers that get TERM themselves drop their requests. So a
//! process whose parent is left, too, is left to its parent, until that has had time for it.

/// A process that is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LeftBehind {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) had: Had,
}

/// Whether a process has been asked to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Had {
    No,
    /// It is not known: it was started at that moment, or the platform may have signalled every
    /// process.
    Perhaps,
    Yes,
}

/// What a round of a sweep does with a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Treatment {
    Ask,
    /// Its parent has been asked, or will be; or it may have been asked itself.
    HoldBack,
    /// It was asked, and is only waited for.
    Wait,
}

/// One verdict for each of them, in their order; `rest` once the parents have had their time.
pub(crate) fn judge(left: &[LeftBehind], rest: bool) -> Vec<Treatment> {
    let pids: std::collections::HashSet<i32> = left.iter().map(|left| left.pid).collect();
    let verdict = |process: &LeftBehind| match process.had {
        Had::Yes => Treatment::Wait,
        _ if rest => Treatment::Ask,
        Had::No if !pids.contains(&process.parent) => Treatment::Ask,
        Had::No | Had::Perhaps => Treatment::HoldBack,
    };
    left.iter().map(verdict).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&[LeftBehind], bool) -> Vec<Treatment>;

    /// Whether a rule keeps its promises in every tree of three processes.
    fn keeps_the_promises(rule: Rule) -> bool {
        let parents = [1, 10, 11, 12];
        let had = [Had::No, Had::Perhaps, Had::Yes];
        let mut forests: Vec<Vec<LeftBehind>> = vec![Vec::new()];
        for pid in [10, 11, 12] {
            forests = forests
                .iter()
                .flat_map(|forest| {
                    let parents = parents.into_iter().filter(move |parent| *parent != pid);
                    parents.flat_map(move |parent| {
                        had.map(|had| {
                            let mut forest = forest.clone();
                            forest.push(LeftBehind { pid, parent, had });
                            forest
                        })
                    })
                })
                .collect();
        }
        forests.iter().all(|forest| {
            [false, true].into_iter().all(|rest| {
                let verdicts = rule(forest, rest);
                let is_one_each = verdicts.len() == forest.len();
                is_one_each
                    && forest.iter().zip(&verdicts).all(|(left, verdict)| {
                        let has_parent = forest.iter().any(|other| other.pid == left.parent);
                        match left.had {
                            // None is asked twice.
                            Had::Yes => *verdict == Treatment::Wait,
                            // In the end all are asked that may not have been asked before.
                            Had::No | Had::Perhaps if rest => *verdict == Treatment::Ask,
                            Had::Perhaps => *verdict == Treatment::HoldBack,
                            // Roots first.
                            Had::No => (*verdict == Treatment::Ask) != has_parent,
                        }
                    })
            })
        })
    }

    #[test]
    fn nobody_is_asked_twice_and_roots_are_asked_first() {
        assert!(keeps_the_promises(judge));
    }

    #[test]
    fn a_planted_bug_breaks_a_promise() {
        let asks_again: Rule = |left, rest| {
            let anew = |left: &LeftBehind| LeftBehind {
                had: Had::No,
                ..*left
            };
            judge(&left.iter().map(anew).collect::<Vec<_>>(), rest)
        };
        let asks_workers: Rule = |left, _| judge(left, true);
        let forgets_workers: Rule = |left, _| judge(left, false);
        for bug in [asks_again, asks_workers, forgets_workers] {
            assert!(!keeps_the_promises(bug));
        }
    }
}
