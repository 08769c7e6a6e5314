//! `synapse plugin upload`.

use std::{sync::Arc, time::Instant};

use synapse_engine::{Failure, FailureKind};
use synapse_rules::{
    publish::{Gate, Options, Publish},
    storage::Storing,
};

use super::{
    blob_path,
    consent::{Consent, DECLINED},
    interrupted, looking, notes,
    publish::exit_code,
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
    select::{self, Otherwise},
    stores::{self, Wanted},
};

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Upload) -> Result<u8, Failure> {
    let start = Instant::now();
    let selected = select::select(app, &args.selection, Otherwise::Refuse)?;
    app.invocation
        .record(app, &args.recording, &selected.sources)?;
    let wanted = Wanted {
        named: &args.storage,
        profile: args.profile.as_deref(),
        allow_http: args.allow_http,
        verify: args.verify,
    };
    let storages = stores::open(app, &wanted, &selected.root)?;
    if storages.is_empty() {
        let hint = "name one with --storage, such as --storage s3://BUCKET/FOLDER";
        return Err(Failure::usage("there is no object store to upload to").hint(hint));
    }
    let group = github::group("Uploading into object stores");
    let live = Arc::new(Live::new(&app.output));
    live.begin(&looking(&selected));
    let session = app.session(
        &selected.root,
        app.invocation.hearing(Arc::<Live>::clone(&live)),
        args.jobs,
        args.fail_fast,
    )?;
    let storing = Storing {
        storages,
        ledger: app.ledger()?,
        wheels: args.wheel.then(|| stores::wheels(app, &session)),
        development: !args.release,
    };
    let options = Options {
        allow_secrets: args.allow_secret.clone(),
        ..Options::default()
    };
    let consent = Consent::uploading(app, args.yes, &storing);
    let libraries = stores::libraries(app, &selected.root, &session)?;
    let publish = Publish {
        options: &options,
        targets: Vec::new(),
        storing: Some(&storing),
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
            return Ok(1);
        }
        reports => reports?,
    };
    warnings(app, &selected, &reports);
    notes(app, &reports);
    let elapsed_ms = start.elapsed().as_millis() as u64;
    let code = exit_code(app, &reports);
    let totals = Totals::of(&reports, &app.counters);
    let names: Vec<String> = storing
        .storages
        .iter()
        .map(|storage| storage.place.shown())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    app.invocation
        .published(app, &selected.root, &names, &reports, &totals);
    if app.output.is_machine() {
        let blob = |digest: &synapse_engine::Digest| blob_path(&app.home.store, digest);
        let document = Document {
            schema: 1,
            command: "upload",
            ok: code == 0,
            elapsed_ms,
            totals,
            plugins: reports
                .iter()
                .map(|report| document::plugin(report, &[], &blob))
                .collect(),
            errors: document::errors(&reports),
        };
        Printer::stdout(&app.output).json(&document);
        return Ok(code);
    }
    let mut printer = Printer::stdout(&app.output);
    if !app.output.quiet {
        render::upload::plugins(&mut printer, &reports, args.wheel && app.output.verbose);
    }
    drop(printer);
    let mut printer = Printer::stderr(&app.output);
    for failure in reports.iter().flat_map(document::failures) {
        if failure.kind != FailureKind::Cancelled {
            error::print(&mut printer, failure);
        }
    }
    if !app.output.quiet {
        let mut printer = Printer::stdout(&app.output);
        render::upload::summary(&mut printer, &reports, elapsed_ms);
    }
    if code != 130 {
        let places = storing.storages.iter().map(|own| own.place.shown());
        let places: Vec<String> = places.collect();
        summary::publish(app, &places.join(" and "), &reports, &totals, elapsed_ms);
    } else if !app.output.quiet {
        interrupted(&mut printer, &reports);
    }
    Ok(code)
}
