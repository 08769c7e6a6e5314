//! What sources alone say of actions, and what is asked of Python.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{collections::BTreeMap, sync::Mutex};

use serde_json::{Value, json};
use synapse_engine::{Cancel, Failure, FailureKind};
use synapse_rules::inspect::{
    Answer, Entry, Inspection, Kind, NoSchemas, Question, Request, Schemas, Subject, inspect,
};

/// Answers every question the same, and keeps the questions.
#[derive(Default)]
struct Fake {
    answer: Answer,
    asked: Mutex<Vec<Question>>,
}

impl Schemas for Fake {
    fn ask(&self, request: &Request<'_>, _: &Cancel) -> Result<BTreeMap<String, Answer>, Failure> {
        self.asked
            .lock()
            .unwrap()
            .extend_from_slice(request.questions);
        let answers = request
            .questions
            .iter()
            .map(|own| (own.action.clone(), self.answer.clone()));
        Ok(answers.collect())
    }
}

fn sources(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect()
}

fn entry(action: &str, entrypoint: &str) -> Entry {
    let (module, object) = entrypoint.split_once(':').unwrap();
    Entry {
        action: action.to_owned(),
        module: module.to_owned(),
        object: object.to_owned(),
    }
}

fn look_with(
    files: &[(&str, &str)],
    entries: &[(&str, &str)],
    schemas: &dyn Schemas,
) -> Result<Inspection, Failure> {
    let sources = sources(files);
    let entries: Vec<Entry> = entries
        .iter()
        .map(|(action, at)| entry(action, at))
        .collect();
    let subject = Subject {
        sources: &sources,
        entries: &entries,
        requires: None,
        real: None,
    };
    inspect(&subject, schemas, &Cancel::default())
}

/// Without Python: asking for it fails.
#[track_caller]
fn look(files: &[(&str, &str)], entries: &[(&str, &str)]) -> Inspection {
    look_with(files, entries, &NoSchemas).unwrap()
}

fn notes(inspection: &Inspection) -> Vec<String> {
    inspection.notes.iter().map(ToString::to_string).collect()
}

const HEAD: &str = "from enum import Enum\nfrom synapse_sdk.plugins import *\n\
                    from synapse_sdk.plugins.enums import PluginCategory, RunMethod\n\
                    from synapse_sdk.plugins.types import YOLODataset, ModelWeights, Dataset\n\
                    from synapse_sdk.plugins import types\n";

#[test]
fn attributes_come_from_the_nearest_class() {
    // Body of plugin/a.py after the head; what `A` says: method, input, output, category.
    let cases: &[(&str, [Option<&str>; 4])] = &[
        (
            "class A(BaseAction[P]):\n  def execute(self): ...",
            [None, None, None, None],
        ),
        (
            "class A(BaseTrainAction[P]):\n  input_type = YOLODataset\n  output_type = types.ModelWeights",
            [
                None,
                Some("yolo_dataset"),
                Some("model_weights"),
                Some("neural_net"),
            ],
        ),
        (
            "class A(BaseAction[P]):\n  category = PluginCategory.SMART_TOOL\n  method = RunMethod.JOB\n  def execute(self): ...",
            [Some("job"), None, None, Some("smart_tool")],
        ),
        (
            "class A(BaseAction[P]):\n  category: PluginCategory = 'export'\n  method: str = 'serve'\n  def execute(self): ...",
            [Some("serve"), None, None, Some("export")],
        ),
        (
            "NAME = 'task'\nclass B(BaseAction[P]):\n  method = NAME\nclass C:\n  input_type = Dataset\nclass A(C, B):\n  def execute(self): ...",
            [Some("task"), Some("dataset"), None, None],
        ),
        (
            "class Lidar(Dataset):\n  name = 'lidar'\nclass Deep(Lidar): pass\nclass A(BaseAction):\n  input_type = Deep\n  output_type = None\n  def execute(self): ...",
            [None, Some("lidar"), None, None],
        ),
        (
            "from .kinds import Mine\nclass A(BaseAction):\n  input_type = Mine\n  def execute(self): ...",
            [None, Some("mine"), None, None],
        ),
        (
            "from synapse_sdk.plugins.actions.dataset import DatasetAction\nclass A(DatasetAction): pass",
            [None, None, Some("yolo_dataset"), None],
        ),
        (
            "from synapse_sdk.plugins.actions.train.action import BaseTrainAction as T\nclass A(T[P]): pass",
            [None, None, None, Some("neural_net")],
        ),
        (
            "class X:\n  method = 'task'\nclass Y(X): pass\nclass Z(X):\n  method = 'job'\nclass A(Y, Z, BaseAction):\n  def execute(self): ...",
            [Some("job"), None, None, None],
        ),
    ];
    for (body, expected) in cases {
        let text = format!("{HEAD}{body}\n");
        let kinds = "from synapse_sdk.plugins.types import DataType\nclass Mine(DataType):\n  name = N\nN = 'mine'\n";
        let inspection = look(
            &[
                ("plugin/a.py", &text),
                ("plugin/kinds.py", kinds),
                ("plugin/__init__.py", ""),
            ],
            &[("run", "plugin.a:A")],
        );
        let own = &inspection.actions["run"];
        let found = [
            &own.method,
            &own.input_type,
            &own.output_type,
            &own.category,
        ];
        assert_eq!(
            found.map(Option::as_deref),
            *expected,
            "{body}\n{inspection:#?}"
        );
        assert_eq!(own.kind, Some(Kind::Class));
        assert_eq!(notes(&inspection), Vec::<String>::new(), "{body}");
    }
}

#[test]
fn what_is_computed_is_left_with_a_note() {
    for (body, expected) in [
        (
            "A = make()",
            "run: method, input_type, output_type left as it is: its entrypoint is made by a call",
        ),
        (
            "class A(make_base()):\n  pass",
            "run: method, input_type, output_type left as it is: a base class of A is computed",
        ),
        (
            "class A(BaseAction):\n  input_type = pick()\n  def execute(self): ...",
            "run: input_type left as it is: it is computed",
        ),
        (
            "class A(BaseAction):\n  @property\n  def method(self): ...\n  def execute(self): ...",
            "run: method left as it is: A.method is computed",
        ),
        (
            "class A(BaseAction):\n  def execute(self): ...\nA.output_type = pick()",
            "run: output_type left as it is: it is computed",
        ),
        (
            "class T(Dataset):\n  name = f'{x}'\nclass A(BaseAction):\n  input_type = T\n  def execute(self): ...",
            "run: input_type left as it is: the name of T is computed",
        ),
        (
            "from other import Kind\nclass A(BaseAction):\n  input_type = Kind\n  def execute(self): ...",
            "run: input_type left as it is: other.Kind is not the plugin's own",
        ),
        (
            "class A(BaseAction):\n  method = 'never'\n  def execute(self): ...",
            "run: method left as it is: \"never\" is no method",
        ),
        (
            "import other\nA = other.A",
            "run: method, input_type, output_type left as it is: other.A is not the plugin's own",
        ),
        (
            "class A(B):\n  pass\nclass B(A): pass",
            "run: method, input_type, output_type left as it is: the bases of B go in a circle",
        ),
        (
            "def f(:",
            "run: method, input_type, output_type left as it is: plugin/a.py: line 6 is not Python",
        ),
    ] {
        let text = format!("{HEAD}{body}\n");
        let inspection = look(&[("plugin/a.py", &text)], &[("run", "plugin.a:A")]);
        let found = notes(&inspection);
        assert!(
            found.iter().any(|note| note.starts_with(expected)),
            "{body}\n{found:#?}"
        );
    }
}

#[test]
fn actions_without_a_config_are_found() {
    let files = [
        (
            "plugin/a.py",
            "from synapse_sdk.plugins import BaseAction, BaseTrainAction, action\n\
             from abc import abstractmethod\n\
             class Known(BaseTrainAction[P]): pass\n\
             class YOLOTrainAction(BaseTrainAction[P]): pass\n\
             class Named(BaseAction):\n  action_name = 'mine'\n  def execute(self): ...\n\
             class Open(BaseAction): pass\n\
             class Base(BaseTrainAction):\n  @abstractmethod\n  def more(self): ...\n\
             class _Own(BaseTrainAction): pass\n\
             class Later(Base):\n  def more(self): ...\n\
             class Plain: pass\n\
             @action\ndef bare(params, ctx): ...\n\
             @action()\ndef called(params, ctx): ...\n\
             @action(name='other', params=P)\ndef named(params, ctx): ...\n\
             @action('first')\ndef positional(params, ctx): ...\n\
             @wraps\ndef none(): ...\n\
             class Twin(BaseTrainAction): pass\n\
             class Gone(BaseTrainAction): pass\ndel Gone\n",
        ),
        (
            "plugin/b.py",
            "from .a import *\nclass Twin(BaseTrainAction): pass\n",
        ),
        (
            "tests/test_a.py",
            "from synapse_sdk.plugins import *\nclass Tested(BaseTrainAction): pass\n",
        ),
        (
            "conftest.py",
            "from synapse_sdk.plugins import *\nclass Tested(BaseTrainAction): pass\n",
        ),
        (
            "__init__.py",
            "from synapse_sdk.plugins import *\nclass Top(BaseTrainAction): pass\n",
        ),
        (
            "not-a-module.py",
            "from synapse_sdk.plugins import *\nclass Odd(BaseTrainAction): pass\n",
        ),
        ("broken.py", "import synapse_sdk\nclass (:\n"),
    ];
    let inspection = look(&files, &[("known", "plugin.a:Known")]);
    let found: Vec<(&str, &str)> = inspection
        .found
        .iter()
        .map(|(name, own)| (name.as_str(), own.entrypoint.as_deref().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            ("bare", "plugin.a:bare"),
            ("called", "plugin.a:called"),
            ("first", "plugin.a:positional"),
            ("later", "plugin.a:Later"),
            ("mine", "plugin.a:Named"),
            ("other", "plugin.a:named"),
            ("yolotrain", "plugin.a:YOLOTrainAction"),
        ]
    );
    assert_eq!(inspection.found["bare"].kind, Some(Kind::Function));
    assert_eq!(
        notes(&inspection),
        [
            "broken.py: not searched for actions: line 2 is not Python: Expected an identifier",
            "twin: not added, since several have this name: plugin.a:Twin, plugin.b:Twin",
        ]
    );
}

#[test]
fn a_class_that_moved_is_followed_to_its_one_place() {
    let class = "from synapse_sdk.plugins import *\nclass TrainAction(BaseTrainAction): pass\n";
    let moved = |files: &[(&str, &str)]| {
        let inspection = look(files, &[("train", "plugin.train:TrainAction")]);
        let place = inspection
            .actions
            .get("train")
            .and_then(|own| own.entrypoint.clone());
        (place, inspection.found.len(), notes(&inspection))
    };
    // Where it is said to be, or re-exported from there: nothing to say.
    for (path, init) in [
        ("plugin/train.py", ""),
        ("plugin/train/x.py", "from .x import TrainAction"),
    ] {
        let (place, found, notes) = moved(&[(path, class), ("plugin/train/__init__.py", init)]);
        if init.is_empty() {
            continue;
        }
        assert_eq!((place, found, notes), (None, 0, vec![]), "{path}");
    }
    let (place, found, _) = moved(&[("plugin/deep/new.py", class), ("plugin/train.py", "")]);
    assert_eq!(
        (place.as_deref(), found),
        (Some("plugin.deep.new:TrainAction"), 0)
    );
    // Renamed, but still called train.
    let renamed = "from synapse_sdk.plugins import *\nclass Trainer(BaseTrainAction):\n  action_name = 'train'\n";
    let (place, ..) = moved(&[("plugin/train.py", renamed)]);
    assert_eq!(place.as_deref(), Some("plugin.train:Trainer"));
    // Two places: nobody knows.
    let (place, _, notes) = moved(&[("a.py", class), ("b.py", class)]);
    assert_eq!(place, None);
    assert!(
        notes.contains(&"train: there is no TrainAction in plugin.train".to_owned()),
        "{notes:?}"
    );
}

fn asked(body: &str, action: &str) -> Vec<Question> {
    let fake = Fake {
        answer: Answer {
            fields: Some(vec![]),
            ..Answer::default()
        },
        ..Fake::default()
    };
    let text = format!(
        "{HEAD}from pydantic import BaseModel\nfrom typing import TypeVar, Generic\n{body}\n"
    );
    look_with(&[("m.py", &text)], &[(action, "m:A")], &fake).unwrap();
    fake.asked.into_inner().unwrap()
}

#[test]
fn python_is_asked_for_forms_that_need_it_and_for_nothing_else() {
    let model = "class P(BaseModel): pass\n";
    for (action, body, expected) in [
        (
            "train",
            "class A(BaseTrainAction[P]): pass",
            Some(Some("m:P")),
        ),
        (
            "tune",
            "class A(BaseTrainAction[P]): pass",
            Some(Some("m:P")),
        ),
        (
            "upload",
            "class A(BaseUploadAction[P]): pass",
            Some(Some("m:P")),
        ),
        ("export", "class A(BaseExportAction[P]): pass", None),
        ("train", "class A(BaseTrainAction): pass", None),
        (
            "train",
            "class A(BaseTrainAction):\n  params_model = P",
            Some(Some("m:P")),
        ),
        ("train", "class A(BaseTrainAction['P']): pass", None),
        (
            "train",
            "T = TypeVar('T')\nclass B(BaseTrainAction[T], Generic[T]): pass\nclass A(B[P]): pass",
            Some(None),
        ),
        (
            "train",
            "T = TypeVar('T')\nclass B(BaseTrainAction[T], Generic[T]): pass\nclass A(B): pass",
            None,
        ),
        (
            "train",
            "class B[T](BaseTrainAction[T]): pass\nclass A(B): pass",
            None,
        ),
        ("train", "@action\ndef A(params, ctx): ...", None),
        (
            "train",
            "@action(params=P)\ndef A(params, ctx): ...",
            Some(Some("m:P")),
        ),
        ("train", "def A(params, ctx): ...", None),
        ("train", "A = make()", Some(None)),
        ("train", "class A(make()): pass", Some(None)),
        (
            "train",
            "from other import Q\nclass A(BaseTrainAction[Q]): pass",
            Some(None),
        ),
    ] {
        let questions = asked(&format!("{model}{body}"), action);
        let found = questions.first().map(|question| question.params.as_deref());
        assert_eq!(found, expected, "{body}");
        assert!(questions.len() <= 1);
    }
}

#[test]
fn answers_become_forms_or_notes() {
    let text = "from synapse_sdk.plugins import *\nclass P(BaseModel): pass\nclass A(BaseTrainAction[P]): pass\n";
    let ask = |answer: Answer| {
        let fake = Fake {
            answer,
            ..Fake::default()
        };
        look_with(&[("m.py", text)], &[("train", "m:A")], &fake)
    };
    let fields = vec![json!({"name": "epochs"})];
    let known = Answer {
        fields: Some(fields.clone()),
        modelled: true,
        excluded: vec!["x".into()],
        ..Answer::default()
    };
    let inspection = ask(known).unwrap();
    let form = inspection.actions["train"].form.clone().unwrap();
    assert_eq!(
        (form.fields, form.excluded, form.hidden),
        (fields, vec!["x".to_owned()], false)
    );
    let why = Answer {
        reason: Some("the field `d` uses torch".into()),
        ..Answer::default()
    };
    let inspection = ask(why.clone()).unwrap();
    assert_eq!(inspection.actions["train"].form, None);
    assert_eq!(
        notes(&inspection),
        ["train: hyperparameters left as it is: the field `d` uses torch"]
    );
    // Python that is too old says nothing about the plugin.
    assert!(
        ask(Answer {
            syntax: true,
            ..why.clone()
        })
        .is_ok(),
        "nothing here needs a newer one"
    );
    let newer = format!("{text}type X = int\n");
    let fake = Fake {
        answer: Answer {
            syntax: true,
            ..why
        },
        ..Fake::default()
    };
    let failure = look_with(&[("m.py", &newer)], &[("train", "m:A")], &fake).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Environment);
    assert!(failure.message.contains("Python 3.12"), "{failure}");
    // Nor does a machine without one.
    let failure = look_with(&[("m.py", text)], &[("train", "m:A")], &NoSchemas).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Environment);
}

#[test]
fn no_text_makes_it_panic() {
    for text in [
        "\u{feff}class A: pass".to_owned(),
        "class A(".repeat(2000),
        format!("x = {}1{}", "(".repeat(5000), ")".repeat(5000)),
        format!("x = {}1", "-".repeat(100_000)),
        format!("x = a{}", ".b".repeat(50_000)),
        format!("x = 1{}", " + 1".repeat(50_000)),
        "from . import *\nfrom .. import x\nfrom ....a.b import c\n".to_owned(),
        "\0".to_owned(),
        "x".repeat(2 << 20),
    ] {
        let inspection = look(&[("m.py", &text)], &[("run", "m:A")]);
        assert!(inspection.found.is_empty());
    }
    let _: Value = serde_json::to_value(Inspection::default()).unwrap();
}
