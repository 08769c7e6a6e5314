//! The client of the server against a small one that does as it is told.

use std::{fs, process::Command, thread};

use super::*;
use crate::worker::{one_at_a_time, protocol::WantedAction};

/// Replies with what it was asked about; `die` in a module's name ends it, `odd` is an error.
const SERVER: &str = r#"
import json, os, struct, sys
R, W, L = (int(part) for part in os.environ["SYNAPSE_WORKER_FDS"].split(","))
def send(type, **fields):
    text = json.dumps({"type": type, **fields}).encode()
    os.write(W, struct.pack("<I", len(text)) + text)
def read(count):
    text = b""
    while len(text) < count:
        part = os.read(R, count - len(text))
        if not part:
            sys.exit(0)
        text += part
    return text
def receive():
    size, = struct.unpack("<I", read(4))
    return json.loads(read(size))
def main():
    send("hello", protocol=1)
    start = receive()
    assert start["command"] == "inspect-server", start
    held = []
    while True:
        request = receive()
        module = request["wanted"][0]["module"]
        if module == "die":
            print("last words", file=sys.stderr, flush=True)
            os._exit(1)
        if module == "odd":
            send("error", kind="protocol", message="odd", id=request["id"])
            continue
        held.append((request["id"], module))
        # The replies of two come in the other order.
        if len(held) == 2 or module == "alone":
            for id, name in reversed(held):
                action = {"kind": "class", "model": name, "from_the_future": 1}
                send("inspected", id=id, actions={"train": action}, stubbed=["torch"], real=False)
            held = []
"#;

fn server(folder: &Path) -> InspectServer {
    let package = folder.join("synapse_sdk");
    fs::create_dir(&package).expect("a folder");
    fs::write(package.join("__init__.py"), "").expect("a file");
    fs::write(package.join("_worker.py"), SERVER).expect("a file");
    let private = folder.join("private");
    fs::create_dir(&private).expect("a folder");
    let script = "import sys; print(sys.executable, end='')";
    let output = Command::new("python3")
        .args(["-c", script])
        .output()
        .expect("a Python");
    let launcher = Launcher {
        synapse: "unused".into(),
        interpreter: String::from_utf8(output.stdout).expect("a path").into(),
        libpython: None,
        sdk: folder.to_owned(),
    };
    InspectServer::new(launcher, Vec::new(), &private, 2)
}

fn request(module: &str) -> InspectRequest {
    InspectRequest {
        plugin_dir: "/".into(),
        sources: [("a.py".to_owned(), String::new())].into(),
        wanted: vec![WantedAction {
            action: "train".to_owned(),
            module: module.to_owned(),
            object: "Train".to_owned(),
            params: None,
            ui: true,
            check: false,
            given: serde_json::Value::Null,
        }],
        real: false,
    }
}

fn model(reply: &InspectReply) -> Option<&str> {
    reply.actions["train"].model.as_deref()
}

#[test]
fn replies_find_those_who_asked_whatever_their_order() {
    let _alone = one_at_a_time();
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path());
    assert_eq!(server.starts(), 0);
    thread::scope(|scope| {
        let first = scope.spawn(|| server.inspect(&request("first"), &Cancel::default()));
        let second = server
            .inspect(&request("second"), &Cancel::default())
            .expect("a reply");
        assert_eq!(model(&second), Some("second"));
        assert_eq!(second.stubbed, ["torch"]);
        let first = first.join().expect("no panic").expect("a reply");
        assert_eq!(model(&first), Some("first"));
    });
    assert_eq!(server.starts(), 1);
}

#[test]
fn a_server_that_dies_is_started_again_and_not_for_ever() {
    let _alone = one_at_a_time();
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path());
    let alone = || server.inspect(&request("alone"), &Cancel::default());
    assert!(alone().is_ok());
    let failure = server
        .inspect(&request("die"), &Cancel::default())
        .expect_err("it dies");
    assert_eq!(failure.code, "inspect-server");
    assert!(failure.message.contains("last words"), "{failure}");
    assert_eq!(server.starts(), 3);
    assert!(alone().is_ok(), "others are inspected all the same");
    assert_eq!(server.starts(), 4);
    let odd = server
        .inspect(&request("odd"), &Cancel::default())
        .expect_err("an error");
    assert_eq!(odd.message, "inspection: odd");
}

#[test]
fn whoever_waits_can_be_cancelled_and_a_missing_python_is_told() {
    let _alone = one_at_a_time();
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = server(folder.path());
    let cancel = Cancel::default();
    cancel.cancel();
    let failure = server
        .inspect(&request("first"), &cancel)
        .expect_err("cancelled");
    assert_eq!(failure.code, "cancelled");
    *lock(&server.running) = None;
    server.launcher.interpreter = "/no/python".into();
    let failure = server
        .inspect(&request("alone"), &Cancel::default())
        .expect_err("none");
    assert!(
        failure.message.starts_with("cannot start /no/python"),
        "{failure}"
    );
}
