//! The scheduler on toy nodes: what runs, what does not, and why.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "tests")]

mod toy;

use std::{
    fs,
    sync::{Arc, atomic::Ordering},
};

use synapse_engine::{
    Decision, Event, NodeState, Store,
    reason::summary,
    store::{MemoryStore, SqliteStore},
};
use toy::{Bench, Spec, spec};

fn memory() -> Bench {
    Bench::new(Arc::new(MemoryStore::new().unwrap()))
}

fn chain() -> Vec<Spec> {
    vec![
        spec("a", "1", &[]),
        spec("b", "2", &["a"]),
        spec("c", "3", &["b"]),
        spec("d", "4", &[]),
    ]
}

fn why(decision: &Decision) -> String {
    match decision {
        Decision::Run(reasons) => summary(reasons),
        other => format!("{other:?}"),
    }
}

#[test]
fn runs_once_then_never() {
    let bench = memory();
    let reports = bench.run(&chain());
    assert_eq!(bench.taken(), ["a", "b", "c", "d"]);
    assert_eq!(why(&reports["a"].decision), "it has not run before");
    let reports = bench.run(&chain());
    assert!(bench.taken().is_empty());
    assert!(
        reports
            .values()
            .all(|r| r.state == NodeState::Done && r.decision == Decision::Hit)
    );
}

#[test]
fn an_edit_runs_what_depends_on_it_and_says_why() {
    let bench = memory();
    bench.run(&chain());
    bench.taken();
    let mut specs = chain();
    specs[1].source = "9".into();
    let reports = bench.run(&specs);
    assert_eq!(bench.taken(), ["b", "c"]);
    assert_eq!(why(&reports["b"].decision), "source changed from 2 to 9");
    assert!(why(&reports["c"].decision).starts_with("input 0 changed from "));
    // And back: everything is known.
    bench.run(&chain());
    assert!(bench.taken().is_empty());
}

#[test]
fn equal_output_stops_the_chain() {
    let bench = memory();
    let mut specs = chain();
    specs[0].keep = Some(0);
    bench.run(&specs);
    bench.taken();
    specs[0].source = "another".into();
    let reports = bench.run(&specs);
    assert_eq!(bench.taken(), ["a"]);
    assert_eq!(reports["b"].state, NodeState::Done);
}

#[test]
fn a_raised_rule_runs_and_is_named() {
    let bench = memory();
    bench.run(&chain());
    bench.taken();
    let mut specs = chain();
    specs[3].version = 2;
    let reports = bench.run(&specs);
    assert_eq!(bench.taken(), ["d"]);
    assert_eq!(
        why(&reports["d"].decision),
        "the rule changed from version 1 to 2"
    );
}

#[test]
fn a_failure_stops_only_what_depends_on_it_and_is_not_stored() {
    let bench = memory();
    let mut specs = chain();
    specs[1].fails = true;
    let reports = bench.run(&specs);
    let states = |name: &str| reports[name].state;
    assert_eq!(
        [states("a"), states("b"), states("c"), states("d")],
        [
            NodeState::Done,
            NodeState::Failed,
            NodeState::Skipped,
            NodeState::Done
        ]
    );
    assert_eq!(reports["b"].failure.as_ref().unwrap().message, "b fails");
    bench.taken();
    bench.run(&specs);
    assert_eq!(bench.taken(), ["b"], "a failure is tried again");
    specs[1].fails = false;
    bench.run(&specs);
    assert_eq!(bench.taken(), ["b", "c"]);
}

#[test]
fn fail_fast_starts_nothing_more() {
    let mut bench = memory();
    bench.fail_fast = true;
    bench.jobs = 1;
    let mut specs: Vec<Spec> = (0..50)
        .map(|n| spec(&format!("n{n:02}"), "x", &[]))
        .collect();
    for (n, spec) in specs.iter_mut().enumerate() {
        spec.source = n.to_string();
    }
    specs[0].fails = true;
    let reports = bench.run(&specs);
    assert!(bench.taken().len() <= 2, "one at work when the first fails");
    assert!(
        reports
            .values()
            .filter(|r| r.state == NodeState::Cancelled)
            .count()
            >= 48
    );
}

#[test]
fn a_panic_is_our_failure_and_hurts_nobody_else() {
    let bench = memory();
    let mut specs = chain();
    specs[0].panics = true;
    let reports = bench.run(&specs);
    assert_eq!(reports["a"].failure.as_ref().unwrap().code, "internal");
    assert_eq!(reports["d"].state, NodeState::Done);
}

#[test]
fn cancelled_before_it_starts_runs_nothing() {
    let bench = memory();
    let (graph, _) = bench.graph(&chain());
    let plan = synapse_engine::plan(&graph, &bench.session()).unwrap();
    bench.cancel.cancel();
    let report = synapse_engine::run(&graph, &plan, &bench.session());
    assert_eq!(report.ran(), 0);
    assert!(bench.taken().is_empty());
}

#[test]
fn nodes_of_equal_inputs_are_one() {
    let bench = memory();
    let specs: Vec<Spec> = (0..20)
        .map(|n| spec(&format!("n{n}"), "same", &[]))
        .collect();
    let reports = bench.run(&specs);
    assert_eq!(bench.taken().len(), 1);
    assert!(
        reports
            .values()
            .all(|report| report.state == NodeState::Done)
    );
    assert_eq!(reports.values().filter(|report| report.shared).count(), 19);
}

#[test]
fn a_lost_or_damaged_blob_runs_its_producer_again() {
    for damage in ["delete", "cut", "flip"] {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path(), None).unwrap());
        let bench = Bench::new(store);
        let mut specs = chain();
        let reports = bench.run(&specs);
        bench.taken();
        let (blob, _) = reports["a"]
            .outcome
            .as_ref()
            .unwrap()
            .blob_of("out")
            .unwrap();
        let hex = blob.hex();
        let path = folder.path().join("blobs").join(&hex[..2]).join(&hex);
        fs::remove_file(&path).unwrap();
        match damage {
            "cut" => fs::write(&path, "").unwrap(),
            "flip" => fs::write(&path, "!").unwrap(),
            _ => {}
        }
        // Nobody reads it: nothing to do.
        bench.run(&specs);
        assert!(bench.taken().is_empty(), "{damage}");
        specs[1].source = "9".into();
        let reports = bench.run(&specs);
        let taken = bench.taken();
        assert_eq!(
            taken.iter().filter(|name| *name == "a").count(),
            1,
            "{damage}: {taken:?}"
        );
        assert_eq!(reports["c"].state, NodeState::Done, "{damage}");
        let quarantined =
            fs::read_dir(folder.path().join("quarantine")).is_ok_and(|mut d| d.next().is_some());
        assert_eq!(quarantined, damage != "delete", "{damage}");
    }
}

#[test]
fn two_that_lose_the_same_blob_at_once_wait_for_the_same_producer() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path(), None).unwrap());
    let bench = Bench::new(store);
    let mut specs = vec![
        spec("a", "1", &[]),
        spec("b", "2", &["a"]),
        spec("c", "3", &["a"]),
    ];
    let reports = bench.run(&specs);
    let outcome = reports["a"].outcome.as_ref().unwrap();
    let hex = outcome.blob_of("out").unwrap().0.hex();
    let path = folder.path().join("blobs").join(&hex[..2]).join(&hex);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "!").unwrap();
    bench.taken();
    // Both read it before it is made again, which takes a while.
    specs[0].slow = true;
    specs[1].source = "8".into();
    specs[2].source = "9".into();
    let reports = bench.run(&specs);
    for name in ["a", "b", "c"] {
        assert_eq!(
            reports[name].state,
            NodeState::Done,
            "{name}: {:?}",
            reports[name].failure
        );
    }
    let taken = bench.taken();
    assert_eq!(
        taken.iter().filter(|name| *name == "a").count(),
        1,
        "{taken:?}"
    );
}

#[test]
fn receipts_are_checked_and_found_effects_are_kept() {
    let bench = memory();
    let mut specs = chain();
    specs[2].receipt = true;
    bench.run(&specs);
    bench.taken();
    bench.run(&specs);
    assert!(bench.taken().is_empty());
    bench.world.gone.lock().unwrap().push("c".into());
    let reports = bench.run(&specs);
    assert_eq!(bench.taken(), ["c"], "only the effect runs again");
    assert_eq!(why(&reports["c"].decision), "c is no longer there");
}

#[test]
fn what_the_target_has_needs_nothing_before_it() {
    let bench = memory();
    bench.world.found.lock().unwrap().push("c".into());
    let specs = vec![spec("a", "1", &[]), spec("c", "3", &[])];
    let reports = bench.run(&specs);
    assert_eq!(bench.taken(), ["a"]);
    assert_eq!(reports["c"].decision, Decision::Hit);
    bench.world.found.lock().unwrap().clear();
    bench.run(&specs);
    assert!(bench.taken().is_empty(), "the receipt was stored");
}

#[test]
fn questions_are_asked_before_the_plan_and_several_at_a_time() {
    let bench = memory();
    let effect = |name: &str| Spec {
        asks: true,
        receipt: true,
        ..spec(name, "1", &[])
    };
    let specs: Vec<Spec> = ["a", "b", "c", "d"].map(effect).into();
    bench.run(&specs);
    let mut asked = std::mem::take(&mut *bench.world.asked.lock().unwrap());
    asked.sort();
    assert_eq!(asked, ["a", "b", "c", "d"]);
    // As many as may wait for the network.
    let most = bench.world.most_asking.load(Ordering::SeqCst);
    assert_eq!(most, 2);
    bench.run(&specs);
    assert!(
        bench.world.asked.lock().unwrap().is_empty(),
        "what the store knows need not be asked"
    );
}

#[test]
fn a_refused_effect_runs_nothing_for_it() {
    let bench = memory();
    bench.world.refused.lock().unwrap().push("c".into());
    let reports = bench.run(&[spec("a", "1", &[]), spec("c", "3", &["a"])]);
    // Its key waits for `a`, so `a` is made first; a key known at once is refused at once.
    assert_eq!(reports["c"].state, NodeState::Done);
    let bench = memory();
    bench.world.refused.lock().unwrap().push("c".into());
    let reports = bench.run(&[spec("c", "3", &[]), spec("d", "4", &["c"])]);
    assert!(bench.taken().is_empty());
    assert_eq!(reports["c"].failure.as_ref().unwrap().code, "refused");
    assert_eq!(reports["d"].state, NodeState::Skipped);
}

#[test]
fn absent_files_of_a_hit_are_restored() {
    let bench = memory();
    bench.run(&chain());
    bench.taken();
    bench.world.absent.lock().unwrap().push("d".into());
    let reports = bench.run(&chain());
    assert_eq!(reports["d"].decision, Decision::Restore);
    assert_eq!(
        bench
            .world
            .restores
            .load(std::sync::atomic::Ordering::SeqCst),
        1
    );
    assert!(bench.taken().is_empty());
}

#[test]
fn session_only_results_are_not_stored() {
    let bench = memory();
    let mut specs = chain();
    specs[3].session_only = true;
    bench.run(&specs);
    bench.taken();
    bench.run(&specs);
    assert_eq!(bench.taken(), ["d"]);
}

#[test]
fn a_forgotten_result_says_so() {
    let store = Arc::new(MemoryStore::new().unwrap());
    let bench = Bench::new(Arc::<MemoryStore>::clone(&store));
    let reports = bench.run(&chain());
    store.forget(&reports["d"].key.unwrap());
    let reports = bench.run(&chain());
    assert_eq!(
        why(&reports["d"].decision),
        "its result is no longer in the store"
    );
}

#[test]
fn a_cycle_is_printed_whole() {
    let mut builder = synapse_engine::GraphBuilder::new();
    let bench = memory();
    let ids: Vec<_> = ["a", "b", "c", "d"]
        .iter()
        .map(|name| {
            builder.node(Arc::new(toy::Toy {
                spec: spec(name, "", &[]),
                runs: Arc::clone(&bench.runs),
                world: Arc::clone(&bench.world),
            }))
        })
        .collect();
    for (node, on) in [(0, 1), (1, 2), (2, 0), (3, 0)] {
        builder.depends(ids[node], ids[on]);
    }
    let message = builder.build().err().unwrap().to_string();
    assert!(
        message.starts_with("these depend on each other in a circle: "),
        "{message}"
    );
    assert_eq!(message.matches("toy of").count(), 4, "{message}");
    assert!(!message.contains("of d"), "{message}");
}

#[test]
fn events_tell_the_whole_story() {
    let mut bench = memory();
    bench.jobs = 1;
    let mut specs = chain();
    specs[1].fails = true;
    bench.run(&specs);
    let story: Vec<String> = bench
        .events
        .events()
        .iter()
        .filter_map(|event| match event {
            Event::Planned { hit, run, unknown } => Some(format!("planned {hit} {run} {unknown}")),
            Event::Started { node, .. } => Some(format!("started {}", node.subject)),
            Event::Finished { node, ran, .. } => Some(format!("finished {} {ran}", node.subject)),
            Event::Failed { node, failure } => Some(format!("failed {}: {failure}", node.subject)),
            Event::Skipped { node } => Some(format!("skipped {}", node.subject)),
            _ => None,
        })
        .collect();
    let mut sorted = story.clone();
    sorted.sort();
    insta::assert_debug_snapshot!(sorted);
}
