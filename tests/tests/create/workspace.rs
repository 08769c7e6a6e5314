//! A new plugin in a workspace.

use serde_json::json;

use crate::{create, names, space};

#[test]
fn a_pattern_that_takes_it_is_named_and_nothing_is_edited() {
    let mut space = space();
    let text = "members:\n  - 'plugins/synapse-*-plugin'  # all\n";
    space.write("synapse-workspace.yaml", text);
    space.write("plugins/.keep", "");
    space.set_cwd(space.path("plugins"));
    let made = create(&space, &["--name", "One", "-y"]).expect(0);
    let line = "a member of the workspace already, by plugins/synapse-*-plugin\n";
    assert!(made.stdout.contains(line), "{made:?}");
    assert_eq!(space.read("../synapse-workspace.yaml"), text);
    let status = space
        .synapse(&["status", "--local", "--json"])
        .expect(0)
        .json();
    assert_eq!(status["plugins"][0]["code"], "one");
}

#[test]
fn else_it_is_added_by_changing_no_other_byte() {
    let space = space();
    let text = "# ours\r\nmembers:\r\n- 'a/*'   # those\r\n\r\nstorage: []\r\n";
    space.write("synapse-workspace.yaml", text);
    let args = ["--name", "Two", "-y", "--path", "b", "--json"];
    let document = create(&space, &args).expect(0).json();
    let workspace = &document["workspace"];
    assert_eq!(workspace["member"], "b/synapse-two-plugin");
    assert_eq!(workspace["state"], "added");
    let added = "- 'a/*'   # those\r\n- b/synapse-two-plugin\r\n";
    let wanted = text.replace("- 'a/*'   # those\r\n", added);
    assert_eq!(space.read("synapse-workspace.yaml"), wanted);
    let status = space
        .synapse(&["status", "--local", "--json"])
        .expect(0)
        .json();
    assert_eq!(status["plugins"].as_array().unwrap().len(), 1);
    assert_eq!(status["plugins"][0]["code"], "two");

    let text = create(&space, &["--name", "Three", "-y"]).expect(0).stdout;
    assert!(text.contains("synapse-workspace.yaml: adds synapse-three-plugin to its members\n"));
    assert!(
        text.contains("added synapse-three-plugin to the workspace's members\n"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_a_member_is_made_all_the_same() {
    let space = space();
    let text = "members: ['**', '!old']\n";
    space.write("synapse-workspace.yaml", text);
    for (path, why) in [
        ("old", "the member pattern !old excludes it"),
        (".hid", "below .hid"),
    ] {
        let made = create(&space, &["--name", "Four", "-y", "--path", path, "--json"]).expect(0);
        let document = made.json();
        assert_eq!(document["workspace"]["state"], "outside", "{document:#}");
        assert!(
            document["workspace"]["why"].as_str().unwrap().contains(why),
            "{document:#}"
        );
    }
    assert_eq!(space.read("synapse-workspace.yaml"), text);
}

#[test]
fn a_workspace_that_cannot_be_read_is_told_before_anything_is_made() {
    let space = space();
    space.write("synapse-workspace.yaml", "members: [a\n");
    let refused = create(&space, &["--name", "Five", "-y"]).expect(1);
    assert!(
        refused.stderr.contains("synapse-workspace.yaml:"),
        "{refused:?}"
    );
    assert_eq!(names(space.cwd()), ["synapse-workspace.yaml"]);
    // Outside of it, it is nobody's business.
    space.write("synapse-workspace.yaml", "members: ['x/*']\n");
    let elsewhere = space.root().join("user");
    let args = [
        "--name",
        "Five",
        "-y",
        "--path",
        elsewhere.to_str().unwrap(),
        "--json",
    ];
    let document = create(&space, &args).expect(0).json();
    assert_eq!(document["workspace"], json!(null));
}
