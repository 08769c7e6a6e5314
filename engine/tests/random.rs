//! Random graphs, edits, failing stores and lost blobs: whatever happened before, an incremental
//! run gives what a clean one gives.
#![allow(missing_docs, reason = "tests")]

mod toy;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use proptest::prelude::*;
use synapse_engine::{
    NodeState, Store,
    store::{FaultStore, MemoryStore, SqliteStore},
};
use toy::{Bench, Spec, spec};

#[derive(Debug, Clone)]
enum Step {
    Edit { node: usize, source: u8 },
    Rewire { node: usize, mask: u32 },
    Keep { node: usize, keep: Option<usize> },
    Break { node: usize, fails: bool },
    FailWrite { at: u64, sticky: bool },
    LoseBlob { pick: usize, how: u8 },
    Run,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = 0..8usize;
    let step = prop_oneof![
        (node.clone(), 0..4u8).prop_map(|(node, source)| Step::Edit { node, source }),
        (node.clone(), any::<u32>()).prop_map(|(node, mask)| Step::Rewire { node, mask }),
        (node.clone(), prop::option::of(0..3usize))
            .prop_map(|(node, keep)| Step::Keep { node, keep }),
        (node, any::<bool>()).prop_map(|(node, fails)| Step::Break { node, fails }),
        (1..30u64, any::<bool>()).prop_map(|(at, sticky)| Step::FailWrite { at, sticky }),
        (any::<usize>(), 0..3u8).prop_map(|(pick, how)| Step::LoseBlob { pick, how }),
        Just(Step::Run),
        Just(Step::Run),
    ];
    prop::collection::vec(step, 1..24)
}

fn outputs(bench: &Bench, specs: &[Spec]) -> BTreeMap<String, (NodeState, Option<String>)> {
    let reports = bench.run(specs);
    let shown = |report: &synapse_engine::NodeReport| {
        if let Some(failure) = report
            .failure
            .as_ref()
            .filter(|failure| failure.code != "toy")
        {
            return (report.state, Some(failure.to_string()));
        }
        let done = report
            .outcome
            .as_ref()
            .filter(|_| report.state == NodeState::Done);
        (
            report.state,
            done.and_then(|outcome| outcome.blob_of("out"))
                .map(|(digest, _)| digest.hex()),
        )
    };
    reports
        .iter()
        .map(|(name, report)| (name.clone(), shown(report)))
        .collect()
}

fn lose_blob(root: &Path, pick: usize, how: u8) {
    let Ok(shards) = fs::read_dir(root.join("blobs")).map(Iterator::flatten) else {
        return;
    };
    let mut blobs: Vec<_> = shards
        .flat_map(|shard| fs::read_dir(shard.path()).unwrap().flatten())
        .map(|b| b.path())
        .collect();
    blobs.sort();
    let Some(blob) = blobs.get(pick % blobs.len().max(1)) else {
        return;
    };
    let bytes = fs::read(blob).unwrap();
    fs::remove_file(blob).unwrap();
    match how {
        0 => {}
        1 => fs::write(blob, &bytes[..bytes.len() / 2]).unwrap(),
        _ => fs::write(blob, bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn incremental_equals_clean(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let open = || SqliteStore::open(&root, None).unwrap();
        let mut specs: Vec<Spec> = (0..8).map(|n| spec(&format!("n{n}"), "0", &[])).collect();
        for step in steps {
            match step {
                Step::Edit { node, source } => specs[node].source = source.to_string(),
                Step::Rewire { node, mask } => {
                    specs[node].dependencies =
                        (0..node).filter(|on| mask & (1 << on) != 0).map(|on| format!("n{on}")).collect();
                }
                Step::Keep { node, keep } => specs[node].keep = keep,
                Step::Break { node, fails } => specs[node].fails = fails,
                Step::FailWrite { at, sticky } => {
                    // Whatever fails, it is reported, nothing panics, and the next run mends it.
                    let bench = Bench::new(Arc::new(FaultStore::new(open(), at, sticky)));
                    let _ = bench.try_run(&specs);
                }
                Step::LoseBlob { pick, how } => lose_blob(&root, pick, how),
                Step::Run => {
                    let store: Arc<dyn Store> = Arc::new(open());
                    let incremental = outputs(&Bench::new(store), &specs);
                    let clean = outputs(&Bench::new(Arc::new(MemoryStore::new().unwrap())), &specs);
                    for (name, (state, out)) in &clean {
                        // A blob damaged in the store is noticed when somebody reads it, so a
                        // result's name is compared, which never changes.
                        prop_assert_eq!(&incremental[name], &(*state, out.clone()), "{}", name);
                    }
                }
            }
        }
        let bench = Bench::new(Arc::new(open()));
        bench.run(&specs);
        let failing = specs.iter().any(|spec| spec.fails);
        // Results that shared a damaged blob with the one that was mended are made again once.
        bench.run(&specs);
        bench.taken();
        bench.run(&specs);
        prop_assert!(failing || bench.taken().is_empty(), "everything is found");
    }
}
