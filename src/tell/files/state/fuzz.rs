//! Whatever a state file holds, a run begins and ends with it, and leaves one that the next run can read.

use super::*;
use crate::options::Settings;
use crate::options::told::STATE_FILE;
use crate::record::Reason;
use crate::tell::metrics;

/// An end by TERM.
fn end(progress: &mut Progress, totals: &mut Totals) -> Record {
    let record = Record::Ended(Outcome {
        code: 143,
        reason: Reason::Exit,
        status: None,
        escalated: false,
        took: Duration::from_secs(3),
    });
    progress.tell(Duration::from_secs(3), &record);
    totals.tell(&record, progress);
    record
}

pub(crate) fn state(bytes: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    std::fs::write(&path, bytes).unwrap();
    let mut settings = Settings::default();
    settings.set("state-file", path.to_str().unwrap());
    let file = || settings.file(&STATE_FILE).unwrap();
    let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);

    let mut troubles = Vec::new();
    let mut keeper = Keeper::open(file(), began, &mut troubles);
    assert!(troubles.iter().all(|trouble| !trouble.is_empty()));
    for (name, value) in keeper.variables() {
        let name = name.to_str().unwrap();
        assert!(name.starts_with("STEPDOWN_LAST_"));
        assert!(!value.as_encoded_bytes().contains(&0), "{name}");
    }
    keeper.begin().unwrap();
    let mut progress = Progress::default();
    let mut totals = keeper.totals().clone();
    let record = end(&mut progress, &mut totals);
    let page = metrics::render(&progress, &totals, began, Duration::from_secs(3));
    assert!(page.ends_with('\n'));
    let at = Duration::from_secs(3);
    keeper.tell(at, &record, &progress, &totals).unwrap();

    let mut troubles = Vec::new();
    let again = Keeper::open(file(), began, &mut troubles);
    assert_eq!(troubles, [""; 0]);
    assert_eq!(again.state, keeper.state);
    assert!(again.state.last_runs.len() <= RUNS);
}

/// What was counted up to the largest number goes no further, and begins at no other end.
#[test]
fn runs_beyond_all_numbers_are_as_many_as_can_be_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let runs = format!(r#"{{"exit":{},"signal":1}}"#, u64::MAX);
    let text = format!(r#"{{"schema":1,"running":null,"totals":{{"runs":{runs}}}}}"#);
    std::fs::write(&path, text).unwrap();
    let mut settings = Settings::default();
    settings.set("state-file", path.to_str().unwrap());
    let file = settings.file(&STATE_FILE).unwrap();
    let keeper = Keeper::open(file, SystemTime::UNIX_EPOCH, &mut Vec::new());
    let runs = ("STEPDOWN_LAST_RUNS".into(), u64::MAX.to_string().into());
    assert!(keeper.variables().contains(&runs));
}
