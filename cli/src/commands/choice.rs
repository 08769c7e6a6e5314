//! Owns which plugin and which of its actions a run is about.

use synapse_engine::Failure;
use synapse_rules::{
    action,
    config::{Action, Config, Method},
};

use crate::{
    app::App,
    args::{RunOptions, Selection},
    select::{self, Otherwise, Selected},
};

/// Which action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<'a> {
    /// The one of that name.
    Named(&'a str),
    /// The one that infers.
    Inference,
    /// The one that deploys.
    Deployment,
}

impl<'a> Choice<'a> {
    /// The name that it has where nothing tells another.
    pub fn usual(self) -> &'a str {
        match self {
            Self::Named(name) => name,
            Self::Inference => "inference",
            Self::Deployment => "deployment",
        }
    }

    /// The name that the action has in a configuration.
    pub(super) fn name(self, config: &Config, file: &str) -> Result<String, Failure> {
        let (short, word) = match self {
            Self::Named(name) => return Ok(name.to_owned()),
            Self::Inference => ("infer", "inference"),
            Self::Deployment => ("deploy", "deployment"),
        };
        let all = &config.actions;
        let named = |name: &str| all.iter().find(|action| action.name == name);
        if let Some(action) = named(word).or_else(|| named(short)) {
            return Ok(action.name.clone());
        }
        // Else the only one that looks like it.
        let fits = |action: &&Action| {
            let named = action.name.contains(short)
                || action.entrypoint.object.to_lowercase().contains(short);
            match self {
                Self::Inference => named || action.effective_method() == Method::Serve,
                _ => named,
            }
        };
        let mut found = all.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(action), None) => Ok(action.name.clone()),
            (Some(one), Some(other)) => {
                let what = format!("both {} and {} may be the {word}", one.name, other.name);
                Err(Failure::user(action::NOT_FOUND, what)
                    .at(file)
                    .hint(format!("name one: synapse plugin run {}", one.name)))
            }
            (None, _) => {
                let failure = match action::find(config, word, file) {
                    Err(failure) => failure,
                    Ok(action) => return Ok(action.name.clone()),
                };
                let names: Vec<&str> = all.iter().map(|action| action.name.as_str()).collect();
                let hint = format!("synapse plugin run ACTION runs any of {}", names.join(", "));
                Err(failure.hint(hint))
            }
        }
    }
}

/// The plugin that the arguments name: by folder, by code, or the one here.
pub(super) fn pick(app: &App, args: &RunOptions) -> Result<Selected, Failure> {
    let folder = |plugin: Vec<String>| Selection {
        path: args.path.clone(),
        plugin,
        ..Selection::default()
    };
    let Some(code) = &args.plugin else {
        let here = args
            .path
            .as_ref()
            .map_or_else(|| app.cwd.clone(), |path| app.cwd.join(path));
        let is_workspace = here.join(synapse_rules::workspace::FILE).is_file();
        return select::select(app, &folder(Vec::new()), Otherwise::Refuse).map_err(|failure| {
            if failure.code == "config-not-found" && is_workspace {
                return failure.hint(
                    "this is a workspace: name the plugin with --plugin CODE, or its folder with --path",
                );
            }
            failure
        });
    };
    match select::select(app, &folder(vec![code.clone()]), Otherwise::Refuse) {
        // Without a workspace it is the plugin here, or none.
        Err(failure) if failure.code == "no-workspace" => {
            select::select(app, &folder(Vec::new()), Otherwise::Refuse)
        }
        selected => selected,
    }
}

#[cfg(test)]
mod tests {
    use synapse_rules::config;

    use super::*;

    #[test]
    fn short_names_find_the_action_that_they_are_for() {
        let named = |choice: Choice<'_>, actions: &[(&str, &str)]| {
            let mut text =
                "name: P\ncode: p\nversion: 0.1.0\ncategory: neural_net\nactions:\n".to_owned();
            for (name, rest) in actions {
                let lines = ["  ", name, ":\n    entrypoint: plugin.", rest, "\n"];
                text.push_str(&lines.concat());
            }
            let config = config::parse(text.as_bytes(), "config.yaml")
                .config
                .unwrap();
            choice
                .name(&config, "config.yaml")
                .map_err(|failure| failure.hint.unwrap())
        };
        let infer = |actions: &[(&str, &str)]| named(Choice::Inference, actions);
        let usual = [
            ("train", "a:Train"),
            ("inference", "a:X"),
            ("deployment", "a:Y"),
        ];
        assert_eq!(infer(&usual).unwrap(), "inference");
        assert_eq!(named(Choice::Deployment, &usual).unwrap(), "deployment");
        assert_eq!(named(Choice::Named("x"), &usual).unwrap(), "x");
        assert_eq!(
            infer(&[("train", "a:T"), ("infer", "a:I")]).unwrap(),
            "infer"
        );
        let served = "a:Detect\n    method: serve";
        assert_eq!(
            infer(&[("train", "a:T"), ("detect", served)]).unwrap(),
            "detect"
        );
        let by_class = [("train", "a:T"), ("ship", "a:DeployAction")];
        assert_eq!(named(Choice::Deployment, &by_class).unwrap(), "ship");
        let two = [("detect", served), ("segment", served)];
        assert!(
            infer(&two)
                .unwrap_err()
                .contains("synapse plugin run detect")
        );
        let none = infer(&[("train", "a:T"), ("test", "a:S")]).unwrap_err();
        assert!(none.contains("train, test"), "{none}");
    }
}
