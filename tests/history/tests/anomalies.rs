//! What no file system may show, each as the shortest history that shows it; and what looks odd and is allowed.

use gfs_history::{Answer, Operation, Outcome, Report, check};

mod script;
use script::{Script, create, delete, list, mkdir, rename, stat, undelete};

fn violations(script: Script) -> usize {
    let report = check(&script.history());
    assert_eq!(report.undecided, 0);
    report.violations.len()
}

#[track_caller]
fn is_refused(script: Script) {
    assert_eq!(violations(script), 1);
}

#[track_caller]
fn is_fine(script: Script) {
    let report: Report = check(&script.history());
    assert!(report.is_linearizable(), "{report}");
}

#[test]
fn one_after_the_other() {
    let mut script = Script::default();
    script.done(mkdir("/d"));
    script.file(create("/d/f"), 5);
    script.file(stat("/d/f"), 5);
    script.refused(create("/d/f"), "already_exists");
    script.refused(stat("/d/f/x"), "invalid");
    script.refused(stat("/e"), "not_found");
    script.files(list("/d"), &[("f", 5)]);
    script.file(rename("/d/f", "/d/g"), 5);
    script.done(delete("/d/g"));
    script.file(undelete("/d/g"), 5);
    is_fine(script);
}

#[test]
fn an_acknowledged_file_that_is_gone() {
    let mut script = Script::default();
    script.file(create("/f"), 5);
    script.refused(stat("/f"), "not_found");
    is_refused(script);
}

#[test]
fn a_deleted_file_that_is_there_again() {
    let mut script = Script::default();
    script.file(create("/f"), 5);
    script.done(delete("/f"));
    script.file(stat("/f"), 5);
    is_refused(script);
}

#[test]
fn two_that_both_made_one_file() {
    let mut script = Script::default();
    let (one, other) = (script.call(create("/f")), script.call(create("/f")));
    script.returned_file(one, 5);
    script.returned_file(other, 6);
    is_refused(script);
}

#[test]
fn one_id_for_two_files() {
    let mut script = Script::default();
    script.file(create("/d"), 5);
    script.file(create("/e"), 5);
    script.file(rename("/e", "/d-2"), 5);
    script.files(list("/"), &[("d", 5), ("d-2", 5)]);
    is_refused(script);
}

#[test]
fn one_id_for_two_files_that_have_nothing_to_do_with_each_other() {
    let mut script = Script::default();
    script.file(create("/d"), 5);
    script.file(create("/e"), 5);
    is_refused(script);
}

#[test]
fn an_id_that_comes_back_after_a_purge() {
    let mut script = Script::default();
    script.file(create("/f"), 5);
    let (path, recursive) = ("/f".to_owned(), false);
    script.done(Operation::Delete { path, recursive, purge: true });
    script.file(create("/f"), 5);
    is_refused(script);
}

#[test]
fn a_rename_that_left_both_names() {
    let mut script = Script::default();
    script.file(create("/a"), 5);
    script.file(rename("/a", "/b"), 5);
    script.file(stat("/b"), 5);
    script.file(stat("/a"), 5);
    is_refused(script);
}

#[test]
fn a_list_during_a_rename_that_has_neither_name() {
    let mut script = Script::default();
    script.done(mkdir("/d"));
    script.file(create("/d/a"), 5);
    let renamed = script.call(rename("/d/a", "/d/b"));
    script.files(list("/d"), &[]);
    script.returned_file(renamed, 5);
    is_refused(script);
}

#[test]
fn a_read_that_goes_back_in_time() {
    let mut script = Script::default();
    let made = script.call(create("/f"));
    script.file(stat("/f"), 5);
    script.refused(stat("/f"), "not_found");
    script.returned_file(made, 5);
    is_refused(script);
}

#[test]
fn while_a_call_is_under_way_it_may_or_may_not_be_seen() {
    let mut script = Script::default();
    let made = script.call(create("/f"));
    script.refused(stat("/f"), "not_found");
    script.file(stat("/f"), 5);
    script.returned_file(made, 5);
    is_fine(script);
}

#[test]
fn what_nobody_knows_may_happen_late_or_never_but_once() {
    let unknown = |script: &mut Script| {
        script.file(create("/f"), 5);
        let deleted = script.call(delete("/f"));
        script.returned_unknown(deleted);
    };
    let mut late = Script::default();
    unknown(&mut late);
    late.file(stat("/f"), 5);
    late.refused(stat("/f"), "not_found");
    is_fine(late);

    let mut never = Script::default();
    unknown(&mut never);
    never.file(stat("/f"), 5);
    is_fine(never);

    let mut twice = Script::default();
    unknown(&mut twice);
    twice.refused(stat("/f"), "not_found");
    twice.file(create("/f"), 6);
    twice.refused(stat("/f"), "not_found");
    is_refused(twice);
}

#[test]
fn what_never_returned_is_as_what_nobody_knows() {
    let mut script = Script::default();
    script.call(create("/f"));
    script.file(stat("/f"), 5);
    is_fine(script);
}

#[test]
fn what_surely_did_not_happen_is_not_seen() {
    let mut script = Script::default();
    let made = script.call(create("/f"));
    script.returned_not_done(made);
    script.file(stat("/f"), 5);
    is_refused(script);
}

#[test]
fn an_undelete_gives_the_file_that_was_deleted_last() {
    let mut script = Script::default();
    script.file(create("/f"), 5);
    script.done(delete("/f"));
    script.file(create("/f"), 6);
    script.done(delete("/f"));
    script.file(undelete("/f"), 5);
    is_refused(script);
}

/// It would have agreed with what was there before, too.
#[test]
fn a_mkdir_that_overlaps_a_delete_may_come_after_it() {
    let mut script = Script::default();
    script.done(mkdir("/d"));
    let made = script.call(Operation::Mkdir { path: "/d".to_owned(), parents: true });
    script.refused(stat("/d/f"), "not_found");
    script.done(delete("/d"));
    script.file(create("/d/f"), 5);
    script.returned(made, Outcome::Done(Answer::Nothing));
    is_fine(script);
}

#[test]
fn the_report_names_the_call_and_what_was_under_way() {
    let mut script = Script::default();
    script.file(create("/f"), 5);
    let open = script.call(create("/f/x"));
    script.refused(stat("/f"), "not_found");
    script.returned_unknown(open);
    let report = check(&script.history());
    let [violation] = &report.violations[..] else { panic!("{report}") };
    assert!(violation.contains("call 2: Stat"), "{violation}");
    assert!(violation.contains("under way: call 1: Create"), "{violation}");
    assert_eq!((report.calls, report.unknown, report.parts), (3, 1, 1));
}

/// Thousands of calls, hundreds of them of unknown outcome: what is right is found right at once.
#[test]
fn a_long_history_with_many_unknown_calls_is_decided() {
    let mut script = Script::default();
    for number in 0..2_000 {
        let path = format!("/d{}/f{number}", number % 4);
        if number < 4 {
            script.done(mkdir(&format!("/d{number}")));
        } else if number % 7 == 0 {
            let call = script.call(create(&path));
            script.returned_unknown(call);
        } else {
            let id = 100 + number;
            let overlapping = script.call(create(&path));
            script.refused(stat(&format!("/d{}/none", number % 4)), "not_found");
            script.returned_file(overlapping, id);
            script.file(stat(&path), id);
        }
    }
    let report = check(&script.history());
    assert!(report.is_linearizable(), "{report}");
    assert_eq!(report.parts, 4);
    assert!(report.unknown > 250 && report.calls > 5_000, "{report}");
}
