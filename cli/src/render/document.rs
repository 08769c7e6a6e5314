//! Owns the JSON document of a publish, as docs/schema/publish.schema.json describes it.

use std::sync::atomic::Ordering;

use serde::Serialize;
use synapse_engine::{Decision, DirtyReason, Failure};
use synapse_rules::{
    counters::Counters,
    plugin::Plugin,
    publish::{PluginReport, Stage, Status},
    target::NOT_TRIED,
};

use super::{
    error::{ErrorObject, flatten},
    upload::{self, StoredObject, WheelObject},
};

/// The whole document.
#[derive(Debug, Serialize)]
pub struct Document {
    /// Raised by changes that could break a reader.
    pub schema: u32,
    /// Which command.
    pub command: &'static str,
    /// The exit code is 0.
    pub ok: bool,
    /// From start to end.
    pub elapsed_ms: u64,
    /// Sums.
    pub totals: Totals,
    /// One entry a plugin.
    pub plugins: Vec<PluginObject>,
    /// Root causes.
    pub errors: Vec<ErrorObject>,
}

/// Sums over all plugins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Plugins asked for.
    pub plugins: u64,
    /// Releases made.
    pub published: u64,
    /// Releases found.
    pub up_to_date: u64,
    /// Everything else that should have been published.
    pub failed: u64,
    /// Stages that ran.
    pub nodes_run: u64,
    /// Stages whose result was found.
    pub nodes_hit: u64,
    /// Calls across the network.
    pub requests: u64,
    /// Bytes of archives sent.
    pub bytes_sent: u64,
    /// Files hashed to find changes.
    pub files_hashed: u64,
    /// Files deflated anew.
    pub files_deflated: u64,
}

/// One plugin.
#[derive(Debug, Serialize)]
pub struct PluginObject {
    code: String,
    version: String,
    variant: Option<String>,
    status: &'static str,
    targets: Vec<TargetObject>,
    config: Option<ConfigObject>,
    checksum: Option<ChecksumObject>,
    archive: Option<ArchiveObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wheel: Option<WheelObject>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    objects: Vec<StoredObject>,
    stages: Vec<StageObject>,
}

#[derive(Debug, Serialize)]
struct TargetObject {
    name: String,
    status: &'static str,
    release: Option<ReleaseObject>,
    error: Option<ErrorObject>,
}

#[derive(Debug, Serialize)]
struct ReleaseObject {
    id: String,
    url: String,
}

#[derive(Debug, Serialize)]
struct ConfigObject {
    updated: bool,
    notes: Vec<String>,
    warnings: Vec<WarningObject>,
}

#[derive(Debug, Serialize)]
struct WarningObject {
    message: String,
    #[serde(rename = "where")]
    place: String,
    hint: Option<String>,
}

#[derive(Debug, Serialize)]
struct ChecksumObject {
    md5: String,
    sha256: String,
    blake3: String,
    content: String,
}

#[derive(Debug, Serialize)]
struct ArchiveObject {
    path: Option<String>,
    size: Option<u64>,
    files: Vec<FileObject>,
}

#[derive(Debug, Serialize)]
struct FileObject {
    path: String,
    size: u64,
}

#[derive(Debug, Serialize)]
struct StageObject {
    stage: &'static str,
    target: Option<String>,
    decision: &'static str,
    key: Option<String>,
    reasons: Vec<String>,
    ms: u64,
}

/// A status as programs read it.
pub fn status_name(status: Status) -> &'static str {
    match status {
        Status::Published => "published",
        Status::UpToDate => "up_to_date",
        Status::Planned => "planned",
        Status::Refused => "refused",
        Status::Failed => "failed",
        Status::Skipped => "skipped",
        Status::Cancelled => "cancelled",
    }
}

impl Totals {
    /// The sums over some reports.
    pub fn of(reports: &[PluginReport], counters: &Counters) -> Self {
        let plugins =
            |wanted: fn(Status) -> bool| reports.iter().filter(|r| wanted(r.status)).count() as u64;
        let stages = || reports.iter().flat_map(|report| &report.stages);
        let done = |stage: &&Stage| stage.report.state == synapse_engine::NodeState::Done;
        let ran = |stage: &&Stage| {
            matches!(stage.report.decision, Decision::Run(_)) && !stage.report.shared
        };
        Self {
            plugins: reports.len() as u64,
            published: plugins(|status| status == Status::Published),
            up_to_date: plugins(|status| status == Status::UpToDate),
            failed: plugins(|status| {
                !matches!(
                    status,
                    Status::Published | Status::UpToDate | Status::Planned
                )
            }),
            nodes_run: stages().filter(|stage| done(stage) && ran(stage)).count() as u64,
            nodes_hit: stages().filter(|stage| done(stage) && !ran(stage)).count() as u64,
            requests: counters.requests.load(Ordering::Relaxed),
            bytes_sent: counters.bytes_sent.load(Ordering::Relaxed),
            files_hashed: counters.files_hashed.load(Ordering::Relaxed),
            files_deflated: counters.files_deflated.load(Ordering::Relaxed),
        }
    }
}

/// The entry of one plugin. `blob` finds a blob's path.
pub fn plugin(
    report: &PluginReport,
    targets: &[&str],
    blob: &dyn Fn(&synapse_engine::Digest) -> Option<String>,
) -> PluginObject {
    let head = report.plugin.as_ref().map(|plugin| &plugin.head);
    let text = |stage: &str, name: &str| {
        report
            .outcome(stage)
            .and_then(|outcome| outcome.text(name))
            .map(str::to_owned)
    };
    let sum = |name: &str| text("checksum", name).or_else(|| text("upload", name));
    let content = report
        .plugin
        .as_ref()
        .map(|plugin| plugin.files.digest().hex());
    let checksum = match (sum("md5"), sum("sha256"), sum("blake3"), content) {
        (Some(md5), Some(sha256), Some(blake3), Some(content)) => Some(ChecksumObject {
            md5,
            sha256,
            blake3,
            content,
        }),
        _ => None,
    };
    let zip = report
        .outcome("archive")
        .and_then(|outcome| outcome.blob_of("zip"));
    let archive = report.plugin.as_ref().map(|plugin| ArchiveObject {
        path: zip.and_then(|(digest, _)| blob(&digest)),
        size: zip.map(|(_, size)| size),
        files: plugin
            .files
            .load()
            .into_iter()
            .map(|f| FileObject {
                path: f.path,
                size: f.size,
            })
            .collect(),
    });
    let status = status_name(report.status);
    let targets = targets.iter().map(|name| target(report, name)).collect();
    let version = report.bump.as_ref().map(|bump| bump.new.to_string());
    PluginObject {
        code: head.map_or_else(|| folder_name(report), |head| head.code.clone()),
        version: version
            .or_else(|| head.map(|head| head.version.clone()))
            .unwrap_or_default(),
        variant: head.and_then(|head| head.variant.clone()),
        status,
        targets,
        config: report.plugin.as_deref().map(config),
        checksum,
        archive,
        wheel: upload::wheel(report, blob),
        objects: upload::objects_of(report),
        stages: report.stages.iter().map(stage).collect(),
    }
}

/// How a plugin came out at one target.
fn target(report: &PluginReport, name: &str) -> TargetObject {
    let stage = report.at(name);
    let outcome = stage.and_then(|stage| stage.report.outcome.as_deref());
    let text = |name: &str| outcome.and_then(|outcome| outcome.text(name));
    let release = text("release").zip(text("url"));
    let failure = stage.and_then(|stage| stage.report.failure.as_ref());
    // What went wrong before any target was come to went wrong for all of them.
    let failure = failure.or_else(|| report.failure.as_ref().filter(|_| before_targets(report)));
    let planned = matches!(report.status, Status::Planned | Status::UpToDate);
    let status = match stage {
        Some(stage) if failure.is_some() || !planned => stage.status(),
        Some(stage) if stage.report.decision.is_known() => Status::UpToDate,
        _ => report.status,
    };
    TargetObject {
        name: name.to_owned(),
        status: status_name(status),
        release: release.map(|(id, url)| ReleaseObject {
            id: id.to_owned(),
            url: url.to_owned(),
        }),
        error: failure.map(ErrorObject::from),
    }
}

fn before_targets(report: &PluginReport) -> bool {
    let mut stages = report.stages.iter();
    !stages.any(|stage| stage.target.is_some() && stage.report.failure.is_some())
}

/// What became of a plugin's configuration, and doubts about it.
fn config(plugin: &Plugin) -> ConfigObject {
    let notes = plugin.head.synced.iter().flat_map(|memo| &memo.notes);
    let warnings = plugin.head.warnings.iter().map(|own| WarningObject {
        message: own.message.clone(),
        place: own.place.clone(),
        hint: own.hint.clone(),
    });
    ConfigObject {
        updated: plugin.synced_config().is_some(),
        notes: notes.map(ToString::to_string).collect(),
        warnings: warnings.collect(),
    }
}

/// The name of a plugin that could not be loaded: its folder's.
pub fn folder_name(report: &PluginReport) -> String {
    let folder = report.source.folder();
    folder.file_name().map_or_else(
        || "?".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn stage(stage: &Stage) -> StageObject {
    let report = &stage.report;
    let waits = [DirtyReason::Upstream {
        stage: "the stage before it".to_owned(),
    }];
    let (decision, reasons): (_, &[DirtyReason]) = match &report.decision {
        _ if report.shared => ("hit", &[]),
        Decision::Hit => ("hit", &[]),
        Decision::Restore => ("restore", &[]),
        Decision::Run(reasons) => ("run", reasons),
        Decision::Unknown => ("run", &waits),
    };
    StageObject {
        stage: stage.stage,
        target: stage.target.clone(),
        decision,
        key: report.key.map(|key| key.0.hex()),
        reasons: reasons.iter().map(ToString::to_string).collect(),
        ms: report.ms,
    }
}

/// The root causes of how a plugin came out: at every target its own, without those that were not
/// tried for a reason that another plugin tells.
pub fn failures(report: &PluginReport) -> Vec<&Failure> {
    let stages = report.stages.iter();
    let mut found: Vec<&Failure> = stages
        .filter_map(|stage| stage.report.failure.as_ref())
        .collect();
    if found.is_empty() || report.status == Status::Planned {
        found = report.failure.iter().collect();
    }
    found.retain(|failure| failure.code != NOT_TRIED);
    found
}

/// All failures of all plugins, root causes only.
pub fn errors(reports: &[PluginReport]) -> Vec<ErrorObject> {
    let failures = reports.iter().flat_map(failures);
    failures.flat_map(flatten).map(ErrorObject::from).collect()
}

/// The document of a publish or upload that failed before it came to any plugin.
pub fn failed(command: &'static str, failure: &Failure, elapsed_ms: u64) -> Document {
    Document {
        schema: 1,
        command,
        ok: false,
        elapsed_ms,
        totals: Totals::default(),
        plugins: Vec::new(),
        errors: super::failed::errors(failure),
    }
}
