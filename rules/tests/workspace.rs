//! Which directories are members, which listings decide it, and what is never entered.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use synapse_rules::workspace::{self, Expansion, WorkspaceError, expand, find_root};
use tempfile::TempDir;

fn tree(plugins: &[&str], folders: &[&str]) -> TempDir {
    let root = TempDir::new().unwrap();
    for plugin in plugins {
        fs::create_dir_all(root.path().join(plugin)).unwrap();
        fs::write(root.path().join(plugin).join("config.yaml"), "").unwrap();
    }
    for folder in folders {
        fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    root
}

fn members(root: &Path, patterns: &[&str]) -> Expansion {
    let patterns: Vec<String> = patterns.iter().map(|&p| p.to_owned()).collect();
    expand(root, &patterns).unwrap()
}

#[test]
fn globs_name_plugin_folders() {
    let root = tree(
        &["plugins/a", "plugins/b", "plugins/deep/c", "tools/x", "d"],
        &["plugins/no"],
    );
    fs::create_dir(root.path().join("tools/y")).unwrap();
    fs::write(root.path().join("tools/y/synapse.yaml"), "").unwrap();
    for (patterns, expected) in [
        (&["plugins/*"][..], &["plugins/a", "plugins/b"][..]),
        (
            &["plugins/**"],
            &["plugins/a", "plugins/b", "plugins/deep/c"],
        ),
        (
            &["**"],
            &[
                "d",
                "plugins/a",
                "plugins/b",
                "plugins/deep/c",
                "tools/x",
                "tools/y",
            ],
        ),
        (&["**/c"], &["plugins/deep/c"]),
        (&["plugins/**/a"], &["plugins/a"]),
        (&["plugins/[ab]", "!plugins/b"], &["plugins/a"]),
        (&["!plugins", "**"], &["d", "tools/x", "tools/y"]),
        (&["./d/", "{tools,nowhere}/x"], &["d", "tools/x"]),
    ] {
        let expansion = members(root.path(), patterns);
        assert_eq!(expansion.members, expected, "{patterns:?}");
        assert!(
            expansion.unmatched.is_empty(),
            "{patterns:?}: {:?}",
            expansion.unmatched
        );
    }
}

#[test]
fn only_what_the_globs_need_is_visited() {
    let root = tree(
        &["plugins/a", "plugins/a/inner/b"],
        &["plugins/no/sub", "docs/x/y"],
    );
    let expansion = members(root.path(), &["plugins/*"]);
    assert_eq!(
        expansion.visited,
        ["", "plugins", "plugins/a", "plugins/no"]
    );
    // A member's inside is its own.
    let expansion = members(root.path(), &["plugins/**"]);
    assert_eq!(expansion.members, ["plugins/a"]);
    assert_eq!(
        expansion.visited,
        ["", "plugins", "plugins/a", "plugins/no", "plugins/no/sub"]
    );
    let expansion = members(root.path(), &["plugins/*", "plugins/a/inner/*"]);
    assert_eq!(expansion.members, ["plugins/a", "plugins/a/inner/b"]);
}

#[test]
fn some_folders_are_never_entered() {
    let root = tree(
        &[
            ".git/a",
            "node_modules/a",
            "venv/a",
            "my-env/lib/a",
            "p/.hidden/a",
            "p/ok",
        ],
        &["p/__pycache__/x"],
    );
    fs::write(root.path().join("my-env/pyvenv.cfg"), "").unwrap();
    let expansion = members(root.path(), &["**"]);
    assert_eq!(expansion.members, ["p/ok"]);
    assert_eq!(expansion.visited, ["", "my-env", "p", "p/ok"]);
}

#[test]
fn links_are_followed_inside_the_workspace_only() {
    let outside = tree(&["evil"], &[]);
    let root = tree(&["real/a"], &["plugins"]);
    symlink(
        outside.path().join("evil"),
        root.path().join("plugins/evil"),
    )
    .unwrap();
    symlink("../real/a", root.path().join("plugins/link")).unwrap();
    symlink("..", root.path().join("plugins/loop")).unwrap();
    symlink("nowhere", root.path().join("plugins/broken")).unwrap();
    assert_eq!(
        members(root.path(), &["plugins/*"]).members,
        ["plugins/link"]
    );
    assert_eq!(members(root.path(), &["**"]).members, ["real/a"]);
}

#[test]
fn a_root_and_a_missing_folder() {
    let root = tree(&["."], &[]);
    assert_eq!(members(root.path(), &["."]).members, ["."]);
    assert_eq!(
        members(root.path(), &["nowhere/*"]).unmatched,
        ["nowhere/*"]
    );
    let patterns = ["../x".to_owned()];
    assert!(matches!(
        expand(root.path(), &patterns),
        Err(WorkspaceError::Pattern { .. })
    ));
    assert!(matches!(
        expand(&root.path().join("no"), &[]),
        Err(WorkspaceError::List { .. })
    ));
}

#[test]
fn an_unreadable_folder_is_an_error() {
    let root = tree(&["plugins/a"], &[]);
    let locked = root.path().join("plugins/a");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    let result = expand(root.path(), &["plugins/*".to_owned()]);
    let readable = fs::read_dir(&locked).is_ok();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
    // The superuser may read everything.
    assert!(
        readable || matches!(result, Err(WorkspaceError::List { .. })),
        "{result:?}"
    );
}

#[test]
fn the_root_is_found_upwards() {
    let root = tree(&["plugins/a/deep"], &[]);
    assert_eq!(find_root(&root.path().join("plugins/a")), None);
    fs::write(root.path().join(workspace::FILE), "members: []\n").unwrap();
    assert_eq!(
        find_root(&root.path().join("plugins/a/deep")).as_deref(),
        Some(root.path())
    );
    assert_eq!(find_root(root.path()).as_deref(), Some(root.path()));
}

#[test]
fn a_pattern_without_a_match_is_pointed_at() {
    let root = tree(&["plugins/a"], &[]);
    let bytes = b"members:\n  - plugins/*\n  - plugin/*\n  - '!plugins/old'\nextra: [1]\n";
    let parsed = workspace::parse(bytes, workspace::FILE, root.path());
    assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
    let workspace = parsed.workspace.unwrap();
    assert_eq!(workspace.json["extra"][0], 1);
    let expansion = expand(&workspace.root, &workspace.members).unwrap();
    let warnings: Vec<String> = workspace
        .unmatched(&expansion, bytes, workspace::FILE)
        .iter()
        .map(|d| format!("{} {}", d.location(), d.message))
        .collect();
    assert_eq!(
        warnings,
        [
            "synapse-workspace.yaml:3:5 the member pattern `plugin/*` matches no plugin",
            "synapse-workspace.yaml:4:5 the member pattern `!plugins/old` excludes nothing",
        ]
    );
}
