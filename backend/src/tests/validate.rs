//! What people are told about a release that is not taken.

use std::fmt::Write as _;

use super::*;

fn problems(world: &World, sample: &Sample) -> String {
    let Err(ClientError::Invalid(problems)) = create(&world.open(), sample) else {
        panic!("it was taken")
    };
    assert_eq!(world.files(), [""; 0]);
    problems.join("\n")
}

#[test]
fn bad_fields() {
    let world = World::new();
    let mut sample = world.sample("yolo", "0.1.0", "a");
    sample.slot = Slot {
        code: "../Yolo\u{1b}[31m".to_owned(),
        variant: Some(".hidden/x".to_owned()),
        version: "1.02.0".to_owned(),
        debug: false,
    };
    sample.config = json!([1]);
    sample.size = 11 << 30;
    let upload = Upload {
        md5: "ABC",
        sha256: "",
        ..sample.upload()
    };
    let Err(ClientError::Invalid(problems)) = world.open().create(&upload) else {
        panic!()
    };
    insta::assert_snapshot!(problems.join("\n"));
}

#[test]
fn which_slots_are_well_formed() {
    let world = World::new();
    let backend = world.open();
    let mut seen = String::new();
    for code in [
        "a",
        "0-a",
        "a_b",
        "_a",
        "-a",
        "a-",
        "A",
        "a.b",
        "",
        "ü",
        &"a".repeat(101),
    ] {
        let taken = create(&backend, &world.sample("x", "0.1.0", "a").debug_as(code)).is_ok();
        writeln!(seen, "code {code}: {taken}").unwrap();
    }
    for variant in ["lig", "Lig.2_b-c", "", ".", "-a", "a/b", "a b"] {
        let sample = world.sample("x", "0.1.0", "a").variant(variant).debug();
        writeln!(
            seen,
            "variant {variant}: {}",
            create(&backend, &sample).is_ok()
        )
        .unwrap();
    }
    for version in [
        "1.2.3", "0.0.0", "10.20.30", "1.2", "1.2.3.4", "01.2.3", "1.2.3rc1", "1..3", "",
    ] {
        let mut sample = world.sample("versions", "0.1.0", "a");
        version.clone_into(&mut sample.slot.version);
        sample.config["version"] = json!(version);
        writeln!(
            seen,
            "version {version}: {}",
            create(&backend, &sample).is_ok()
        )
        .unwrap();
    }
    insta::assert_snapshot!(seen);
}

impl Sample {
    fn debug_as(mut self, code: &str) -> Self {
        code.clone_into(&mut self.slot.code);
        self.debug()
    }
}

#[test]
fn an_empty_config() {
    let world = World::new();
    let mut sample = world.sample("yolo", "0.1.0", "a");
    sample.config = json!({});
    insta::assert_snapshot!(problems(&world, &sample));
}

#[test]
fn a_config_of_wrong_values() {
    let world = World::new();
    let mut sample = world.sample("yolo", "0.1.0", "a").variant("lig");
    sample.config = json!({
        "name": "  ", "code": "yolo2", "version": "0.2.0", "category": "neural-net",
        "variant": "other", "readme": ["README.md"], "env": "A=1", "tags": {"a": 1},
        "description": null, "unknown": 1,
        "actions": {
            "none": null,
            "list": [],
            "empty": {},
            "typed": {"entrypoint": 3, "method": 1, "description": 2},
            "shape": {"entrypoint": "train", "method": "jobs"},
            "dotted": "plugin..train:X",
            "path": "plugin/train.py:X",
            "gone": {"entrypoint": "plugin.gone:X"},
            "bare": "other.module.Name",
            "fine": {"entrypoint": "plugin.train:Outer.inner", "method": "restapi"},
            "package": "plugin:X",
        },
    });
    insta::assert_snapshot!(problems(&world, &sample));
}

#[test]
fn a_config_of_wrong_types() {
    let world = World::new();
    let mut sample = world.sample("yolo", "0.1.0", "a");
    sample.config = json!({
        "name": {}, "code": true, "version": 0.1, "category": [], "variant": 1, "actions": "train",
    });
    insta::assert_snapshot!(problems(&world, &sample));
    sample.config["actions"] = json!({});
    insta::assert_snapshot!(problems(&world, &sample));
}

#[test]
fn an_archive_of_bad_paths() {
    let world = World::new();
    let archive = world.root.path().join("sent/bad.zip");
    let names = [
        "plugin/train.py",
        "plugin/train.py/inner",
        "/etc/passwd",
        "../up",
        "a/../../up",
        "a\\b",
        "C:/x",
        "a//b",
        "./a",
        "new\nline",
        "twiceA",
        "twiceB",
        "dir/",
    ];
    zip_file(&archive, names.iter().map(|name| (*name, &b""[..])));
    let mut zip = zip::ZipWriter::new_append(
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&archive)
            .unwrap(),
    )
    .unwrap();
    zip.add_symlink("link", "/etc/passwd", SimpleFileOptions::default())
        .unwrap();
    zip.finish().unwrap();
    // The writer refuses what a hostile one would not.
    let bytes = fs::read(&archive).unwrap();
    let text = bytes
        .iter()
        .map(|&byte| char::from(byte))
        .collect::<String>();
    let bytes: Vec<u8> = text
        .replace("twiceB", "twiceA")
        .chars()
        .map(|it| it as u8)
        .collect();
    fs::write(&archive, bytes).unwrap();
    let sample = sample_of("yolo", "0.1.0", archive);
    insta::assert_snapshot!(problems(&world, &sample));
}

#[test]
fn very_many_bad_paths_are_counted() {
    let world = World::new();
    let archive = world.root.path().join("sent/bad.zip");
    let names: Vec<String> = (0..50).map(|it| format!("/{it}")).collect();
    zip_file(&archive, names.iter().map(|name| (name.as_str(), &b""[..])));
    let text = problems(&world, &sample_of("yolo", "0.1.0", archive));
    assert!(text.contains("30 more bad paths"), "{text}");
}

#[test]
fn an_archive_that_is_none_and_a_config_are_told_of_together() {
    let world = World::new();
    let archive = world.root.path().join("sent/bad.zip");
    fs::write(&archive, "PK").unwrap();
    let mut sample = sample_of("yolo", "0.1.0", archive);
    sample.config["category"] = json!("neural");
    insta::assert_snapshot!(problems(&world, &sample));
}

#[test]
fn a_compiled_module_counts() {
    let world = World::new();
    let archive = world.root.path().join("sent/compiled.zip");
    zip_file(
        &archive,
        [
            ("config.yaml", &b""[..]),
            ("plugin/train.cpython-312-x86_64-linux-gnu.so", b""),
        ],
    );
    create(&world.open(), &sample_of("yolo", "0.1.0", archive)).unwrap();
}
