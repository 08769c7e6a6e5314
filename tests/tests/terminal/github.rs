//! GitHub Actions: groups, annotations on lines of files, and the summary of the job.

use std::fs;

use synapse_tests::Space;

use crate::{PROGRAM, settled};

/// A job in a checkout, whose workspace lies in a folder of it.
fn job(count: usize) -> Space {
    let mut space = Space::tiny(PROGRAM, count);
    let root = space.cwd().display().to_string();
    let summary = space.root().join("summary.md").display().to_string();
    space.set("GITHUB_ACTIONS", "true");
    space.set("GITHUB_WORKSPACE", &root);
    space.set("GITHUB_STEP_SUMMARY", &summary);
    space
}

fn summary(space: &Space) -> String {
    fs::read_to_string(space.root().join("summary.md")).unwrap_or_default()
}

const PUBLISH: [&str; 4] = ["plugin", "publish", "--all", "--local"];

#[test]
fn errors_are_on_the_lines_they_are_about_and_the_summary_has_all() {
    let space = job(3);
    let _bound = settled(&space).bind_to_scope();
    space.replace(
        "plugins/p1/config.yaml",
        "category: custom",
        "category: 50%,|<b>",
    );
    let run = space.synapse(&PUBLISH).expect(4);
    let lines: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("::"))
        .collect();
    insta::assert_snapshot!("annotations", lines.join("\n"));
    insta::assert_snapshot!("summary", summary(&space));
    // A command that fails before it has anything to tell.
    fs::remove_file(space.root().join("summary.md")).unwrap();
    space.synapse(&["plan", "--path", "absent"]).expect(1);
    insta::assert_snapshot!("summary-of-a-failure", summary(&space));
}

#[test]
fn programs_get_none_of_it_and_a_broken_summary_is_a_warning() {
    let mut space = job(1);
    for machine in ["--json", "--events"] {
        let run = space
            .synapse(&[&PUBLISH[..], &[machine]].concat())
            .expect(0);
        assert!(
            !run.stdout.contains("::") && run.stderr.is_empty(),
            "{run:?}"
        );
    }
    assert_eq!(summary(&space), "");
    for broken in ["/dev/full", "/dev/null/x", "."] {
        space.set("GITHUB_STEP_SUMMARY", broken);
        let run = space.synapse(&PUBLISH).expect(0);
        let told = "warning: the summary of the job cannot be written: ";
        assert_eq!(run.stderr.matches(told).count(), 1, "{broken}: {run:?}");
    }
    // Elsewhere nobody understands it.
    space.set("GITHUB_ACTIONS", "");
    let run = space.synapse(&PUBLISH).expect(0);
    assert!(!run.stderr.contains("::"), "{run:?}");
}
