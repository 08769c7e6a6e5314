//! `--timings` and `--trace`.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use synapse_tests::{Space, snapshot};

use super::{EXPORT, PROGRAM, PUBLISH, publish};

/// A page of timings as a browser has it: enough of one for its script.
const BROWSER: &str = include_str!("browser.js");

fn read(space: &Space, name: &str) -> String {
    fs::read_to_string(space.root().join(name)).unwrap()
}

/// What the page holds for its script.
fn data(page: &str) -> Value {
    let (_, rest) = page
        .split_once("<script id=\"data\" type=\"application/json\">")
        .unwrap();
    let (data, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(data).unwrap()
}

fn spans(trace: &Value) -> Vec<&Value> {
    let events = trace["traceEvents"].as_array().unwrap().iter();
    events.filter(|event| event["ph"] == "X").collect()
}

/// What ran, as `stage subject`.
fn ran(trace: &Value) -> Vec<String> {
    let spans = spans(trace)
        .into_iter()
        .filter(|span| span["cat"] != "command");
    let mut names: Vec<String> = spans
        .map(|span| span["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// Every event is whole; on a lane they follow each other, and lie within the command.
fn expect_nested(trace: &Value) {
    let mut lanes: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    let mut named = Vec::new();
    for event in trace["traceEvents"].as_array().unwrap() {
        let tid = event["tid"].as_u64().unwrap();
        assert!(
            event["pid"].is_u64() && event["name"].is_string(),
            "{event}"
        );
        match event["ph"].as_str().unwrap() {
            "X" => {
                let (from, length) = (
                    event["ts"].as_u64().unwrap(),
                    event["dur"].as_u64().unwrap(),
                );
                lanes.entry(tid).or_default().push((from, from + length));
            }
            "M" if event["name"] == "thread_name" => named.push(tid),
            "M" => {}
            "s" | "f" => assert!(event["id"].is_u64() && event["ts"].is_u64(), "{event}"),
            "i" => assert!(event["s"].is_string(), "{event}"),
            other => panic!("{other}: {event}"),
        }
    }
    let whole = lanes[&0][0];
    for (tid, mut spans) in lanes {
        assert!(named.contains(&tid), "lane {tid} has a name");
        spans.sort_unstable();
        assert!(
            spans.windows(2).all(|two| two[0].1 <= two[1].0),
            "lane {tid}: {spans:?}"
        );
        assert!(
            spans
                .iter()
                .all(|span| span.0 >= whole.0 && span.1 <= whole.1)
        );
    }
    let flows = |ph: &str| {
        trace["traceEvents"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|own| own["ph"] == ph)
            .count()
    };
    assert_eq!(flows("s"), flows("f"));
}

#[test]
fn everything_that_ran_is_in_both() {
    let space = Space::workspace(PROGRAM);
    let files = ["--timings", "../t.html", "--trace", "../t.json"];
    let document = space.publish(&[&["--all"][..], &files].concat()).expect(0);
    let trace: Value = serde_json::from_str(&read(&space, "t.json")).unwrap();
    expect_nested(&trace);
    let mut expected: Vec<String> = document.ran();
    // Named by plugin, then stage; `--json` looks at all, so that all are there.
    expected.sort();
    let mut turned: Vec<String> = ran(&trace)
        .iter()
        .map(|name| {
            let (stage, subject) = name.split_once(' ').unwrap();
            format!("{} {stage}", subject.split('@').next().unwrap())
        })
        .filter(|name| !name.starts_with("base "))
        .collect();
    turned.sort();
    assert_eq!(turned, expected);
    assert_eq!(expected.len(), 35);
    let first = spans(&trace)
        .into_iter()
        .find(|span| span["cat"] == "archive")
        .unwrap();
    assert_eq!(first["args"]["ended"], "ran");
    assert_eq!(first["args"]["reasons"], json!(["it has not run before"]));
    assert!(
        spans(&trace)
            .iter()
            .any(|span| span["args"]["critical"] == true)
    );
    let page = read(&space, "t.html");
    for load in ["http://", "https://", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(load), "{load}");
    }
    let data = data(&page);
    assert_eq!(data["spans"].as_array().unwrap().len(), ran(&trace).len());
    for name in texts(&data["stages"]) {
        assert!(
            page.contains(&format!("<th scope=\"row\">{name}</th>")),
            "{name}"
        );
    }
    // Nothing runs a second time, and that is told too.
    publish(&space, &files, 0);
    let trace: Value = serde_json::from_str(&read(&space, "t.json")).unwrap();
    expect_nested(&trace);
    assert_eq!(ran(&trace), Vec::<String>::new());
    assert!(read(&space, "t.html").contains("0 stages ran, 0 failed"));
}

fn texts(value: &Value) -> Vec<&str> {
    super::texts(value)
}

#[test]
fn the_script_of_the_page_draws_and_hears_keys() {
    let space = Space::tiny(PROGRAM, 3);
    let page = space.root().join("t.html");
    publish(&space, &["--timings", page.to_str().unwrap()], 0);
    let Ok(node) = Command::new("node")
        .args(["-e", BROWSER, page.to_str().unwrap()])
        .stdin(Stdio::null())
        .output()
    else {
        // Without it, what the page holds is still checked by the others.
        return;
    };
    let (out, err) = (
        String::from_utf8_lossy(&node.stdout),
        String::from_utf8_lossy(&node.stderr),
    );
    assert!(node.status.success(), "{out}{err}");
    let seen: Value = serde_json::from_str(&out).unwrap();
    let spans = data(&read(&space, "t.html"))["spans"]
        .as_array()
        .unwrap()
        .len();
    assert!(seen["rects"].as_u64().unwrap() >= spans as u64, "{seen}");
    assert!(seen["first"].as_str().unwrap().contains("tiny-"), "{seen}");
    assert_ne!(seen["first"], seen["second"]);
    assert_eq!(seen["back"], seen["first"]);
    assert!(
        seen["path"]
            .as_str()
            .unwrap()
            .contains("on the longest path"),
        "{seen}"
    );
    assert_eq!(seen["legend"].as_u64().unwrap(), 7, "{seen}");
}

#[test]
fn names_are_escaped() {
    let space = Space::tiny(PROGRAM, 1);
    publish(&space, &[], 0);
    space.write("plugins/p0/plugin/</script><b>&.txt", "odd");
    publish(&space, &["--bump", "patch", "--timings", "../t.html"], 0);
    let page = read(&space, "t.html");
    assert!(!page.contains("</script><b>"), "{page}");
    assert!(page.contains("&lt;/script&gt;&lt;b&gt;&amp;.txt"));
    assert!(
        data(&page)
            .to_string()
            .contains("</script><b>&.txt was added")
    );
}

#[test]
fn a_publish_that_fails_or_is_interrupted_leaves_its_files() {
    let space = Space::workspace(PROGRAM);
    publish(&space, &[], 0);
    space.append(EXPORT, "# edited\n");
    publish(
        &space,
        &["--trace", "../failed.json", "--timings", "../failed.html"],
        4,
    );
    let trace: Value = serde_json::from_str(&read(&space, "failed.json")).unwrap();
    expect_nested(&trace);
    let failed = spans(&trace)
        .into_iter()
        .find(|span| span["args"]["ended"] == "version-exists");
    assert_eq!(failed.unwrap()["name"], "upload coco-export");
    assert!(read(&space, "failed.html").contains("failed: version-exists"));
    let space = Space::workspace(PROGRAM);
    let all = [&PUBLISH[..], &["--trace", "../cut.json"]].concat();
    space
        .synapse_with("SYNAPSE_TEST_INTERRUPT_AT", "8", &all)
        .expect(130);
    let trace: Value = serde_json::from_str(&read(&space, "cut.json")).unwrap();
    expect_nested(&trace);
    assert!(ran(&trace).len() < 35, "{trace}");
}

#[test]
fn a_file_that_cannot_be_written_stops_it_before_anything_is_done() {
    let space = Space::tiny(PROGRAM, 1);
    for (option, file, code) in [
        ("--timings", "../nowhere/t.html", 3),
        ("--trace", "..", 3),
        ("--trace", "plugins/p0/t.json", 2),
        ("--timings", "plugins/p0/plugin/../t.html", 2),
    ] {
        let before = snapshot(space.cwd());
        let run = space
            .synapse(&[&PUBLISH[..], &[option, file]].concat())
            .expect(code);
        assert!(run.stderr.contains("hint: "), "{run:?}");
        assert_eq!(snapshot(space.cwd()), before);
    }
    // Nothing was sent by any of them.
    assert_eq!(space.publish(&["--all"]).expect(0).total("published"), 1);
    // What is not published may lie there; a longer file leaves nothing of itself.
    fs::create_dir(space.path("plugins/p0/dist")).unwrap();
    space.write("plugins/p0/dist/t.json", "x".repeat(1 << 20));
    publish(&space, &["--trace", "plugins/p0/dist/t.json"], 0);
    let trace: Value = serde_json::from_str(&space.read("plugins/p0/dist/t.json")).unwrap();
    expect_nested(&trace);
    space.publish(&["--all"]).expect_nothing_done();
    let out = space
        .synapse(&[&PUBLISH[..], &["--quiet", "--trace", "/dev/stdout"]].concat())
        .expect(0);
    expect_nested(&serde_json::from_str(&out.stdout).unwrap());
}
