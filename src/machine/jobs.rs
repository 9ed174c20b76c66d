//! The processes that work for stepdown, hooks for example: what the end of each still means, and which process groups
//! are theirs.

/// Those of one life of the command; `J` is what each of them works at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Jobs<J> {
    /// Each is the leader of its own process group.
    running: Vec<(i32, J)>,
    /// The process groups of those that got KILL: what is left of them is dying.
    given_up: Vec<i32>,
}

impl<J> Default for Jobs<J> {
    fn default() -> Self {
        let (running, given_up) = (Vec::new(), Vec::new());
        Self { running, given_up }
    }
}

impl<J: Copy> Jobs<J> {
    pub(crate) fn begin(&mut self, pid: i32, job: J) {
        self.running.push((pid, job));
    }

    pub(crate) fn has_some(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether the process is one of them, or leads their group.
    pub(crate) fn has(&self, pid: i32) -> bool {
        self.running.iter().any(|(job, _)| *job == pid)
    }

    /// Whether it is the process group of one that was given up.
    pub(crate) fn has_given_up(&self, group: i32) -> bool {
        self.given_up.contains(&group)
    }

    /// The one that works at this.
    pub(crate) fn find(&self, chosen: impl Fn(&J) -> bool) -> Option<i32> {
        let mut found = self.running.iter().filter(|(_, job)| chosen(job));
        found.next().map(|(pid, _)| *pid)
    }

    /// Takes the one with this pid, which has ended.
    pub(crate) fn take(&mut self, pid: i32) -> Option<J> {
        let index = self.running.iter().position(|(job, _)| *job == pid)?;
        Some(self.running.swap_remove(index).1)
    }

    /// These get KILL, each with its whole group. What is left of that has been dealt with: it is nothing that the
    /// command has left behind.
    pub(crate) fn give_up(&mut self, chosen: impl Fn(&J) -> bool) -> Vec<i32> {
        let chosen = self.running.iter().filter(|(_, job)| chosen(job));
        let pids: Vec<i32> = chosen.map(|(pid, _)| *pid).collect();
        self.given_up.extend(&pids);
        pids
    }

    /// The groups that have become empty are nobody's any more.
    pub(crate) fn forget_empty(&mut self, is_empty: impl Fn(i32) -> bool) {
        self.given_up.retain(|group| !is_empty(*group));
    }

    /// What the next life of the command has to do with them. One that got KILL may hang in the kernel; when it ends
    /// at last, that is not the end of the hook of the same number in the life that it is then.
    pub(crate) fn of_next_life(mut self) -> Self {
        self.running.retain(|(pid, _)| !self.given_up.contains(pid));
        self
    }

    /// What the life that goes on has to do with those of one that is over.
    pub(crate) fn outlive(&mut self, other: Self) {
        self.given_up.extend(other.given_up);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Jobs<char> {
        let mut jobs = Jobs::default();
        jobs.begin(7, 'h');
        jobs.begin(8, 'l');
        jobs
    }

    #[test]
    fn a_hook_that_was_given_up_is_none_of_the_next_life() {
        let mut jobs = two();
        assert_eq!(jobs.give_up(|job| *job == 'h'), [7]);
        let mut jobs = jobs.of_next_life();
        assert_eq!(jobs.take(7), None);
        assert_eq!(jobs.take(8), Some('l'));
        assert!(jobs.has_given_up(7), "what is left of it is no leftover");
        assert!(!jobs.has_given_up(8) && !jobs.has_some());
    }

    #[test]
    fn a_hook_of_a_life_that_is_over_is_none_of_the_one_that_goes_on() {
        let (mut jobs, mut other) = (Jobs::default(), two());
        other.give_up(|job| *job == 'h');
        jobs.begin(9, 'h');
        jobs.outlive(other);
        assert_eq!((jobs.take(7), jobs.take(8)), (None, None));
        assert!(jobs.has_given_up(7) && !jobs.has_given_up(8));
        assert!(jobs.has(9) && jobs.has_some());
    }

    #[test]
    fn a_group_that_is_empty_is_nobodys() {
        let mut jobs = two();
        jobs.give_up(|_| true);
        jobs.forget_empty(|group| group == 7);
        assert!(!jobs.has_given_up(7) && jobs.has_given_up(8));
    }

    #[test]
    fn it_is_found_by_what_it_works_at() {
        let jobs = two();
        assert_eq!(jobs.find(|job| *job == 'l'), Some(8));
        assert_eq!(jobs.find(|job| *job == 'x'), None);
        assert!(jobs.has(8) && !jobs.has(6));
    }
}
