//! Owns how a new plugin joins the workspace around it: a pattern takes it already, or its folder
//! is added to the members by an edit that leaves every other byte alone.

use std::path::{Path, PathBuf};

use synapse_engine::Failure;

use crate::{
    config,
    fileset::read_regular,
    plugin,
    sync::yaml_text,
    workspace::{self, Taken},
};

/// A new plugin in its workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The workspace's folder.
    pub root: PathBuf,
    /// The plugin's folder below it, with `/`.
    pub place: String,
    /// How it is a member.
    pub state: State,
}

/// How a new plugin is a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// This pattern takes it.
    Taken(String),
    /// It is to be added.
    Added,
    /// It cannot be one; why.
    Out(String),
}

impl Membership {
    /// That of a plugin at `target`, whose folder is not there yet; none outside of workspaces.
    pub fn of(target: &Path) -> Result<Option<Self>, Failure> {
        let target = real(target);
        let parent = target.parent().unwrap_or(&target);
        let Some(root) = workspace::find_root(parent) else {
            return Ok(None);
        };
        let below = target.strip_prefix(&root).ok().and_then(Path::to_str);
        let Some(place) = below.map(str::to_owned) else {
            return Ok(None);
        };
        let (bytes, model) = read(&root)?;
        let state = match workspace::takes(&model.members, &place) {
            Taken::By(pattern) => State::Taken(pattern),
            Taken::Excluded(pattern) => {
                State::Out(format!("the member pattern {pattern} excludes it"))
            }
            Taken::Hidden(name) => State::Out(format!("no member is looked for below {name}")),
            Taken::No if with(&bytes, &place).is_some() => State::Added,
            Taken::No => State::Out("the list of members cannot be edited".to_owned()),
        };
        Ok(Some(Self { root, place, state }))
    }

    /// Adds it to the members, if it is to be added and is none yet.
    pub fn join(&self) -> Result<(), Failure> {
        if self.state != State::Added {
            return Ok(());
        }
        let (bytes, model) = read(&self.root)?;
        if matches!(workspace::takes(&model.members, &self.place), Taken::By(_)) {
            return Ok(());
        }
        let file = self.root.join(workspace::FILE);
        let shown = file.display().to_string();
        let by_hand = format!(
            "the plugin is made; add `- {}` under members by hand",
            self.place
        );
        let edited = with(&bytes, &self.place).ok_or_else(|| {
            Failure::user("workspace-edit", "the workspace was edited meanwhile")
                .at(shown.clone())
                .hint(by_hand.clone())
        })?;
        config::replace(&file, &edited).map_err(|error| {
            let what = format!("cannot write {shown}: {error}");
            Failure::environment("workspace-edit", what)
                .at(shown)
                .hint(by_hand)
        })
    }
}

/// The folder as it really lies, where it is there.
fn real(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (above.canonicalize(), path.strip_prefix(above)) {
            return real.join(rest);
        }
    }
    path.to_owned()
}

fn read(root: &Path) -> Result<(Vec<u8>, workspace::Workspace), Failure> {
    let file = root.join(workspace::FILE);
    let shown = file.display().to_string();
    let bytes = read_regular(&file).map_err(|error| {
        Failure::user("unreadable", format!("cannot read {shown}: {error}"))
            .at(shown.clone())
            .hint("mend the workspace first, or make the plugin outside of it")
    })?;
    let parsed = workspace::parse(&bytes, &shown, root);
    if let Some(failure) = plugin::diagnostics_failure(&parsed.diagnostics) {
        return Err(failure);
    }
    let missing = || Failure::bug("a workspace without errors was refused");
    Ok((bytes, parsed.workspace.ok_or_else(missing)?))
}

/// The workspace's file with one more member; none where that would change anything else.
fn with(bytes: &[u8], place: &str) -> Option<Vec<u8>> {
    let parsed = |bytes: &[u8]| workspace::parse(bytes, workspace::FILE, Path::new("")).workspace;
    let before = parsed(bytes)?;
    let text = std::str::from_utf8(bytes).ok()?;
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let edited = if let Some(last) = before.last_member() {
        let start = text[..last.start].rfind('\n').map_or(0, |at| at + 1);
        let lead = &text[start..last.start];
        if lead.trim() == "-" {
            // Below the last, behind what its line still says.
            let rest = &text[last.end..];
            let end = last.end + rest.find(['\r', '\n']).unwrap_or(rest.len());
            let line = format!("{newline}{lead}{}", yaml_text(place, false));
            format!("{}{line}{}", &text[..end], &text[end..])
        } else {
            let item = format!(", {}", yaml_text(place, true));
            format!("{}{item}{}", &text[..last.end], &text[last.end..])
        }
    } else {
        let empty = text.find("members:")? + "members:".len();
        let open = empty + text[empty..].find('[')? + 1;
        format!(
            "{}{}{}",
            &text[..open],
            yaml_text(place, true),
            &text[open..]
        )
    };
    let edited = edited.into_bytes();
    let after = parsed(&edited)?;
    let mut members = before.members.clone();
    members.push(place.to_owned());
    let mut json = before.json.clone();
    json["members"] = members.clone().into();
    let is_right = after.members == members
        && after.json == json
        && matches!(workspace::takes(&after.members, place), Taken::By(_));
    is_right.then_some(edited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_member_and_no_other_byte() {
        for (before, after) in [
            (
                "# ours\nmembers:\n  - a # first\n  - 'b'  # last\n\n# end\nstorage: [x]\n",
                "# ours\nmembers:\n  - a # first\n  - 'b'  # last\n  - plugins/n\n\n# end\nstorage: [x]\n",
            ),
            ("members:\n- a", "members:\n- a\n- plugins/n"),
            ("members:\r\n- a\r\n", "members:\r\n- a\r\n- plugins/n\r\n"),
            (
                "members: [a, \"b\" ]\n",
                "members: [a, \"b\", plugins/n ]\n",
            ),
            ("members: [] # none\n", "members: [plugins/n] # none\n"),
            (
                "{\"members\": [\"a\"]}",
                "{\"members\": [\"a\", plugins/n]}",
            ),
        ] {
            let edited = with(before.as_bytes(), "plugins/n");
            assert_eq!(edited.as_deref(), Some(after.as_bytes()), "{before:?}");
        }
        for (before, place) in [
            ("members: [a]\n", "pl[u]gins/n"),
            ("members: &all [a]\nlibraries: *all\n", "plugins/n"),
            ("members: [a, '!plugins/*']\n", "plugins/n"),
            ("members: [a\n", "plugins/n"),
        ] {
            assert_eq!(with(before.as_bytes(), place), None, "{before:?}");
        }
    }
}
