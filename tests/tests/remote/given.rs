//! What an action is given on an agent, what it leaves there, and who may have it run.

use super::*;

#[test]
fn an_action_gets_nothing_of_the_server_that_is_secret() {
    let mut space = space();
    space.set("SYNAPSE_ACCESS_TOKEN", "canary-token");
    space.set("AWS_SECRET_ACCESS_KEY", "canary-key");
    space.set(
        "PIP_EXTRA_INDEX_URL",
        "https://me:canary-index@127.0.0.1:1/simple",
    );
    space.set("VIRTUAL_ENV", "/canary/environment");
    space.set("LC_TEST", "kept");
    let serving = serve(&space, &[]);
    let asked = ask(&serving, "look", &json!({}), "look");
    let looked = end(&serving, &asked);
    let result = &looked["result"];
    assert_eq!(looked["status"], "SUCCEEDED", "{looked:#}");
    let text = result.to_string();
    assert!(
        !text.contains("canary") && !text.contains(&serving.token),
        "{result:#}"
    );
    let variables = &result["variables"];
    assert_eq!(variables["LC_TEST"], "kept");
    let folder = format!("/data/backend/jobs/{}", asked["id"]);
    for name in ["TMPDIR", "SYNAPSE_HOME"] {
        assert!(
            variables[name].as_str().unwrap().contains(&folder),
            "{name}: {variables:#}"
        );
    }
    assert!(
        result["cwd"]
            .as_str()
            .unwrap()
            .ends_with(&format!("{folder}/plugin")),
        "{result:#}"
    );
    assert_eq!(result["executable"], true);
    // Its client reads and runs, and no more.
    assert_eq!(result["jobs"], json!([asked["id"]]));
    assert!(
        result["refused"].as_str().unwrap().contains("scope"),
        "{result:#}"
    );
    // Nor does anything of it lie in the records.
    let mut command = std::process::Command::new("grep");
    let found = command
        .args(["-rl", "canary-"])
        .arg(space.home().join("data"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn what_an_action_writes_is_kept() {
    let space = space();
    let serving = serve(&space, &[]);
    let run = space.synapse(&remote("writes", &[])).expect(0);
    let folder = space.home().join("data/backend/jobs/1/plugin");
    let kept = format!("what the action wrote is kept in {}", folder.display());
    assert!(run.stderr.contains(&kept), "{}", run.stderr);
    assert_eq!(
        fs::read_to_string(folder.join("runs/best.pt")).unwrap(),
        "weights"
    );
    assert!(!folder.join("plugin").exists() && !Path::new(&folder).join("../tmp").exists());
    drop(serving);
}

#[test]
fn tenants_and_scopes_hold_for_jobs_too() {
    let space = space();
    let serving = serve(&space, &[]);
    let token = |more: &[&str]| {
        let args = [&["backend", "token", "create", "--json"], more].concat();
        let made = space.synapse(&args).expect(0).json();
        made["token"].as_str().unwrap().to_owned()
    };
    let call = |token: &str, call: &str, body: Value| {
        let text = body.to_string();
        let request = format!(
            "{call} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nSynapse-Access-Token: Token {token}\r\n\r\n{text}",
            serving.host(),
            text.len()
        );
        serving.raw(request.as_bytes())
    };
    let run = "POST /plugins/jobs/run/";
    let body = json!({"action": "train", "client_id": "shared"});
    let reads = token(&["--scope", "read"]);
    let refused = call(&reads, run, body.clone()).expect(403);
    assert!(
        refused["detail"].as_str().unwrap().contains("`run`"),
        "{refused}"
    );
    let asked = ask(&serving, "train", &json!({}), "shared");
    call(&reads, &format!("GET /jobs/{}/", asked["id"]), Value::Null).expect(200);
    let stop = format!("PATCH /jobs/{}/", asked["id"]);
    call(&reads, &stop, json!({"status": "STOPPED"})).expect(403);
    // Another tenant has neither the plugin nor the job, and may use the name.
    let other = token(&["--tenant", "acme"]);
    call(&other, run, body.clone()).expect(404);
    call(&other, &stop, json!({"status": "STOPPED"})).expect(404);
    let home = space.home().display().to_string();
    space
        .command(&[
            "plugin",
            "publish",
            "--yes",
            "--host",
            &serving.url,
            "--quiet",
        ])
        .env("SYNAPSE_ACCESS_TOKEN", &other)
        .output()
        .map(Run::from)
        .unwrap()
        .expect(0);
    let own = call(&other, run, body).expect(201);
    assert_ne!(own["id"], asked["id"], "{home}");
    let tail = format!("GET /jobs/{}/tail_console_logs/", own["id"]);
    call(&other, &tail, Value::Null);
    let ended = call(&other, &format!("GET /jobs/{}/", own["id"]), Value::Null).expect(200);
    assert_eq!(ended["status"], "SUCCEEDED", "{ended:#}");
    serving.get(&format!("/jobs/{}/", own["id"])).expect(404);
}
