//! Owns [`Gate`]: who is asked between a plan and its work, and the check that what is done is
//! what was agreed to.

use std::collections::HashMap;

use synapse_engine::{Digest, Failure, FailureKind, Plan, TreeEntry};

use super::{
    Nodes, Publish,
    report::{PluginReport, Status, planned},
};
use crate::{
    bump::Bump,
    plugin::{CONFIG_NAMES, Plugin, Trust},
};

/// Failure code: it is no longer what was agreed to.
pub const CHANGED: &str = "changed-since-asked";

/// Who is asked before anything is sent and before any version is raised.
pub trait Gate: Send + Sync {
    /// Lets what is planned pass: true when it was agreed to, false when nothing of it needs
    /// that. An error is the end of the publish.
    fn pass(&self, planned: &[PluginReport]) -> Result<bool, Failure>;
}

/// What was agreed to, by the place of the report; nothing as long as nobody was asked.
#[derive(Default)]
pub(super) struct Agreed(Option<HashMap<usize, Content>>);

/// What may be sent of a plugin.
struct Content {
    version: String,
    digest: Digest,
    /// Where the version is raised: the files that this leaves alone.
    others: Option<Vec<TreeEntry>>,
}

impl Content {
    fn of(plugin: &Plugin, bump: Option<&Bump>) -> Self {
        Self {
            version: bump.map_or_else(|| plugin.head.version.clone(), |bump| bump.new.to_string()),
            digest: plugin.files.digest(),
            others: bump.map(|_| others(plugin)),
        }
    }

    fn is(&self, plugin: &Plugin) -> bool {
        let same = match &self.others {
            None => self.digest == plugin.files.digest(),
            Some(files) => *files == others(plugin),
        };
        same && self.version == plugin.head.version
    }
}

/// The files that hold no version.
fn others(plugin: &Plugin) -> Vec<TreeEntry> {
    let mut files = plugin.files.load();
    files.retain(|file| file.path != "pyproject.toml" && !CONFIG_NAMES.contains(&&*file.path));
    files
}

fn changed(plugin: &Plugin) -> Failure {
    let what = format!(
        "{} changed after the question, and was not sent",
        plugin.subject()
    );
    Failure::user(CHANGED, what)
        .at(plugin.source.folder().display().to_string())
        .hint("run it again to be asked about what is there now")
}

impl Publish<'_> {
    /// Asks whether what is planned may be done, the first time that there is something to ask
    /// about. After that, what differs from what was agreed to is refused and left out.
    pub(super) fn pass(
        &self,
        agreed: &mut Agreed,
        plan: &mut Plan,
        nodes: &[Nodes],
        bumps: &mut HashMap<usize, Bump>,
        reports: &mut [PluginReport],
    ) -> Result<(), Failure> {
        let Some(gate) = self.gate else {
            return Ok(());
        };
        if let Some(agreed) = &agreed.0 {
            for own in nodes {
                let fits =
                    |content: &Content| !bumps.contains_key(&own.at) && content.is(&own.plugin);
                if sends(plan, own) && !agreed.get(&own.at).is_some_and(fits) {
                    refuse(changed(&own.plugin), plan, own, bumps, reports);
                }
            }
            return Ok(());
        }
        let mut view = reports.to_vec();
        for own in nodes {
            let report = &mut view[own.at];
            report.bump = bumps.get(&own.at).cloned();
            planned(plan, own, report);
        }
        if !gate.pass(&view)? {
            return Ok(());
        }
        let content = |own: &Nodes| (own.at, Content::of(&own.plugin, bumps.get(&own.at)));
        agreed.0 = Some(nodes.iter().map(content).collect());
        // An archive notices by itself that a file changed; a version is written before that.
        for own in nodes {
            if bumps.contains_key(&own.at)
                && let Err(failure) = self.is_unchanged(&own.plugin)
            {
                refuse(failure, plan, own, bumps, reports);
            }
        }
        Ok(())
    }

    fn is_unchanged(&self, plugin: &Plugin) -> Result<(), Failure> {
        let sources = std::slice::from_ref(&plugin.source);
        match self.load(sources, Trust::Nothing).pop() {
            Some(Ok(now)) if now.unsynced().files.digest() == plugin.unsynced().files.digest() => {
                Ok(())
            }
            Some(Err(failure)) if failure.kind != FailureKind::User => Err(failure),
            _ => Err(changed(plugin)),
        }
    }
}

/// Whether something of a plugin is still to be done at its ends.
fn sends(plan: &Plan, own: &Nodes) -> bool {
    own.ends.iter().any(|(_, _, id)| {
        let planned = plan.get(*id);
        planned.needed && !planned.decision.is_known() && planned.failure.is_none()
    })
}

fn refuse(
    failure: Failure,
    plan: &mut Plan,
    own: &Nodes,
    bumps: &mut HashMap<usize, Bump>,
    reports: &mut [PluginReport],
) {
    own.all().for_each(|(_, _, id)| plan.leave_out(id));
    bumps.remove(&own.at);
    let report = &mut reports[own.at];
    // What it failed for before is no longer of interest.
    report.stages.clear();
    report.status = Status::Failed;
    report.failure = Some(failure);
}
