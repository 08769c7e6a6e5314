//! What a publish over HTTP sends, what it asks, and what it remembers.

use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use synapse_tests::{
    Document, Serving, Space,
    proxy::{Fault, Proxy},
};

use crate::{PROGRAM, Site, codes, point, publish, save_logins};

#[test]
fn a_workspace_is_sent_once() {
    let site = Site::start();
    let mut space = Space::workspace(PROGRAM);
    point(&mut space, &site.serving.url, &site.serving.token);
    let first = publish(&space, &["--all"]).expect(0);
    assert_eq!(first.total("published"), 7);
    assert!(first.total("bytes_sent") > 0);
    // One look and one release each.
    assert_eq!(first.total("requests"), 14);
    let plugin = first.plugin("coco-export");
    let id = plugin["targets"][0]["release"]["id"].as_str().unwrap();
    let release = site
        .serving
        .get(&format!("/plugin_releases/{id}/"))
        .expect(200);
    assert_eq!(release["checksum"], plugin["checksum"]["md5"]);
    assert_eq!(
        release["config"]["synapse_content_digest"],
        plugin["checksum"]["content"]
    );
    assert_eq!(
        site.releases("auto-tagger")[0]["variant"],
        "acme",
        "the variant travels in the configuration"
    );

    let second = publish(&space, &["--all"]).expect(0);
    assert_eq!(second.total("up_to_date"), 7);
    assert_eq!(second.total("bytes_sent"), 0);
    assert_eq!(second.total("requests"), 0, "receipts count for a day");
    assert_eq!(second.ran(), Vec::<String>::new());

    // Another machine has no receipts: it asks, and sends nothing.
    space.set_home("another-home");
    let other = publish(&space, &["--all"]).expect(0);
    assert_eq!(other.total("up_to_date"), 7);
    assert_eq!(other.total("bytes_sent"), 0);
    assert_eq!(other.total("requests"), 7);
    let again = publish(&space, &["--all"]).expect(0);
    assert_eq!(again.total("requests"), 0, "what was found counts as well");
    assert!(site.counts().values().all(|count| *count == 1));
}

#[test]
fn other_content_is_refused_and_bumped_past_what_is_taken() {
    let site = Site::start();
    let mut space = Space::tiny(PROGRAM, 2);
    point(&mut space, &site.serving.url, &site.serving.token);
    publish(&space, &["--all"]).expect(0);
    space.append("plugins/p0/plugin/run.py", "# edited\n");
    let refused = publish(&space, &["--all"]).expect(4);
    assert_eq!(codes(&refused), ["version-exists"]);
    assert_eq!(refused.total("bytes_sent"), 0);
    let raised = publish(&space, &["--all", "--bump", "patch"]).expect(0);
    assert_eq!(raised.plugin("tiny-0")["version"], "0.1.1");
    assert_eq!(raised.status("tiny-1"), "up_to_date");
    let versions: Vec<_> = site
        .releases("tiny-0")
        .iter()
        .map(|own| own["version"].clone())
        .collect();
    assert_eq!(versions, ["0.1.0", "0.1.1"]);
}

#[test]
fn debug_releases_take_the_place_of_the_one_before() {
    let site = Site::start();
    let mut space = Space::tiny(PROGRAM, 1);
    point(&mut space, &site.serving.url, &site.serving.token);
    for edit in ["# one\n", "# two\n"] {
        space.append("plugins/p0/plugin/run.py", edit);
        let sent = publish(&space, &["--all", "--debug"]).expect(0);
        assert_eq!(sent.total("published"), 1);
        let again = publish(&space, &["--all", "--debug"]).expect(0);
        assert_eq!(again.total("up_to_date"), 1);
    }
    let releases = site.releases("tiny-0");
    assert_eq!(releases.len(), 1);
    assert_eq!(releases[0]["debug"], true);
    // A formal one is another slot.
    publish(&space, &["--all"]).expect(0);
    assert_eq!(site.releases("tiny-0").len(), 2);
}

#[test]
fn what_was_deleted_there_is_noticed() {
    let site = Site::start();
    let mut space = Space::tiny(PROGRAM, 2);
    point(&mut space, &site.serving.url, &site.serving.token);
    publish(&space, &["--all"]).expect(0);
    let delete = |code: &str| {
        let id = site.releases(code)[0]["id"].to_string();
        let call = format!("DELETE /plugin_releases/{id}/");
        assert_eq!(site.serving.call(&call, &[], b"").status, 204);
    };
    delete("tiny-0");
    let fresh = publish(&space, &["--all"]).expect(0);
    assert_eq!(fresh.total("requests"), 0, "nobody looked");
    let verified = publish(&space, &["--all", "--verify"]).expect(0);
    assert_eq!(verified.status("tiny-0"), "published");
    assert_eq!(verified.status("tiny-1"), "up_to_date");
    assert_eq!(site.releases("tiny-0").len(), 1);

    delete("tiny-1");
    age_receipts(&space, 25);
    let aged = publish(&space, &["--all"]).expect(0);
    assert_eq!(aged.status("tiny-1"), "published");
    assert_eq!(aged.status("tiny-0"), "up_to_date");
    // What was asked again counts for another day.
    let after = publish(&space, &["--all"]).expect(0);
    assert_eq!(after.total("requests"), 0);
    assert!(site.counts().values().all(|count| *count == 1));
}

/// Makes all receipts older.
fn age_receipts(space: &Space, hours: i64) {
    let ledger = Connection::open(space.home().join("data/ledger.db")).unwrap();
    let changed = ledger
        .execute("UPDATE effect SET changed = changed - ?1", [hours * 3600])
        .unwrap();
    assert!(changed > 0);
}

#[test]
fn old_receipts_are_asked_for_many_at_a_time() {
    let site = Site::start();
    let (now, most) = <(
        std::sync::Arc<std::sync::atomic::AtomicUsize>,
        std::sync::Arc<std::sync::atomic::AtomicUsize>,
    )>::default();
    let (held, seen) = (now.clone(), most.clone());
    let proxy = Proxy::start(site.serving.host(), move |call| {
        use std::sync::atomic::Ordering::SeqCst;
        if call.method != "GET" {
            return Fault::None;
        }
        // Counted while it is held.
        seen.fetch_max(held.fetch_add(1, SeqCst) + 1, SeqCst);
        thread::sleep(Duration::from_millis(150));
        held.fetch_sub(1, SeqCst);
        Fault::None
    });
    let mut space = Space::tiny(PROGRAM, 12);
    point(&mut space, &proxy.url, &site.serving.token);
    publish(&space, &["--all"]).expect(0);
    most.store(0, std::sync::atomic::Ordering::SeqCst);
    let verified = publish(&space, &["--all", "--verify"]).expect(0);
    assert_eq!(verified.total("requests"), 12);
    assert_eq!(verified.total("up_to_date"), 12);
    let most = most.load(std::sync::atomic::Ordering::SeqCst);
    assert!((2..=8).contains(&most), "{most} at a time");
}

#[test]
fn several_targets_at_once() {
    let (one, two) = (Site::start(), Site::start());
    let space = Space::tiny(PROGRAM, 2);
    save_logins(
        &space,
        &[
            ("staging", &one.serving.url, &one.serving.token),
            ("prod", &two.serving.url, &two.serving.token),
            ("broken", &two.serving.url, "wrong"),
        ],
    );
    let both = ["--all", "--target", "staging", "--target", "prod"];
    let sent = publish(&space, &both).expect(0);
    for code in ["tiny-0", "tiny-1"] {
        let targets = sent.plugin(code)["targets"].as_array().unwrap();
        let names: Vec<_> = targets.iter().map(|own| own["name"].clone()).collect();
        assert_eq!(names, ["staging", "prod"]);
        assert!(targets.iter().all(|own| own["status"] == "published"));
        let archives = sent.plugin(code)["stages"].as_array().unwrap().iter();
        assert_eq!(archives.filter(|own| own["stage"] == "archive").count(), 1);
    }
    assert_eq!(one.counts(), two.counts());
    assert_eq!(publish(&space, &both).expect(0).total("requests"), 0);

    // A version that is taken at one of them is raised past what both have.
    space.append("plugins/p0/plugin/run.py", "# edited\n");
    publish(&space, &["--all", "--target", "prod", "--bump", "minor"]).expect(0);
    space.append("plugins/p0/plugin/run.py", "# again\n");
    let raised = publish(&space, &[&both[..], &["--bump", "patch"]].concat()).expect(0);
    assert_eq!(raised.plugin("tiny-0")["version"], "0.2.1");
    assert_eq!(raised.plugin("tiny-1")["status"], "up_to_date");

    // What one refuses, the other takes.
    space.append("plugins/p1/plugin/run.py", "# edited\n");
    let text = space.synapse(&[
        "plugin", "publish", "--yes", "--all", "--debug", "--target", "staging", "--target",
        "broken",
    ]);
    assert_eq!(text.code(), 4, "{text:?}");
    let document = publish(
        &space,
        &[
            "--all", "--debug", "--target", "staging", "--target", "broken",
        ],
    )
    .expect(4);
    assert_eq!(codes(&document), ["not-authenticated"], "told once");
    let targets = &document.plugin("tiny-1")["targets"];
    assert_eq!(targets[0]["status"], "up_to_date");
    assert_ne!(targets[1]["status"], "up_to_date");
}

#[test]
fn a_token_that_is_not_accepted_stops_the_batch_at_once() {
    let site = Site::start();
    let mut space = Space::tiny(PROGRAM, 9);
    point(&mut space, &site.serving.url, "not-a-token");
    let refused = publish(&space, &["--all"]).expect(3);
    assert_eq!(codes(&refused)[0], "not-authenticated");
    assert!(
        refused.total("requests") <= 8,
        "{}",
        refused.total("requests")
    );
    assert_eq!(refused.total("bytes_sent"), 0);
    let text = space
        .synapse(&["plugin", "publish", "--all", "--yes"])
        .text();
    assert_eq!(text.matches("error:").count(), 1, "{text}");
    assert!(text.contains("synapse login"), "{text}");
    assert!(!text.contains("not-a-token"), "{text}");
    // Looking ahead fails as the publish would, and says so once.
    let plan = space.synapse(&["plan", "--all"]);
    assert_eq!(plan.code(), 3, "{plan:?}");
    let text = plan.text();
    assert_eq!(text.matches("error:").count(), 1, "{text}");
    assert!(!text.contains("nothing would run"), "{text}");
    assert!(text.contains("9 plugins cannot be published"), "{text}");
}

/// A plugin whose archive takes several chunks, of bytes that do not shrink.
fn large_plugin(space: &Space, megabytes: usize) {
    space.tiny_plugin(".", "large");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(megabytes << 20);
    while bytes.len() < megabytes << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    space.write("plugin/weights.bin", bytes);
}

#[test]
fn large_archives_go_in_chunks_and_go_on_where_they_stopped() {
    let site = Site::start();
    let mut space = Space::new(PROGRAM);
    large_plugin(&space, 120);
    // The second chunk breaks twice: in the middle, and after the server has it.
    let chunks = std::sync::atomic::AtomicUsize::new(0);
    let proxy = Proxy::start(site.serving.host(), move |call| {
        if call.method != "PUT" {
            return Fault::None;
        }
        match chunks.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            1 => Fault::ResetAt(10 << 20),
            2 => Fault::ResetAfter,
            _ => Fault::None,
        }
    });
    point(&mut space, &proxy.url, &site.serving.token);
    let sent = publish(&space, &[]).expect(0);
    assert_eq!(sent.total("published"), 1);
    // Three chunks, one of them twice.
    assert_eq!(
        proxy.count("PUT", "/chunked_upload/"),
        4,
        "{:#?}",
        proxy.faults()
    );
    assert_eq!(proxy.count("POST", "/plugin_releases/"), 1);
    let release = &site.releases("large")[0];
    assert_eq!(release["checksum"], sent.plugin("large")["checksum"]["md5"]);
}

#[test]
fn a_server_that_restarts_while_an_upload_runs_has_one_release() {
    let site = Site::start();
    let mut space = Space::new(PROGRAM);
    large_plugin(&space, 160);
    let address = site.serving.host().to_owned();
    let port = address.rsplit(':').next().unwrap().to_owned();
    point(&mut space, &site.serving.url, &site.serving.token);
    let token = site
        .space
        .synapse(&["backend", "token", "create", "--json"]);
    let token = token.expect(0).json()["token"].as_str().unwrap().to_owned();
    space.set("SYNAPSE_ACCESS_TOKEN", &token);
    let mut child = space
        .command(&["plugin", "publish", "--yes", "--json"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Restarted as soon as a chunk is there.
    let until = Instant::now() + Duration::from_mins(1);
    let uploads = || {
        let path = site.space.home().join("data/backend/backend.db");
        let rows = Connection::open(path).and_then(|database| {
            database.query_row("SELECT count(*) FROM upload", [], |row| {
                row.get::<_, i64>(0)
            })
        });
        rows.unwrap_or(0)
    };
    while uploads() == 0 && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "no chunk came");
        thread::sleep(Duration::from_millis(2));
    }
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(site.serving.pid() as i32).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let Site {
        space: home,
        serving,
    } = site;
    serving.wait();
    let again =
        Serving::of(home.command(&["backend", "serve", "--until-stdin-closes", "--port", &port]));
    let output = child.wait_with_output().unwrap();
    let first = Document::of(output.into());
    // Either it came through, or the next one does: never twice.
    if first.run.code() != 0 {
        publish(&space, &[]).expect(0);
    }
    let site = Site {
        space: home,
        serving: again,
    };
    assert_eq!(
        site.counts().into_iter().collect::<Vec<_>>(),
        [("large 0.1.0".to_owned(), 1)]
    );
    assert_eq!(
        publish(&space, &["--verify"]).expect(0).total("bytes_sent"),
        0
    );
}

#[test]
fn an_interrupted_upload_is_gone_on_with_by_the_next_command() {
    let site = Site::start();
    let mut space = Space::new(PROGRAM);
    large_plugin(&space, 120);
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let switch = broken.clone();
    let chunks = std::sync::atomic::AtomicUsize::new(0);
    let proxy = Proxy::start(site.serving.host(), move |call| {
        let first =
            call.method == "PUT" && chunks.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        if switch.load(std::sync::atomic::Ordering::SeqCst) && call.method == "PUT" && !first {
            Fault::ResetBefore
        } else {
            Fault::None
        }
    });
    point(&mut space, &proxy.url, &site.serving.token);
    space.set("SYNAPSE_HTTP_RETRIES", "1");
    let failed = publish(&space, &[]).expect(3);
    assert_eq!(codes(&failed), ["target-unavailable"]);
    assert!(site.releases("large").is_empty());
    broken.store(false, std::sync::atomic::Ordering::SeqCst);
    let before = proxy.count("PUT", "/chunked_upload/");
    publish(&space, &[]).expect(0);
    // The first of three chunks was there already.
    assert_eq!(proxy.count("PUT", "/chunked_upload/") - before, 2);
    assert_eq!(site.releases("large").len(), 1);
}
