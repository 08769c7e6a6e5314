//! `synapse plugin create`: a new plugin from a template, by options or by questions.

use std::path::{Path, PathBuf};

use synapse_engine::Failure;
use synapse_rules::{
    config::{self, Category, Config, DataType, Word},
    create::{
        self, Answers, File, Membership, Template, answers,
        fetch::{self, Place},
        write,
    },
    python::process::Children,
    workspace::CONFIG_FILES,
};

use crate::{
    app::App,
    args::Create,
    prompt::Prompt,
    render::{Printer, create as text},
};

/// What is said where questions cannot be asked.
const INSTEAD: &str = "--yes asks nothing; --name and --category say what to make";

/// A plugin that is made, or about to be.
pub struct Made<'a> {
    /// What it was decided by.
    pub answers: &'a Answers,
    /// Its folder.
    pub target: &'a Path,
    /// The same for people: relative where it was given so.
    pub shown: &'a Path,
    /// Its files.
    pub files: &'a [File],
    /// The team's template, if it was made from one.
    pub template: Option<&'a str>,
    /// The workspace that it lies in.
    pub membership: Option<&'a Membership>,
    /// What to do next.
    pub next: Vec<String>,
}

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &Create) -> Result<u8, Failure> {
    let given = Given::check(args)?;
    let prompt = if args.yes {
        None
    } else {
        Some(Prompt::of(app, INSTEAD)?)
    };
    let own = match &args.template {
        Some(template) => Some(team(app, template)?),
        None => None,
    };
    let ask = Ask {
        app,
        args,
        given: &given,
        prompt: prompt.as_ref(),
        own: own.as_ref(),
    };
    let category = ask.category()?;
    let name = ask.name()?;
    let code = ask.code(&name)?;
    let (template, shown) = match &own {
        Some((template, shown)) => (template.clone(), Some(shown.as_str())),
        None => (Template::built_in(category), None),
    };
    let (data_type, tasks) = ask.data(category, &template)?;
    let answers = Answers {
        name,
        code,
        category,
        data_type,
        tasks,
    };
    let target = ask.target(&answers.code);
    write::expect_free(&target)?;
    let files = template.fill(&answers)?;
    let membership = Membership::of(&target)?;
    let place = ask.shown(&answers.code);
    let made = Made {
        next: next(&place, &files)?,
        answers: &answers,
        target: &target,
        shown: &place,
        files: &files,
        template: shown,
        membership: membership.as_ref(),
    };
    if let Some(prompt) = &prompt {
        text::preview(&mut Printer::stderr(&app.output), &made);
        if !prompt.confirm("Make this plugin?", true)? {
            Printer::stderr(&app.output).line("nothing was made");
            return Ok(1);
        }
    } else if !app.output.quiet && !app.output.is_machine() {
        text::preview(&mut Printer::stdout(&app.output), &made);
    }
    create::place(&target, &files, &app.cancel, app.hook.as_ref())?;
    if let Some(membership) = &membership {
        membership.join()?;
    }
    if app.output.is_machine() {
        Printer::stdout(&app.output).json(&text::document(&made));
    } else if !app.output.quiet {
        text::made(&mut Printer::stdout(&app.output), &made);
    }
    Ok(0)
}

/// A team's template, and how it is called.
fn team(app: &App, given: &str) -> Result<(Template, String), Failure> {
    let place = Place::parse(given, &app.cwd)?;
    let shown = place.shown();
    let template = match &place {
        Place::Folder(folder) => Template::read(folder, &shown, &app.cancel)?,
        Place::Git { url, reference } => {
            let variables = app.variables();
            let (scratch, reference) = (std::env::temp_dir(), reference.as_deref());
            let folder =
                fetch::fetch(url, reference, &scratch, &variables, &Children, &app.cancel)?;
            Template::read(folder.path(), &shown, &app.cancel)?
        }
    };
    Ok((template, shown))
}

/// Options, checked.
#[derive(Default)]
struct Given {
    name: Option<String>,
    code: Option<String>,
    category: Option<Category>,
    data_type: Option<DataType>,
    tasks: Vec<String>,
}

impl Given {
    fn check(args: &Create) -> Result<Self, Failure> {
        let name = args.name.as_deref().map(answers::name).transpose()?;
        let code = args.code.as_deref().map(answers::code).transpose()?;
        let category = args
            .category
            .as_deref()
            .map(answers::category)
            .transpose()?;
        let mut data_type = args
            .data_type
            .as_deref()
            .map(answers::data_type)
            .transpose()?;
        let mut tasks: Vec<String> = Vec::new();
        for given in &args.tasks {
            let task = answers::task(given.trim(), data_type)?;
            // The first decides, unless --data-type does.
            let of = task.split('.').next().and_then(DataType::from_word);
            data_type = data_type.or(of);
            if !tasks.contains(&task) {
                tasks.push(task);
            }
        }
        Ok(Self {
            name,
            code,
            category,
            data_type,
            tasks,
        })
    }
}

/// Finds the answers: options first, then the person, then defaults.
struct Ask<'a> {
    app: &'a App,
    args: &'a Create,
    given: &'a Given,
    prompt: Option<&'a Prompt>,
    own: Option<&'a (Template, String)>,
}

impl Ask<'_> {
    fn category(&self) -> Result<Category, Failure> {
        let fixed = match self.own {
            Some((template, _)) => template.category()?,
            None => None,
        };
        match (self.given.category, fixed) {
            (Some(given), Some(fixed)) if given != fixed => {
                let what = format!("the template makes {fixed} plugins, not {given}");
                return Err(Failure::usage(what).hint("leave --category out"));
            }
            (Some(known), _) | (None, Some(known)) => return Ok(known),
            (None, None) => {}
        }
        let Some(prompt) = self.prompt else {
            return Ok(Category::Custom);
        };
        let items: Vec<String> = Category::ALL
            .iter()
            .map(|own| text::category(*own))
            .collect();
        let chosen = prompt.select("Category", &items, 0)?;
        Ok(Category::ALL
            .get(chosen)
            .copied()
            .unwrap_or(Category::Custom))
    }

    fn name(&self) -> Result<String, Failure> {
        if let Some(name) = &self.given.name {
            return Ok(name.clone());
        }
        let usual = self.given.code.as_deref().map(answers::name_of);
        let Some(prompt) = self.prompt else {
            return usual.ok_or_else(|| {
                Failure::usage("the plugin has no name").hint("give one with --name")
            });
        };
        let check = |given: &str| match answers::name(given) {
            Ok(_) => Ok(()),
            Err(refused) => Err(refused.message),
        };
        let name = prompt.text("Name", usual.as_deref(), check)?;
        Ok(answers::name(&name)?)
    }

    fn code(&self, name: &str) -> Result<String, Failure> {
        if let Some(code) = &self.given.code {
            return Ok(code.clone());
        }
        let usual = answers::code_of(name);
        let Some(prompt) = self.prompt else {
            return Ok(usual?);
        };
        let check = |given: &str| {
            answers::code(given).map_err(|refused| refused.short())?;
            write::expect_free(&self.target(given))
                .map_err(|_| "its folder is there already".to_owned())
        };
        prompt.text("Code", usual.ok().as_deref(), check)
    }

    /// Kind of data and tasks, where they matter.
    fn data(
        &self,
        category: Category,
        template: &Template,
    ) -> Result<(Option<DataType>, Vec<String>), Failure> {
        let (wants_type, wants_tasks) = match self.own {
            Some(_) => (template.has("data_type"), template.has("tasks")),
            None => (
                matches!(category, Category::NeuralNet | Category::SmartTool),
                category == Category::NeuralNet,
            ),
        };
        let given = self.given;
        for (option, wanted, is_given) in [
            (
                "--data-type",
                wants_type || wants_tasks,
                self.args.data_type.is_some(),
            ),
            ("--tasks", wants_tasks, !given.tasks.is_empty()),
        ] {
            if self.own.is_some() && is_given && !wanted {
                let what = format!("the template has no place for {option}");
                return Err(Failure::usage(what).hint(format!("leave {option} out")));
            }
        }
        let mut data_type = given.data_type;
        if data_type.is_none() && (wants_type || wants_tasks) {
            data_type = Some(self.data_type()?);
        }
        let mut tasks = given.tasks.clone();
        if let Some(own) = data_type.filter(|_| tasks.is_empty() && wants_tasks) {
            let known = answers::tasks_of(own);
            let chosen = match self.prompt {
                Some(prompt) => prompt.select("Task", &known, 0)?,
                None => 0,
            };
            tasks.extend(known.into_iter().nth(chosen));
        }
        Ok((data_type, tasks))
    }

    fn data_type(&self) -> Result<DataType, Failure> {
        let Some(prompt) = self.prompt else {
            return Ok(DataType::Image);
        };
        let items: Vec<String> = DataType::ALL.iter().map(ToString::to_string).collect();
        let chosen = prompt.select("Data type", &items, 0)?;
        Ok(DataType::ALL
            .get(chosen)
            .copied()
            .unwrap_or(DataType::Image))
    }

    fn target(&self, code: &str) -> PathBuf {
        self.app.cwd.join(self.shown(code))
    }

    /// The plugin's folder, as people write it.
    fn shown(&self, code: &str) -> PathBuf {
        let parent = self.args.path.as_deref().unwrap_or(Path::new(""));
        let parent = parent.strip_prefix(".").unwrap_or(parent);
        parent.join(create::folder_name(code))
    }
}

/// What to do next, as commands.
fn next(place: &Path, files: &[File]) -> Result<Vec<String>, Failure> {
    let text = |name: &str| {
        let file = files.iter().find(|file| file.path == name)?;
        std::str::from_utf8(&file.bytes).ok()
    };
    let config: Option<Config> = CONFIG_FILES
        .iter()
        .find_map(|name| text(name))
        .and_then(|text| config::parse(text.as_bytes(), "config.yaml").config);
    let config = config.ok_or_else(|| Failure::bug("a checked configuration is refused"))?;
    let mut next = vec![format!("cd {}", text::word(&place.display().to_string()))];
    next.extend(create::next_commands(text(&config.readme), &config));
    next.push("synapse plugin publish --local".to_owned());
    Ok(next)
}
