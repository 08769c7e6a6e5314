//! Owns what a folder's layout says: the format of a dataset, and its splits.

use globset::GlobBuilder;

use super::DatasetError;

/// Formats that a dataset may have.
pub const FORMATS: [&str; 5] = ["yolo", "coco", "pascal_voc", "dm_v1", "dm_v2"];

/// Formats under the names that people give them.
const ALIASES: [(&str, &str); 6] = [
    ("pascal", "pascal_voc"),
    ("voc", "pascal_voc"),
    ("pascalvoc", "pascal_voc"),
    ("pascal-voc", "pascal_voc"),
    ("yolov8", "yolo"),
    ("dm", "dm_v2"),
];

/// Splits by the names of their folders.
const FOLDERS: [(&str, &str); 6] = [
    ("train", "train"),
    ("training", "train"),
    ("val", "val"),
    ("valid", "val"),
    ("validation", "val"),
    ("test", "test"),
];

/// A format under its one name, when it is one.
pub(crate) fn canonical(given: &str) -> Option<&'static str> {
    let given = given.to_ascii_lowercase();
    let alias = ALIASES.iter().find(|(alias, _)| *alias == given);
    let name = alias.map_or(given.as_str(), |(_, name)| name);
    FORMATS.into_iter().find(|format| *format == name)
}

/// The format that the paths tell, if they tell one. `read` gives the text of a file; many a
/// folder has a `dataset.yaml`, and only its keys say that it is YOLO's.
pub(crate) fn format(
    paths: &[&str],
    read: &dyn Fn(&str) -> Option<String>,
) -> Option<&'static str> {
    let any = |fits: &dyn Fn(&str) -> bool| paths.iter().any(|path| fits(path));
    let folder = |path: &str, name: &str| path.split('/').rev().skip(1).any(|part| part == name);
    let ends = |path: &str, end: &str| path.to_ascii_lowercase().ends_with(end);
    let described = |path: &str| {
        let named = matches!(
            path,
            "dataset.yaml" | "data.yaml" | "dataset.yml" | "data.yml"
        );
        named && read(path).is_some_and(|text| describes_yolo(&text))
    };
    let labelled = any(&|path| folder(path, "labels") && ends(path, ".txt"))
        && any(&|path| folder(path, "images"));
    if labelled || any(&described) {
        Some("yolo")
    } else if any(&|path| folder(path, "Annotations") && ends(path, ".xml")) {
        Some("pascal_voc")
    } else if any(&|path| folder(path, "annotations") && ends(path, ".json")) {
        Some("coco")
    } else {
        None
    }
}

/// Whether a YAML text has the keys by which YOLO describes a dataset: what the classes are
/// called, and where the images lie.
fn describes_yolo(text: &str) -> bool {
    let Ok(serde_yaml::Value::Mapping(keys)) = serde_yaml::from_str(text) else {
        return false;
    };
    let has = |name: &str| keys.contains_key(name);
    has("names") && ["train", "val", "test"].into_iter().any(has)
}

/// The split of each path, by the names of the folders that it is in.
pub(crate) fn found_splits(paths: &[&str]) -> Vec<Option<String>> {
    let of = |path: &&str| {
        let (folders, _) = path.rsplit_once('/')?;
        folders.split('/').find_map(split_of).map(str::to_owned)
    };
    paths.iter().map(of).collect()
}

/// The split that a folder's name stands for. COCO adds the year: `train2017`.
fn split_of(folder: &str) -> Option<&'static str> {
    let name = folder.to_ascii_lowercase();
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let stem = if digits == 4 {
        &name[..name.len() - 4]
    } else {
        &name
    };
    let found = FOLDERS.iter().find(|(own, _)| *own == stem);
    found.map(|(_, split)| *split)
}

/// The split of each path, by given patterns: a folder or file, or a glob.
pub(crate) fn given_splits(
    paths: &[&str],
    splits: &[(String, String)],
) -> Result<Vec<Option<String>>, DatasetError> {
    let mut found: Vec<Option<String>> = vec![None; paths.len()];
    for (split, pattern) in splits {
        let wrong = |why: &str| DatasetError::Pattern {
            split: split.clone(),
            pattern: pattern.clone(),
            why: why.to_owned(),
        };
        let plain = pattern.trim_end_matches('/');
        let plain = plain.strip_prefix("./").unwrap_or(plain);
        if pattern.starts_with('/') || plain.split('/').any(|part| part == "..") {
            return Err(wrong("it leads out of the folder"));
        }
        if plain.is_empty() {
            return Err(wrong("it is empty"));
        }
        let below = |path: &str| {
            let rest = path.strip_prefix(plain);
            plain == "." || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let is_glob = plain.contains(['*', '?', '[', '{']);
        let matches: Vec<bool> = if is_glob && !paths.iter().any(|path| below(path)) {
            let glob = GlobBuilder::new(plain).literal_separator(true).build();
            let glob = glob.map_err(|error| wrong(&error.kind().to_string()))?;
            let glob = glob.compile_matcher();
            paths.iter().map(|path| glob.is_match(path)).collect()
        } else {
            paths.iter().map(|path| below(path)).collect()
        };
        if !matches.contains(&true) {
            return Err(DatasetError::NoMatch {
                split: split.clone(),
                pattern: pattern.clone(),
            });
        }
        for (index, _) in matches.iter().enumerate().filter(|(_, fits)| **fits) {
            match &found[index] {
                Some(first) if first != split => {
                    return Err(DatasetError::TwoSplits {
                        path: paths[index].to_owned(),
                        first: first.clone(),
                        second: split.clone(),
                    });
                }
                _ => found[index] = Some(split.clone()),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_layout() {
        let cases: [(&[&str], Option<&str>); 9] = [
            (&["dataset.yaml", "x/a.jpg"], Some("yolo")),
            (&["data.yaml", "x/a.jpg"], None),
            (&["images/train/a.jpg", "labels/train/a.txt"], Some("yolo")),
            (&["train/images/a.jpg", "train/labels/a.txt"], Some("yolo")),
            (
                &["annotations/instances_val2017.json", "val2017/1.jpg"],
                Some("coco"),
            ),
            (
                &["Annotations/a.xml", "JPEGImages/a.jpg"],
                Some("pascal_voc"),
            ),
            (&["VOC2012/Annotations/a.xml"], Some("pascal_voc")),
            (&["cat/1.jpg", "dog/1.jpg"], None),
            (&["labels.txt", "sub/data.yaml"], None),
        ];
        for (paths, expected) in cases {
            let read = |path: &str| {
                let yolo = "path: .\ntrain: x\nnames:\n  0: cat\n";
                let other = "path: .\ntrain: points.csv\n";
                Some(if path == "dataset.yaml" { yolo } else { other }.to_owned())
            };
            assert_eq!(format(paths, &read), expected, "{paths:?}");
            let nothing = format(&["dataset.yaml"], &|_| None);
            assert_eq!(nothing, None, "it cannot be read");
        }
        for (text, is_yolo) in [
            ("train: a\nval: b\nnc: 1\nnames: [cat]\n", true),
            ("names: [cat]\n", false),
            ("train: a\nval: b\n", false),
            ("- names\n- train\n", false),
            ("names: [\n", false),
            ("", false),
        ] {
            assert_eq!(describes_yolo(text), is_yolo, "{text}");
        }
        assert_eq!(canonical("Pascal"), Some("pascal_voc"));
        assert_eq!(canonical("DM_v2"), Some("dm_v2"));
        assert_eq!(canonical("bogus"), None);
    }

    #[test]
    fn splits_are_known_by_their_folders() {
        let of = |path: &str| found_splits(&[path])[0].clone();
        assert_eq!(of("images/train/a.jpg").as_deref(), Some("train"));
        assert_eq!(of("valid/images/a.jpg").as_deref(), Some("val"));
        assert_eq!(of("val2017/1.jpg").as_deref(), Some("val"));
        assert_eq!(of("Test/a").as_deref(), Some("test"));
        for none in [
            "train",
            "train.txt",
            "images/a.jpg",
            "trainer/a",
            "train20170/a",
            "2017/a",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    fn given(patterns: &[(&str, &str)]) -> Result<Vec<Option<String>>, String> {
        let paths = ["a/1.jpg", "a/1.txt", "a/b/2.jpg", "ab/3.jpg", "[x]/4.jpg"];
        let patterns: Vec<_> = patterns
            .iter()
            .map(|(name, pattern)| ((*name).to_owned(), (*pattern).to_owned()))
            .collect();
        given_splits(&paths, &patterns).map_err(|error| error.to_string())
    }

    #[test]
    fn patterns_are_folders_or_globs() {
        let marks = |found: Vec<Option<String>>| -> String {
            found
                .iter()
                .map(|split| split.as_deref().unwrap_or("-"))
                .collect()
        };
        assert_eq!(marks(given(&[("t", "a")]).unwrap()), "ttt--");
        assert_eq!(marks(given(&[("t", "./a/")]).unwrap()), "ttt--");
        assert_eq!(marks(given(&[("t", "a/*.jpg")]).unwrap()), "t----");
        assert_eq!(marks(given(&[("t", "**/*.jpg")]).unwrap()), "t-ttt");
        assert_eq!(
            marks(given(&[("t", "a/b"), ("v", "ab"), ("t", "[x]")]).unwrap()),
            "--tvt"
        );
        assert_eq!(marks(given(&[("t", ".")]).unwrap()), "ttttt");
        for (patterns, text) in [
            (&[("t", "c")][..], "no file matches \"c\" of split t"),
            (&[("t", "*.png")], "no file matches \"*.png\" of split t"),
            (
                &[("t", "a"), ("v", "a/b")],
                "a/b/2.jpg is in two splits, t and v",
            ),
            (
                &[("t", "../a")],
                "the pattern \"../a\" of split t cannot be read: it leads out of the folder",
            ),
            (
                &[("t", "")],
                "the pattern \"\" of split t cannot be read: it is empty",
            ),
        ] {
            assert_eq!(given(patterns).unwrap_err(), text);
        }
        assert!(
            given(&[("t", "a/[")])
                .unwrap_err()
                .contains("cannot be read")
        );
    }
}
