//! Owns the list of the files below `templates`, which the crate carries.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// What tools leave behind where they are tried on a template.
const JUNK: [&str; 4] = ["__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("no manifest folder")?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no output folder")?);
    for watched in ["build.rs", "templates"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    let mut paths = Vec::new();
    list(&root.join("templates"), &mut paths)?;
    paths.sort();
    let mut source = String::from(
        "/// Template, path in it, content, and whether it is executable.\n\
         static FILES: &[(&str, &str, &[u8], bool)] = &[\n",
    );
    for path in paths {
        let below = path.strip_prefix(root.join("templates"))?;
        let name = below.to_str().ok_or("a name that is not UTF-8")?;
        let (template, inner) = name.split_once('/').ok_or("a file outside of templates")?;
        let executable = fs::metadata(&path)?.permissions().mode() & 0o111 != 0;
        writeln!(
            source,
            "    ({template:?}, {inner:?}, include_bytes!({:?}), {executable}),",
            path.display().to_string()
        )?;
    }
    source.push_str("];\n");
    fs::write(out.join("templates.rs"), source)?;
    Ok(())
}

fn list(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let junk = JUNK.iter().any(|junk| entry.file_name() == *junk);
        if entry.file_type()?.is_dir() {
            if !junk {
                list(&entry.path(), paths)?;
            }
        } else {
            paths.push(entry.path());
        }
    }
    Ok(())
}
