//! A server of ours is a platform like any other.

use serde_json::json;
use synapse_tests::{Serving, space};

use crate::{doctor::check, home, log_in, piped, saved};

#[test]
fn one_logs_in_to_a_server_of_ours_as_to_any() {
    let machine = space!();
    let server = Serving::start(&machine);
    let space = home();
    log_in(&space, &["--host", &server.url], &server.token);
    let whoami = space.synapse(&["whoami", "--json"]).expect(0).json();
    assert_eq!(whoami["accepted"], true, "{whoami:#}");
    let list = space.synapse(&["agent", "list", "--json"]).expect(0).json();
    assert_eq!(list["agents"][0]["name"], "local", "{list:#}");
    space.synapse(&["agent", "select", "local"]).expect(0);
    assert_eq!(saved(&space)["agent"], json!({"id": 1, "name": "local"}));
    let document = space.synapse(&["doctor", "--json"]).expect(0).json();
    for name in ["host", "token"] {
        assert_eq!(check(&document, name)["state"], "ok", "{document:#}");
    }
    // A token that may not list agents is a token all the same.
    let make = ["backend", "token", "create", "--scope", "publish", "--json"];
    let made = machine.synapse(&make).expect(0).json();
    let narrow = made["token"].as_str().unwrap();
    log_in(
        &space,
        &["--profile", "narrow", "--host", &server.url],
        narrow,
    );
    space.synapse(&["whoami", "--profile", "narrow"]).expect(0);
    let refused = piped(&space, &["login", "--host", &server.url], "none of them");
    assert_eq!(refused.code(), 2, "it has spaces: {refused:?}");
    let refused = piped(&space, &["login", "--host", &server.url], "none-of-them");
    assert_eq!(refused.code(), 3, "{refused:?}");
}
