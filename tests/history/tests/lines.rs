//! Histories as lines: read back as written, and refused with the line that is wrong.

use gfs_history::History;

mod script;
use script::{Script, create, list, mkdir, rename, stat};

fn read(text: &str) -> Result<History, String> {
    History::read(text.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn a_history_is_read_as_it_was_written() {
    let mut script = Script::default();
    script.done(mkdir("/d"));
    script.file(create("/d/ü\n"), 5);
    script.files(list("/d"), &[("ü\n", 5)]);
    script.refused(rename("/d", "/d/e"), "invalid");
    let open = script.call(stat("/d"));
    script.returned_unknown(open);
    let open = script.call(stat("/d"));
    script.returned_not_done(open);
    script.call(stat("/"));
    let history = script.history();
    let mut text = Vec::new();
    history.write(&mut text).unwrap();
    assert_eq!(String::from_utf8_lossy(&text).lines().count(), history.events().len());
    assert_eq!(History::read(&text[..]).unwrap(), history);
}

#[test]
fn the_words_of_the_lines_stay() {
    let text = r#"{"at_us":12,"client":1,"call":7,"called":{"create":{"path":"/a"}}}
{"at_us":31,"client":1,"call":7,"returned":{"done":{"entry":{"kind":"file","id":5}}}}

{"at_us":31,"client":2,"call":8,"called":{"delete":{"path":"/a","recursive":false,"purge":true}}}
{"at_us":40,"client":2,"call":8,"returned":"unknown"}
"#;
    let history = read(text).unwrap();
    let mut again = Vec::new();
    history.write(&mut again).unwrap();
    assert_eq!(String::from_utf8(again).unwrap(), text.replace("\n\n", "\n"));
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let called = |at_us: u64, call: u64| {
        format!(
            r#"{{"at_us":{at_us},"client":1,"call":{call},"called":{{"stat":{{"path":"/a"}}}}}}"#
        )
    };
    let returned = |at_us: u64, call: u64| {
        format!(r#"{{"at_us":{at_us},"client":1,"call":{call},"returned":"unknown"}}"#)
    };
    let cases = [
        (vec!["{}".to_owned()], "line 1 is no event"),
        (vec![called(1, 1), "x".to_owned()], "line 2 is no event"),
        (vec![called(5, 1), returned(4, 1)], "event 2 is at 4 us, the one before it later"),
        (vec![called(1, 1), called(2, 1)], "event 2 calls 1, which was called before"),
        (vec![returned(1, 3)], "event 1 is a return of call 3, which is not under way"),
        (vec![called(1, 1), returned(2, 1), returned(3, 1)], "event 3 is a return of call 1"),
    ];
    for (lines, expected) in cases {
        let error = read(&lines.join("\n")).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    for path in ["", "a", "/a/", "//", "/a/../b", "/."] {
        let line = called(1, 1).replace("/a", path);
        assert!(read(&line).unwrap_err().contains("not absolute and plain"), "{path}");
    }
}

#[test]
fn parts_of_several_processes_come_together_by_their_clock() {
    let mut script = Script::default();
    script.file(create("/f"), 5);
    script.file(stat("/f"), 5);
    let events = script.events();
    let (one, mut other) = (events[..2].to_vec(), events[2..].to_vec());
    let whole = History::merged(vec![other.clone(), one.clone()]).unwrap();
    assert_eq!(whole.events(), events);
    // A call in the microsecond of another's return overlaps with it.
    other[0].at_us = one[1].at_us;
    let whole = History::merged(vec![one, other]).unwrap();
    assert_eq!(whole.events()[1].call, 1, "the call comes first");
}
