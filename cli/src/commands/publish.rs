//! `synapse plugin publish`.

use std::{sync::Arc, time::Instant};

use synapse_engine::{Failure, FailureKind};
use synapse_rules::{
    publish::{Gate, Options, PluginReport, Publish, Status},
    target::{NOT_TRIED, Target},
    version::Level,
};

use super::{
    blob_path,
    consent::{Consent, DECLINED},
    interrupted, looking, notes,
    plan::names,
    warnings,
};
use crate::{
    app::{self, App},
    args,
    render::{
        self, Printer,
        document::{self, Document, Totals},
        error, github,
        progress::Live,
        summary,
    },
    select::{self, Otherwise, Selected},
    stores,
};

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Publish) -> Result<u8, Failure> {
    let start = Instant::now();
    let (selected, targets) = std::thread::scope(|scope| {
        // The store and the targets open while the index loads.
        let targets = scope.spawn(|| {
            let targets = app.targets(&args.to)?;
            app.store()?;
            for target in &targets {
                target.prefetch();
            }
            Ok(targets)
        });
        let selected = select::select(app, &args.selection, Otherwise::Refuse);
        let targets = targets
            .join()
            .unwrap_or_else(|_| Err(Failure::bug("opening the targets panicked")));
        (selected, targets)
    });
    let selected = selected?;
    let targets = match targets {
        // A preview needs no login.
        Err(failure) if args.dry_run && failure.code == "not-authenticated" => Vec::new(),
        targets => targets?,
    };
    app.invocation
        .record(app, &args.recording, &selected.sources)?;
    let (code, reports) = attempt(app, args, start, &selected, &targets)?;
    // Thousands of small frees that the end of the process does at once.
    std::mem::forget(reports);
    Ok(code)
}

/// Publishes what was selected, and tells of it; returns the exit code and what became of each
/// plugin: of none where whoever was asked did not want it.
pub(super) fn attempt(
    app: &App,
    args: &args::Publish,
    start: Instant,
    selected: &Selected,
    targets: &[Arc<Target>],
) -> Result<(u8, Vec<PluginReport>), Failure> {
    let options = Options {
        debug: args.debug,
        bump: args.bump.map(|level| match level {
            args::Bump::Patch => Level::Patch,
            args::Bump::Minor => Level::Minor,
            args::Bump::Major => Level::Major,
        }),
        allow_secrets: args.allow_secret.clone(),
        dry_run: args.dry_run,
        inspect: args.dry_run,
    };
    let names = names(targets);
    let group = (!args.dry_run)
        .then(|| github::group(&format!("Publishing to {}", names.join(" and "))))
        .flatten();
    let live = Arc::new(Live::new(&app.output));
    live.begin(&looking(selected));
    live.targets(targets.iter().map(AsRef::as_ref));
    let session = app.session(
        &selected.root,
        app.invocation.hearing(Arc::<Live>::clone(&live)),
        args.jobs,
        args.fail_fast,
    )?;
    // Two that raise versions at once would each raise the other's.
    let _one_at_a_time = match args.bump {
        Some(_) => Some(app::bump_lock(&app.home, &selected.root)?),
        None => None,
    };
    let storing = stores::publishing(app, args, selected, &session)?;
    let consent = Consent::publishing(app, args.yes || args.dry_run, targets, storing.as_ref());
    let libraries = stores::libraries(app, &selected.root, &session)?;
    let publish = Publish {
        options: &options,
        targets: targets.to_vec(),
        storing: storing.as_ref(),
        gate: consent.as_ref().map(|own| own as &dyn Gate),
        libraries: libraries.as_ref(),
        session: &session,
        workspace: &selected.workspace,
        schemas: app.schemas(&session),
        counters: Arc::clone(&app.counters),
        now: app::nanoseconds,
    };
    let reports = publish.run(&selected.sources);
    live.finish();
    drop(group);
    let reports = match reports {
        Err(failure) if failure.code == DECLINED => {
            Printer::stderr(&app.output).line(failure.message);
            return Ok((1, Vec::new()));
        }
        reports => reports?,
    };
    warnings(app, selected, &reports);
    notes(app, &reports);
    let elapsed = start.elapsed().as_millis() as u64;
    let code = exit_code(app, &reports);
    let totals = Totals::of(&reports, &app.counters);
    app.invocation
        .published(app, &selected.root, &names, &reports, &totals);
    if app.output.json || app.output.events {
        let blob = |digest: &synapse_engine::Digest| blob_path(&app.home.store, digest);
        let document = Document {
            schema: 1,
            command: "publish",
            ok: code == 0,
            elapsed_ms: elapsed,
            totals,
            plugins: reports
                .iter()
                .map(|report| document::plugin(report, &names, &blob))
                .collect(),
            errors: document::errors(&reports),
        };
        if app.output.json {
            Printer::stdout(&app.output).json(&document);
        } else {
            live.value(&serde_json::json!({"event": "summary", "document": document}));
        }
        return Ok((code, reports));
    }
    let mut printer = Printer::stdout(&app.output);
    if !app.output.quiet {
        if args.dry_run {
            render::publish::preview(
                &mut printer,
                &reports,
                args.sort,
                &names,
                app.output.verbose,
            );
        } else {
            let verbose = app.output.verbose;
            // A watch has told why.
            let told = app.watched && !verbose;
            render::publish::plugins(&mut printer, &reports, targets.len(), verbose, told);
            let wheels = storing.is_some_and(|storing| storing.wheels.is_some());
            render::upload::objects(&mut printer, &reports, wheels && verbose);
        }
    }
    drop(printer);
    let mut printer = Printer::stderr(&app.output);
    for failure in reports.iter().flat_map(document::failures) {
        if failure.kind != FailureKind::Cancelled {
            error::print(&mut printer, failure);
        }
    }
    if !app.output.quiet && !args.dry_run {
        let mut printer = Printer::stdout(&app.output);
        render::publish::summary(&mut printer, &totals, &names.join(" and "), elapsed);
    }
    if code != 130 {
        summary::publish(app, &names.join(" and "), &reports, &totals, elapsed);
    } else if !app.output.quiet && !app.watched {
        interrupted(&mut printer, &reports);
    }
    Ok((code, reports))
}

/// 0 when every plugin is published, 4 when some are, else the first failure's own code.
pub(super) fn exit_code(app: &App, reports: &[PluginReport]) -> u8 {
    if app.cancel.cancelled()
        && reports
            .iter()
            .any(|report| report.status == Status::Cancelled)
    {
        return 130;
    }
    // A release can be there although its record could not be kept: that is told as well.
    let good = |report: &&PluginReport| {
        let there = matches!(
            report.status,
            Status::Published | Status::UpToDate | Status::Planned
        );
        there && report.failure.is_none()
    };
    let fine = reports.iter().filter(good).count();
    if fine == reports.len() {
        return 0;
    }
    if reports.iter().any(|r| {
        r.failure
            .as_ref()
            .is_some_and(|f| f.kind == FailureKind::Bug)
    }) {
        return 255;
    }
    if fine > 0 {
        return 4;
    }
    // What was done at one target and not at another is done in part as well.
    let done = |report: &PluginReport| {
        let mut ends = report.stages.iter().filter(|stage| stage.target.is_some());
        ends.any(|stage| matches!(stage.status(), Status::Published | Status::UpToDate))
    };
    if reports.iter().any(done) {
        return 4;
    }
    let first = reports.iter().find_map(|report| {
        let tried = |failure: &&Failure| failure.code != NOT_TRIED;
        report.failure.as_ref().filter(tried)
    });
    first.map_or(1, |failure| error::exit_code(failure.kind))
}
