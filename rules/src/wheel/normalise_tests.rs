//! Tests of what is done to a wheel after it was built.

use std::io::Write as _;

use zip::{DateTime, ZipWriter, write::SimpleFileOptions};

use super::*;

/// Writes a wheel with these entries, at a time and in an order of its own.
fn wheel(folder: &Path, name: &str, entries: &[(&str, &str)], hour: u8) -> std::path::PathBuf {
    let path = folder.join(name);
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    let time = DateTime::from_date_and_time(2024, 5, 6, hour, 8, 0).unwrap();
    let options = SimpleFileOptions::default()
        .last_modified_time(time)
        .unix_permissions(0o664);
    for (path, text) in entries {
        zip.start_file(*path, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    path
}

const META: &str = "Metadata-Version: 2.1\r\nName: My.Lib\r\nVersion: 1.0\r\n\r\nVersion: 3\r\n";

fn entries() -> Vec<(&'static str, &'static str)> {
    vec![
        ("my_lib/b, c.py", "x = 1\n"),
        ("My.Lib-1.0.data/scripts/tool", "#!python\n"),
        ("My.Lib-1.0.dist-info/METADATA", META),
        (
            "My.Lib-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: hatchling 1.27\nTag: py3-none-any\n",
        ),
        ("My.Lib-1.0.dist-info/RECORD", "stale,,\n"),
        ("My.Lib-1.0.dist-info/RECORD.jws", "stale"),
        ("my_lib/__init__.py", ""),
    ]
}

fn normal(entries: &[(&str, &str)], name: &str, hour: u8) -> Result<Vec<(String, String)>, String> {
    let space = tempfile::tempdir().unwrap();
    let built = wheel(space.path(), name, entries, hour);
    let folder = space.path().join("files");
    fs::create_dir(&folder).unwrap();
    let normalised = normalise(&built, &folder, Some("00ff")).map_err(|error| error.to_string())?;
    let text = |entry: &PackFile| fs::read_to_string(&entry.source).unwrap();
    let files = normalised.files.iter();
    let mut files: Vec<_> = files
        .map(|entry| (entry.path.clone(), text(entry)))
        .collect();
    files.push((normalised.name.to_string(), String::new()));
    Ok(files)
}

#[test]
fn name_folders_metadata_and_record_agree() {
    let name = "My.Lib-1.0-py3-none-any.whl";
    let files = normal(&entries(), name, 7).unwrap();
    let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "my_lib-1.0+00ff.data/scripts/tool",
            "my_lib-1.0+00ff.dist-info/METADATA",
            "my_lib-1.0+00ff.dist-info/RECORD",
            "my_lib-1.0+00ff.dist-info/WHEEL",
            "my_lib/__init__.py",
            "my_lib/b, c.py",
            "my_lib-1.0+00ff-py3-none-any.whl",
        ]
    );
    // One line changes, the body and the ends of lines stay.
    assert_eq!(
        files[1].1,
        META.replace("Version: 1.0\r", "Version: 1.0+00ff\r")
    );
    assert_eq!(
        files[3].1,
        "Wheel-Version: 1.0\nGenerator: synapse\nTag: py3-none-any\n"
    );
    let record: Vec<&str> = files[2].1.lines().collect();
    assert_eq!(record.len(), 6);
    assert_eq!(record[5], "my_lib-1.0+00ff.dist-info/RECORD,,");
    assert_eq!(
        record[3],
        "my_lib/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0"
    );
    assert!(record[4].starts_with("\"my_lib/b, c.py\",sha256="));
    let mut other = entries();
    other.reverse();
    assert_eq!(normal(&other, name, 19).unwrap(), files);
}

#[test]
fn wheels_that_contradict_themselves_are_refused() {
    let name = "My.Lib-1.0-py3-none-any.whl";
    let refused = |entries: &[(&str, &str)], name: &str| normal(entries, name, 1).unwrap_err();
    assert!(refused(&entries(), "other-1.0-py3-none-any.whl").contains("another name"));
    assert!(refused(&entries(), "My.Lib-2.0-py3-none-any.whl").contains("another version"));
    assert!(refused(&entries(), "My.Lib.whl").contains("no name of a wheel"));
    let without = |gone: &str| {
        let mut left = entries();
        left.retain(|(path, _)| !path.ends_with(gone));
        left
    };
    assert!(refused(&without("/METADATA"), name).contains("no METADATA"));
    assert!(refused(&without("/WHEEL"), name).contains("no WHEEL"));
    let mut two = entries();
    two.push(("other-1.0.dist-info/METADATA", META));
    assert!(refused(&two, name).contains("several"));
    assert!(refused(&[("a.py", "")], name).contains("no .dist-info"));
    let mut out = entries();
    out.push(("../escape.py", ""));
    assert!(refused(&out, name).contains("escape.py"));
}
