//! The structure holds: a module imports only from floors below its own, SQL is put together in one
//! module only, and what `sql/` holds is used.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up; modules of one floor may use each other.
const FLOORS: &[&[&str]] = &[
    &["model"],
    &["sql", "digest", "tables"],
    &[
        "column_types",
        "csv_text",
        "document",
        "forecast",
        "hazards",
        "health",
        "journal",
        "ledger",
        "manifest",
        "settings",
        "summary",
        "turns",
    ],
    &["effects"],
    &["run_dir", "ctx", "freezes", "rehearsals"],
    &["phases"],
    &["commands"],
    &["cli"],
    &["main"],
];

fn sources() -> Vec<(String, PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    let module = |path: &Path| {
        let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_string()
    };
    files.into_iter().map(|p| (module(&p), p.clone(), fs::read_to_string(p).unwrap())).collect()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The modules of this crate that a source file names, with the line.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(n, l)| (n + 1, l)) {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for start in ["crate::", "xtask::"] {
            for (at, _) in line.match_indices(start) {
                let rest = &line[at + start.len()..];
                let names: Vec<&str> = match rest.strip_prefix('{') {
                    Some(group) => group.split(',').collect(),
                    None => vec![rest],
                };
                for name in names {
                    let name = name.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                    found.push((number, name.to_string()));
                }
            }
        }
    }
    found
}

#[test]
fn no_module_imports_upwards() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (module, path, text) in sources() {
        if module == "lib" {
            continue;
        }
        let own = floor(&module)
            .unwrap_or_else(|| panic!("{} stands on no floor: add it to FLOORS", path.display()));
        for (line, name) in imports(&text) {
            if let Some(other) = floor(&name) {
                seen += 1;
                if other > own {
                    wrong.push(format!(
                        "{}:{line}: {module} imports {name}, which stands above it",
                        path.display()
                    ));
                }
            }
        }
    }
    assert!(seen > 50, "the test does not see the imports any more");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_upward_import_would_be_seen() {
    let found = imports("use crate::phases::p1_backup;\nuse crate::{model, commands};\n// crate::cli\n");
    let names: Vec<&str> = found.iter().map(|(_, n)| n.as_str()).collect();
    assert_eq!(names, ["phases", "model", "commands"]);
}

#[test]
fn every_sql_file_is_used() {
    fn walk(folder: &Path, found: &mut BTreeSet<String>, root: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found, root);
            } else if path.extension().is_some_and(|e| e == "sql") {
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_string());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("sql");
    let mut files = BTreeSet::new();
    walk(&root, &mut files, &root);
    let code: String = sources().into_iter().map(|(_, _, text)| text).collect();
    let tables: Vec<&str> = xtask::tables::TABLES.iter().map(|t| t.name).collect();
    let used = |file: &String| {
        let of_table = tables.iter().any(|t| {
            *file == format!("tables/{t}/2-export.sql") || *file == format!("tables/{t}/2-audit.sql")
        });
        let of_hazard = xtask::hazards::HAZARDS.iter().any(|h| h.file().is_some_and(|f| f.path == file));
        of_table || of_hazard || code.contains(&format!("\"{file}\""))
    };
    let unused: Vec<&String> = files.iter().filter(|f| !used(f)).collect();
    assert!(unused.is_empty(), "nobody uses {unused:?}");
}

#[test]
fn sql_is_put_together_in_one_module() {
    let verbs = [
        "SELECT", "INSERT", "UPDATE", "DELETE", "COPY", "CREATE", "DROP", "ALTER", "LOCK", "ANALYZE", "SET",
        "WITH",
    ];
    let mut wrong = Vec::new();
    // The fixture's one setting is a number.
    let allowed = ["SET seed.scale = '{scale}'", "SELECT pg_catalog.setval('public.{name}'"];
    for (module, path, text) in sources().into_iter().filter(|(m, _, _)| m != "sql") {
        for (at, _) in text.match_indices("format!(\"") {
            let put_together = &text[at + "format!(\"".len()..];
            let verb = put_together.split(' ').next().unwrap();
            if verbs.contains(&verb) && !allowed.iter().any(|a| put_together.starts_with(a)) {
                let line = text[..at].lines().count();
                wrong.push(format!("{}:{line}: {module} puts SQL together: {verb} …", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
