//! Asking for jobs and for what they say, when calls break off or come twice; and how many run at once.

use super::*;

#[test]
fn asking_twice_makes_one_job() {
    let space = space();
    let serving = serve(&space, &[]);
    let body = json!({"action": "train", "params": {"epochs": 3}, "client_id": "mine"});
    let mut answers: Vec<(u16, Value)> = thread::scope(|scope| {
        let ask = || {
            let answer = serving.json("POST /plugins/jobs/run/", &body);
            (answer.status, answer.value()["id"].clone())
        };
        let all: Vec<_> = (0..12).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    answers.sort_by_key(|(status, _)| *status);
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [&[200; 11][..], &[201]].concat());
    assert!(
        answers.iter().all(|(_, id)| *id == answers[0].1),
        "{answers:?}"
    );
    let other = json!({"action": "train", "params": {"epochs": 4}, "client_id": "mine"});
    let refused = serving.json("POST /plugins/jobs/run/", &other).expect(409);
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("was used for job 1"),
        "{refused}"
    );
    let found = serving.get("/jobs/?client_id=mine").expect(200);
    assert_eq!(
        (&found["count"], &found["results"][0]["client_id"]),
        (&json!(1), &json!("mine"))
    );
    // After a doubt the client asks first: the server may have heard it or not.
    for (name, fault) in [("heard", Fault::ResetAfter), ("not", Fault::ResetBefore)] {
        let before = serving.get("/jobs/").expect(200)["count"].as_u64().unwrap();
        let plan = move |call: &Call| match (call.method.as_str(), call.number) {
            ("POST", number) if number < 2 => fault.clone(),
            _ => Fault::None,
        };
        let proxy = Proxy::start(serving.host(), plan);
        let args = [
            "plugin", "run", "train", "--mode", "remote", "--host", &proxy.url, "--json",
        ];
        let run = space.synapse_with("SYNAPSE_ACCESS_TOKEN", &serving.token, &args);
        let document = run.expect(0).json();
        assert_eq!(document["status"], "SUCCEEDED", "{name}");
        let after = serving.get("/jobs/").expect(200)["count"].as_u64().unwrap();
        assert_eq!(after - before, 1, "{name}: {:?}", proxy.faults());
        assert!(proxy.count("GET", "/jobs/?client_id=") >= 1, "{name}");
    }
}

/// The events of a stream: id, kind, data.
fn events(text: &str) -> Vec<(String, String, Value)> {
    let field = |event: &str, name: &str| {
        let found = event.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_default().to_owned()
    };
    let all = text.split("\n\n").filter(|event| event.contains("data: "));
    all.map(|event| {
        let data = serde_json::from_str(&field(event, "data: ")).unwrap();
        (field(event, "id: "), field(event, "event: "), data)
    })
    .collect()
}

#[test]
fn a_tail_goes_on_where_it_broke_off() {
    let space = space();
    let serving = serve(&space, &[]);
    let asked = ask(&serving, "train", &json!({}), "tail");
    let call = format!("GET /jobs/{}/tail_console_logs/", asked["id"]);
    let tail = |last: Option<&str>| {
        let mut headers = vec![("Accept", "text/event-stream")];
        headers.extend(last.map(|last| ("Last-Event-ID", last)));
        let answer = serving.call(&call, &headers, b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        events(&String::from_utf8(answer.body).unwrap())
    };
    let live = tail(None);
    let kinds: Vec<&str> = live.iter().map(|(_, kind, _)| kind.as_str()).collect();
    assert_eq!(kinds.last(), Some(&"end"), "{live:#?}");
    assert_eq!(live.last().unwrap().2["status"], "SUCCEEDED");
    for (kind, count) in [("progress", 2), ("metrics", 2), ("end", 1)] {
        assert_eq!(
            kinds.iter().filter(|own| **own == kind).count(),
            count,
            "{live:#?}"
        );
    }
    let printed = |events: &[(String, String, Value)]| -> String {
        let output = events.iter().filter(|(_, kind, _)| kind == "output");
        output
            .map(|(_, _, data)| data["text"].as_str().unwrap())
            .collect()
    };
    let said = |events: &[(String, String, Value)]| -> Vec<Value> {
        let said = events
            .iter()
            .filter(|(_, kind, _)| !["output", "end"].contains(&&**kind));
        said.map(|(_, _, data)| data["id"].clone()).collect()
    };
    assert_eq!(printed(&live), "printed before\nprinted after\n");
    // After any event, the rest is what had not come yet.
    for at in 0..live.len() {
        let (before, last) = (&live[..=at], &live[at].0);
        let after = tail(Some(last));
        assert_eq!(
            printed(before) + &printed(&after),
            printed(&live),
            "after {last}"
        );
        assert_eq!(
            [said(before), said(&after)].concat(),
            said(&live),
            "after {last}"
        );
    }
    let headers = [("Accept", "text/event-stream"), ("Last-Event-ID", "x")];
    serving.call(&call, &headers, b"").expect(400);
    // Without asking for events it is text, as before.
    let text = serving.get(&call[4..]);
    assert!(
        text.header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );

    // The client comes back after a cut, and shows everything once.
    let plan = |call: &Call| {
        let first =
            call.path.contains("tail_console_logs") && call.header("last-event-id").is_none();
        if first { Fault::Truncate } else { Fault::None }
    };
    let proxy = Proxy::start(serving.host(), plan);
    let args = [
        "plugin", "run", "train", "--mode", "remote", "--host", &proxy.url,
    ];
    let run = space
        .synapse_with("SYNAPSE_ACCESS_TOKEN", &serving.token, &args)
        .expect(0);
    for line in [
        "printed before",
        "printed after",
        "Starting training...",
        "that was fast",
    ] {
        assert_eq!(
            run.stdout.matches(line).count(),
            1,
            "{line:?} in\n{}",
            run.stdout
        );
    }
    assert!(proxy.count("GET", "/jobs/") >= 2, "{:?}", proxy.calls());
}

#[test]
fn as_many_run_at_once_as_are_allowed() {
    let space = space();
    let serving = serve(&space, &["--jobs", "2"]);
    let signs: Vec<Signs> = (0..3).map(|n| Signs::new(&space, &n.to_string())).collect();
    let jobs: Vec<Value> = (0..3)
        .map(|n| ask(&serving, "train", &signs[n].value(), &n.to_string()))
        .collect();
    // The first two reach their gates together; the third has not begun.
    signs[0].wait();
    signs[1].wait();
    assert_eq!(job(&serving, &jobs[2])["status"], "PENDING");
    assert!(!signs[2].mark.exists());
    signs[1].open();
    signs[2].wait();
    assert_eq!(job(&serving, &jobs[0])["status"], "RUNNING");
    signs[0].open();
    signs[2].open();
    for job in &jobs {
        assert_eq!(end(&serving, job)["status"], "SUCCEEDED");
    }
}
