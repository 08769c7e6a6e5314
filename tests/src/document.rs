//! Owns [`Document`]: the JSON document of a publish, held against its schema.

use std::{collections::BTreeMap, fs, io::Read, path::PathBuf, sync::OnceLock};

use jsonschema::Validator;
use serde_json::Value;

use crate::{fixture, run::Run};

/// The document of one publish, which satisfies docs/schema/publish.schema.json.
#[derive(Debug, Clone)]
pub struct Document {
    /// All of it.
    pub value: Value,
    /// The process that printed it.
    pub run: Run,
}

fn schema() -> &'static Validator {
    static SCHEMA: OnceLock<Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| validator("publish"))
}

fn validator(name: &str) -> Validator {
    let path = fixture(&format!("../docs/schema/{name}.schema.json"));
    let text = fs::read_to_string(path).expect("the schema");
    let schema = serde_json::from_str(&text).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is one")
}

/// Panics unless `value` satisfies docs/schema/`name`.schema.json.
#[track_caller]
pub fn expect_schema(name: &str, value: &Value) {
    expect_valid(&validator(name), value);
}

#[track_caller]
fn expect_valid(schema: &Validator, value: &Value) {
    let problems: Vec<String> = schema
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{}\n{value:#}", problems.join("\n"));
}

impl Document {
    /// The document that `run` printed; panics unless it is one and satisfies the schema.
    #[track_caller]
    pub fn of(run: Run) -> Self {
        let value = run.json();
        Self::check(&value);
        assert_eq!(
            value["ok"],
            run.status.code() == Some(0),
            "`ok` says what the exit code says\n{run:?}"
        );
        Self { value, run }
    }

    /// Panics unless `value` satisfies the schema.
    #[track_caller]
    pub fn check(value: &Value) {
        expect_valid(schema(), value);
    }

    /// Panics with everything unless the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        let Self { value, run } = &self;
        assert_eq!(
            run.status.code(),
            Some(code),
            "{}\n{value:#}\n-- stderr\n{}",
            run.status,
            run.stderr
        );
        self
    }

    /// One of the sums.
    #[track_caller]
    pub fn total(&self, name: &str) -> u64 {
        self.value["totals"][name]
            .as_u64()
            .unwrap_or_else(|| panic!("no total {name}: {:#}", self.value))
    }

    /// All plugins.
    pub fn plugins(&self) -> &[Value] {
        self.value["plugins"].as_array().map_or(&[], Vec::as_slice)
    }

    /// A plugin by its code.
    #[track_caller]
    pub fn plugin(&self, code: &str) -> &Value {
        let found = self.plugins().iter().find(|plugin| plugin["code"] == code);
        found.unwrap_or_else(|| panic!("no plugin {code}: {:#}", self.value))
    }

    /// How a plugin came out.
    #[track_caller]
    pub fn status(&self, code: &str) -> &str {
        self.plugin(code)["status"].as_str().expect("a status")
    }

    /// Stages that ran, as `code stage`.
    pub fn ran(&self) -> Vec<String> {
        let mut ran = Vec::new();
        for plugin in self.plugins() {
            for stage in plugin["stages"].as_array().into_iter().flatten() {
                if stage["decision"] == "run" {
                    ran.push(format!(
                        "{} {}",
                        text(&plugin["code"]),
                        text(&stage["stage"])
                    ));
                }
            }
        }
        ran
    }

    /// Keys of a plugin's stages.
    #[track_caller]
    pub fn keys(&self, code: &str) -> BTreeMap<String, String> {
        let stages = self.plugin(code)["stages"].as_array().expect("stages");
        stages
            .iter()
            .map(|stage| (text(&stage["stage"]), text(&stage["key"])))
            .collect()
    }

    /// Where a plugin's archive lies.
    #[track_caller]
    pub fn archive(&self, code: &str) -> PathBuf {
        PathBuf::from(text(&self.plugin(code)["archive"]["path"]))
    }

    /// A plugin's archive, unpacked: path to executable bit and bytes.
    #[track_caller]
    pub fn unpacked(&self, code: &str) -> BTreeMap<String, (bool, Vec<u8>)> {
        let file = fs::File::open(self.archive(code)).expect("the archive");
        let mut zip = zip::ZipArchive::new(file).expect("a ZIP");
        let mut found = BTreeMap::new();
        for index in 0..zip.len() {
            let mut entry = zip.by_index(index).expect("an entry");
            let name = entry.name().expect("a UTF-8 name").into_owned();
            let mut bytes = Vec::new();
            entry
                .read_to_end(&mut bytes)
                .expect("bytes that satisfy their checksum");
            let executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
            found.insert(name, (executable, bytes));
        }
        found
    }

    /// Codes of all errors.
    pub fn errors(&self) -> Vec<String> {
        self.value["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|error| text(&error["code"]))
            .collect()
    }

    /// The one error; panics when there are none or more.
    #[track_caller]
    pub fn error(&self) -> &Value {
        match self.value["errors"].as_array().map(Vec::as_slice) {
            Some([error]) => error,
            _ => panic!("not one error: {:#}", self.value),
        }
    }

    /// Nothing ran, nothing was sent, everything is up to date.
    #[track_caller]
    pub fn expect_nothing_done(self) -> Self {
        let this = self.expect(0);
        let sums = ["nodes_run", "published", "failed", "requests", "bytes_sent"]
            .map(|name| this.total(name));
        assert_eq!(sums, [0; 5], "{:#}", this.value);
        assert_eq!(this.total("up_to_date"), this.total("plugins"));
        assert!(this.ran().is_empty());
        assert!(
            this.plugins()
                .iter()
                .all(|plugin| plugin["status"] == "up_to_date")
        );
        this
    }
}

#[track_caller]
fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}
