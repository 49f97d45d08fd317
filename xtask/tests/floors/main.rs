//! The structure holds: a file imports only from its own floor and those below, no files import each other
//! in a circle, none is too long, nor is a function; SQL is put together in one module only, and what
//! `sql/` holds is used.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// From the ground up: files and folders of `xtask/src`. Those of one floor may use each other, as long as
/// there is no circle.
const FLOORS: &[&[&str]] = &[
    &[
        "findings.rs",
        "forecast.rs",
        "hazards.rs",
        "health.rs",
        "identity.rs",
        "journal.rs",
        "ledger.rs",
        "model.rs",
        "remembered.rs",
        "shown.rs",
        "sql_text.rs",
        "steps.rs",
        "tables.rs",
        "timing.rs",
    ],
    &["settings.rs", "settings/", "sql/"],
    &["effects/"],
    &["run/"],
    &["changes/", "source/", "stores/", "servers/"],
    &["phases/"],
    &["checks/"],
    &["operations/", "guide/"],
    &["lab/"],
    &["session/"],
    &["commands/"],
    &["cli/"],
    &["lib.rs", "main.rs"],
];

/// Lines of a file without its tests.
const LONGEST_FILE: usize = 450;
/// Lines of a function, from its `fn` to its closing brace.
const LONGEST_FUNCTION: usize = 60;

/// Files by their path below `src`, as they are.
type Files = BTreeMap<String, String>;

/// Where a file imports from which.
struct Import {
    from: String,
    line: usize,
    to: String,
}

// ---- Reading

fn sources(folder: &str) -> Files {
    fn walk(folder: &Path, found: &mut Files, root: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found, root);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_string();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Files::new();
    walk(&root, &mut files, &root);
    files
}

/// A file without what is for its tests: the module at its end, which rustfmt closes in the first column.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {").map_or(text, |at| text[..at].trim_end())
}

/// Files that are modules of tests, declared as such by their parents, and what is in their folders.
fn is_for_tests(files: &Files, name: &str) -> bool {
    let declared = |(parent, text): (&String, &String)| {
        let folder = module(parent).join("/");
        let own = if folder.is_empty() { "tests".to_string() } else { format!("{folder}/tests") };
        let ours = name == format!("{own}.rs") || name.starts_with(&format!("{own}/"));
        ours && text.contains("#[cfg(test)]\nmod tests;")
    };
    files.iter().any(declared)
}

/// The code with blanks in place of comments and of what strings and characters hold; lines stay.
fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let blank = |out: &mut String, part: &[char]| {
        out.extend(part.iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
    };
    while at < chars.len() {
        let rest = &chars[at..];
        let before = at.checked_sub(1).map(|i| chars[i]);
        let fresh = !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let length = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => comment(rest),
            ['"', ..] => string(rest),
            ['r', '"' | '#', ..] if fresh => raw_string(&rest[1..]).map_or(0, |n| n + 1),
            ['b', 'r', '"' | '#', ..] if fresh => raw_string(&rest[2..]).map_or(0, |n| n + 2),
            // A lifetime has no second quote.
            ['\'', '\\', _, more @ ..] => more.iter().position(|c| *c == '\'').map_or(0, |n| n + 4),
            ['\'', _, '\'', ..] => 3,
            _ => 0,
        };
        if length == 0 {
            out.push(chars[at]);
            at += 1;
        } else {
            blank(&mut out, &rest[..length]);
            at += length;
        }
    }
    out
}

/// Comments of this kind stand in each other.
fn comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        match rest[at..] {
            [] => return at,
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// From its first `#` or quote.
fn raw_string(rest: &[char]) -> Option<usize> {
    let marks = rest.iter().take_while(|c| **c == '#').count();
    if rest.get(marks) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', marks)).collect();
    let after = &rest[marks + 1..];
    let inside = after.windows(end.len()).position(|w| w == end).unwrap_or(after.len());
    Some((marks + 1 + inside + end.len()).min(rest.len()))
}

/// Words, `::`, and single signs, each with its line.
fn tokens(code: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = match first {
                c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                _ if rest.starts_with("::") => 2,
                c => c.len_utf8(),
            };
            found.push((number + 1, rest[..length].to_string()));
            rest = rest[length..].trim_start();
        }
    }
    found
}

/// `sql/mod.rs` → `[sql]`, `sql/rows.rs` → `[sql, rows]`, `lib.rs` → `[]`.
fn module(file: &str) -> Vec<String> {
    let mut parts: Vec<String> = file.trim_end_matches(".rs").split('/').map(String::from).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// The file of the longest module at the start of a path from the crate's root; none for the root itself.
fn resolve<'a>(files: &'a Files, path: &[String]) -> Option<&'a str> {
    let named = |length: usize| {
        let name = path[..length].join("/");
        let candidates = [format!("{name}.rs"), format!("{name}/mod.rs")];
        candidates.iter().find_map(|c| files.get_key_value(c)).map(|(file, _)| file.as_str())
    };
    let exported = |(_, text): &(&String, &String)| {
        let macro_of = |name: &String| text.contains(&format!("#[macro_export]\nmacro_rules! {name} {{"));
        path.first().is_some_and(macro_of)
    };
    (1..=path.len())
        .rev()
        .find_map(named)
        .or_else(|| files.iter().find(exported).map(|(file, _)| file.as_str()))
}

/// A path in a file, seen from the crate's root. `names`: what the file's own modules and imports are.
fn absolute(path: &[String], own: &[String], names: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
    let mut base = own.to_vec();
    match path[0].as_str() {
        // main.rs and the tests see the library by its name.
        "crate" | "xtask" => base.clear(),
        "self" => {}
        "super" => {
            let up = path.iter().take_while(|p| *p == "super").count();
            base.truncate(own.len().checked_sub(up)?);
            return Some([base, path[up..].to_vec()].concat());
        }
        name => return names.get(name).map(|known| [known.clone(), path[1..].to_vec()].concat()),
    }
    Some([base, path[1..].to_vec()].concat())
}

/// The leaves of a tree of imports: path and the name that it gets. `at`: behind `use`; ends at the
/// semicolon.
fn leaves(tokens: &[(usize, String)], at: &mut usize, before: &[String]) -> Vec<(Vec<String>, String)> {
    let mut path = before.to_vec();
    loop {
        let word = tokens[*at].1.as_str();
        match word {
            "{" => {
                *at += 1;
                let mut all = Vec::new();
                while tokens[*at].1 != "}" {
                    all.extend(leaves(tokens, at, &path));
                    if tokens[*at].1 == "," {
                        *at += 1;
                    }
                }
                *at += 1;
                return all;
            }
            "as" => {
                let name = tokens[*at + 1].1.clone();
                *at += 2;
                return vec![(path, name)];
            }
            "," | ";" | "}" => {
                let name = path.last().cloned().unwrap_or_default();
                return vec![(path, name)];
            }
            "::" => {}
            // In a group `self` is what stands before it.
            "self" if !path.is_empty() => {}
            word => path.push(word.to_string()),
        }
        *at += 1;
    }
}

/// Every path in a file that may be one of modules, from the crate's root, with its line.
fn paths(file: &str, text: &str) -> Vec<(usize, Vec<String>)> {
    let tokens = tokens(&code(without_tests(text)));
    let mut own = module(file);
    // What braces are open: with the name of a module, or others.
    let mut open: Vec<bool> = Vec::new();
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for window in tokens.windows(3) {
        if let [(_, word), (_, name), (_, end)] = window
            && word == "mod"
            && end == ";"
        {
            names.insert(name.clone(), [own.clone(), vec![name.clone()]].concat());
        }
    }
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let (line, word) = (tokens[at].0, tokens[at].1.as_str());
        let next = tokens.get(at + 1).map(|(_, t)| t.as_str());
        let before = at.checked_sub(1).map(|i| tokens[i].1.as_str());
        match word {
            "use" if next != Some("<") => {
                at += 1;
                for (path, name) in leaves(&tokens, &mut at, &[]) {
                    if let Some(path) = absolute(&path, &own, &names) {
                        names.insert(name, path.clone());
                        found.push((line, path));
                    }
                }
                continue;
            }
            "{" => {
                let named = at >= 2 && tokens[at - 2].1 == "mod";
                if named {
                    own.push(tokens[at - 1].1.clone());
                }
                open.push(named);
            }
            "}" => own.truncate(own.len() - usize::from(open.pop() == Some(true))),
            word if next == Some("::") && !matches!(before, Some("::" | ".")) => {
                let mut path = vec![word.to_string()];
                while tokens.get(at + 1).is_some_and(|(_, t)| t == "::")
                    && tokens.get(at + 2).is_some_and(|(_, t)| t.starts_with(|c: char| c.is_alphabetic()))
                {
                    path.push(tokens[at + 2].1.clone());
                    at += 2;
                }
                found.extend(absolute(&path, &own, &names).map(|path| (line, path)));
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn imports(files: &Files) -> Vec<Import> {
    let mut found = Vec::new();
    for (file, text) in files.iter().filter(|(file, _)| !is_for_tests(files, file)) {
        for (line, path) in paths(file, text) {
            if let Some(to) = resolve(files, &path).filter(|to| to != file) {
                found.push(Import { from: file.clone(), line, to: to.to_string() });
            }
        }
    }
    found
}

// ---- The rules, each a list of what breaks it

fn floor(file: &str) -> Option<usize> {
    let holds = |part: &&str| *part == file || (part.ends_with('/') && file.starts_with(*part));
    FLOORS.iter().position(|floor| floor.iter().any(holds))
}

fn upward(files: &Files) -> Vec<String> {
    let homeless = files.keys().filter(|file| floor(file).is_none());
    let mut wrong: Vec<String> = homeless.map(|f| format!("{f} is on no floor: add it to FLOORS")).collect();
    for Import { from, line, to } in imports(files) {
        if floor(&from).zip(floor(&to)).is_some_and(|(own, other)| other > own) {
            wrong.push(format!("{from}:{line}: imports {to}, which is on a higher floor"));
        }
    }
    wrong
}

/// Sets of files of which each reaches every other, with the imports between them.
fn circles(files: &Files) -> Vec<String> {
    let imports = imports(files);
    let mut to: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for import in &imports {
        to.entry(&import.from).or_default().insert(&import.to);
    }
    let reached = |start: &str| {
        let mut found: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = to.get(start).into_iter().flatten().copied().collect();
        while let Some(file) = open.pop() {
            if found.insert(file) {
                open.extend(to.get(file).into_iter().flatten());
            }
        }
        found
    };
    let reach: BTreeMap<&str, BTreeSet<&str>> = to.keys().map(|file| (*file, reached(file))).collect();
    let mut circles: BTreeSet<Vec<&str>> = BTreeSet::new();
    for (file, others) in reach.iter().filter(|(file, others)| others.contains(*file)) {
        let back = |other: &&&str| reach.get(**other).is_some_and(|others| others.contains(file));
        circles.insert(others.iter().filter(back).copied().collect());
    }
    let described = |circle: Vec<&str>| {
        let within =
            imports.iter().filter(|i| circle.contains(&i.from.as_str()) && circle.contains(&i.to.as_str()));
        let lines: BTreeSet<String> =
            within.map(|i| format!("\n    {}:{} imports {}", i.from, i.line, i.to)).collect();
        format!("a circle of {} files:{}", circle.len(), lines.into_iter().collect::<String>())
    };
    circles.into_iter().map(described).collect()
}

fn long_files(files: &Files) -> Vec<String> {
    let lines = files.iter().filter(|(file, _)| !is_for_tests(files, file));
    let lines = lines.map(|(file, text)| (file, without_tests(text).lines().count()));
    let long = lines.filter(|(_, lines)| *lines > LONGEST_FILE);
    long.map(|(file, lines)| format!("{file} has {lines} lines, {LONGEST_FILE} are allowed")).collect()
}

fn long_functions(files: &Files) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, text) in files.iter().filter(|(file, _)| !is_for_tests(files, file)) {
        let code = code(without_tests(text));
        let lines: Vec<&str> = code.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(name) = function(line) else { continue };
            let length = length(&lines[at..]);
            if length > LONGEST_FUNCTION {
                let at = at + 1;
                wrong.push(format!("{file}:{at}: {name} has {length} lines, {LONGEST_FUNCTION} are allowed"));
            }
        }
    }
    wrong
}

/// The name of the function that begins in this line.
fn function(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let word = |w: &str| matches!(w, "async" | "const" | "unsafe" | "extern") || w.starts_with("pub");
    let is_one = before.is_empty() || (before.ends_with(' ') && before.split_whitespace().all(word));
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (is_one && end > 0).then_some(&after[..end])
}

/// Lines to the closing brace, which rustfmt puts below the beginning; 1 where there is no body, or one in
/// the same line.
fn length(lines: &[&str]) -> usize {
    let indent = lines[0].len() - lines[0].trim_start().len();
    let end = format!("{}}}", " ".repeat(indent));
    let mut body = false;
    for (at, line) in lines.iter().enumerate() {
        let line = line.trim_end();
        body |= line.contains('{');
        let short = at == 0 && body && line.ends_with('}');
        if short || *line == end || (!body && line.ends_with(';')) {
            return at + 1;
        }
    }
    lines.len()
}

// ---- What is there keeps them

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_imports_upwards() {
    let files = sources("src");
    assert!(imports(&files).len() > 500, "the test does not see the imports any more");
    none(&upward(&files));
}

#[test]
fn no_circle_between_files() {
    none(&circles(&sources("src")));
}

#[test]
fn no_file_is_too_long() {
    none(&long_files(&sources("src")));
}

#[test]
fn no_function_is_too_long() {
    none(&long_functions(&sources("src")));
}

#[test]
fn the_data_path_stands_by_itself() {
    let files = sources("datapath/src");
    let above = files.iter().flat_map(|(file, text)| {
        let tokens = tokens(&code(text)).into_iter();
        tokens.filter(|(_, word)| word == "xtask").map(move |(line, _)| format!("{file}:{line} names xtask"))
    });
    none(&above.collect::<Vec<_>>());
    assert!(imports(&files).len() > 10, "the test does not see the imports any more");
    none(&circles(&files));
}

/// Files of the product that could overwrite what others have written to Firestore. The lab makes room in
/// emulators of its own.
fn overwriting(files: &Files) -> Vec<String> {
    let product = files.iter().filter(|(file, _)| !file.starts_with("lab/"));
    let named = product.flat_map(|(file, text)| {
        let tokens = tokens(&code(text)).into_iter().filter(|(_, word)| word == "Unconditional");
        tokens.map(move |(line, _)| format!("{file}:{line} writes to Firestore whatever stands there"))
    });
    named.collect()
}

#[test]
fn nothing_is_written_to_firestore_without_a_condition() {
    none(&overwriting(&sources("src")));
}

/// Files that start programs by themselves, their tests too. `effects` alone does it: there children end
/// with us, and nothing ambient is passed on to them.
fn starting_programs(files: &Files) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, text) in files.iter().filter(|(file, _)| !file.starts_with("effects/")) {
        let tokens = tokens(&code(text));
        let words: Vec<&str> = tokens.iter().map(|(_, word)| word.as_str()).collect();
        for (at, (line, word)) in tokens.iter().enumerate() {
            let starts = match word.as_str() {
                "CommandExt" | "duct" | "xshell" => true,
                // One of the standard library's or tokio's, by whatever name it has been imported.
                "Command" => words[at + 1..].starts_with(&["::", "new"]),
                "process" => imports_command(&words[at + 1..]),
                _ => false,
            };
            if starts {
                wrong.push(format!("{file}:{line} starts programs: effects/process and effects/chores do"));
            }
        }
    }
    wrong
}

/// Whether `Command` is among what is named behind `process`: alone or in a group.
fn imports_command(after: &[&str]) -> bool {
    match after {
        ["::", "Command", ..] => true,
        ["::", "{", group @ ..] => {
            group.iter().take_while(|word| **word != "}").any(|word| *word == "Command")
        }
        _ => false,
    }
}

#[test]
fn programs_are_started_in_one_way() {
    none(&starting_programs(&sources("src")));
    none(&starting_programs(&sources("datapath/src")));
}

// ---- What would break them is seen

#[test]
fn a_program_started_by_hand_would_be_seen() {
    for text in [
        "fn f() {\n    Command::new(\"ls\");\n}\n",
        "fn f() {\n    std::process::Command::new(\"ls\");\n}\n",
        "\nuse std::process::{Child, Command as Program};\n",
        "\nuse tokio::process::Command as Program;\n",
        "\nuse duct::cmd;\n",
        "mod tests {\n    use xshell::cmd;\n}\n",
    ] {
        let wrong = starting_programs(&made_up(&[("lab/usage.rs", text), ("effects/process.rs", text)]));
        let seen = wrong.iter().all(|w| w.starts_with("lab/usage.rs:2 starts programs"));
        assert!(seen && !wrong.is_empty(), "{text}: {wrong:?}");
    }
    let others = "use crate::journal::Command;\nuse std::process::{ExitStatus, id};\n// Command::new(\"ls\")\n\
                  const A: &str = \"Command::new\";\nuse crate::effects::process::Program;\n";
    assert_eq!(starting_programs(&made_up(&[("lab/usage.rs", others)])), Vec::<String>::new());
}

#[test]
fn a_write_without_a_condition_would_be_seen() {
    let import = "use datapath::firestore::{Firestore, Unconditional};\n";
    let files = made_up(&[("phases/p1.rs", import), ("lab/p1.rs", import), ("model.rs", "// Unconditional")]);
    assert_eq!(overwriting(&files), ["phases/p1.rs:1 writes to Firestore whatever stands there"]);
}

fn made_up(files: &[(&str, &str)]) -> Files {
    files.iter().map(|(file, text)| (file.to_string(), text.to_string())).collect()
}

/// What breaks a rule, in files one of which is `model.rs` with this text.
fn above_model(text: &str) -> Vec<String> {
    upward(&made_up(&[
        ("model.rs", text),
        ("journal.rs", ""),
        ("phases/mod.rs", "pub mod p1;\npub fn run() {}\n#[macro_export]\nmacro_rules! halt {\n}\n"),
        ("phases/p1/mod.rs", "pub mod deep;\n"),
        ("phases/p1/deep.rs", ""),
    ]))
}

#[test]
fn an_upward_import_would_be_seen() {
    for (text, to) in [
        ("use crate::phases::p1;\n", "phases/p1/mod.rs"),
        ("use super::phases::run;\n", "phases/mod.rs"),
        (
            "use crate::{\n    journal,\n    phases::{p1::{deep::Thing as Other, self}},\n};\n",
            "phases/p1/deep.rs",
        ),
        ("fn f() -> crate::phases::p1::deep::Thing {\n    todo!()\n}\n", "phases/p1/deep.rs"),
        ("mod inner {\n    use super::super::phases;\n}\n", "phases/mod.rs"),
        ("use crate::halt;\n", "phases/mod.rs"),
        ("const A: &str = \"// no comment\"; use crate::phases;\n", "phases/mod.rs"),
    ] {
        let wrong = above_model(text);
        assert!(wrong.iter().any(|w| w.starts_with("model.rs:") && w.contains(to)), "{text}: {wrong:?}");
    }
    let aliased = above_model("use crate::phases::p1 as one;\nfn f() {\n    one::deep::f();\n}\n");
    assert!(aliased.iter().any(|w| w.contains("model.rs:3") && w.contains("deep.rs")), "{aliased:?}");
}

#[test]
fn what_is_no_import_is_not_taken_for_one() {
    for text in [
        "// use crate::phases;\n/* crate::phases::run() /* */ crate::phases */\n",
        "const A: &str = \"crate::phases::run\";\nconst B: &str = r#\"\"use crate::phases;\"#;\nconst C: char = '\"';\n",
        "use crate::journal;\n\n#[cfg(test)]\nmod tests {\n    use crate::phases;\n}\n",
        "fn f<'a>(phases: &'a str) -> &'a str {\n    phases\n}\n",
    ] {
        assert_eq!(above_model(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_file_on_no_floor_is_named() {
    let wrong = upward(&made_up(&[("model.rs", ""), ("attic.rs", "")]));
    assert_eq!(wrong, ["attic.rs is on no floor: add it to FLOORS"]);
}

#[test]
fn a_circle_would_be_seen() {
    let two = circles(&made_up(&[
        ("sql/mod.rs", "mod rows;\npub use rows::Rows;\npub fn list() {}\n"),
        ("sql/rows.rs", "use super::list;\n"),
    ]));
    assert!(two.len() == 1 && two[0].starts_with("a circle of 2 files"), "{two:?}");

    let called = circles(&made_up(&[
        ("sql/mod.rs", "mod rows;\npub fn f() {\n    rows::f();\n}\n"),
        ("sql/rows.rs", "pub fn f() {\n    super::f();\n}\n"),
    ]));
    assert!(called.len() == 1 && called[0].contains("sql/rows.rs:2 imports sql/mod.rs"), "{called:?}");

    let three = circles(&made_up(&[
        ("run/a.rs", "use super::b::B;\n"),
        ("run/b.rs", "use crate::run::{c::C};\n"),
        ("run/c.rs", "fn f() {\n    crate::run::a::f();\n}\n"),
        ("run/mod.rs", "pub mod a;\npub mod b;\npub mod c;\n"),
    ]));
    assert!(three.len() == 1 && three[0].starts_with("a circle of 3 files"), "{three:?}");

    let none =
        made_up(&[("sql/mod.rs", "mod rows;\npub use rows::*;\n"), ("sql/rows.rs", "use crate::model;\n")]);
    assert_eq!(circles(&none), Vec::<String>::new());
}

#[test]
fn a_long_file_would_be_seen() {
    let lines = |n: usize| "// a line\n".repeat(n);
    let tests = format!("\n#[cfg(test)]\nmod tests {{\n{}}}\n", lines(100));
    let longest = lines(LONGEST_FILE);
    assert_eq!(long_files(&made_up(&[("a.rs", &(longest.clone() + &tests))])), Vec::<String>::new());
    let wrong = long_files(&made_up(&[("a.rs", &(longest + "// one more\n" + &tests))]));
    assert_eq!(wrong, ["a.rs has 451 lines, 450 are allowed"]);
}

#[test]
fn a_long_function_would_be_seen() {
    let function = |start: &str, lines: usize| format!("{start} {{\n{}}}\n", "    a();\n".repeat(lines));
    let kept = function("fn a()", LONGEST_FUNCTION - 2) + "fn b();\n" + &function("pub async fn c()", 20);
    assert_eq!(long_functions(&made_up(&[("a.rs", &kept)])), Vec::<String>::new());
    let method = function("pub(super) async fn a(\n    b: u8,\n)", LONGEST_FUNCTION);
    let method: String = method.lines().map(|line| format!("    {line}\n")).collect();
    let wrong = long_functions(&made_up(&[("a.rs", &format!("impl A {{\n{method}}}\n"))]));
    assert_eq!(wrong, ["a.rs:2: a has 64 lines, 60 are allowed"]);
}

// ---- SQL

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
    let code: String = sources("src").into_values().collect();
    let tables: Vec<&str> = xtask::tables::TABLES.iter().map(|t| t.name).collect();
    let used = |file: &String| {
        let of_table = tables.iter().any(|t| {
            ["2-export", "2-audit", "4-rollback"].iter().any(|name| *file == format!("tables/{t}/{name}.sql"))
        });
        let of_hazard = xtask::hazards::HAZARDS.iter().any(|h| h.file().is_some_and(|f| f.path == file));
        of_table || of_hazard || code.contains(&format!("\"{file}\""))
    };
    let unused: Vec<&String> = files.iter().filter(|f| !used(f)).collect();
    assert!(unused.is_empty(), "no code uses {unused:?}");
}

/// What a merge leaves where two sides have changed the same lines.
#[test]
fn no_file_holds_the_marks_of_a_merge() {
    fn walk(folder: &Path, marks: &[String], looked_at: &mut usize) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !["target", ".git", "database-backups", "node_modules"].contains(&&*name) {
                walk(&path, marks, looked_at);
            }
            let Ok(text) = fs::read_to_string(&path) else { continue };
            *looked_at += 1;
            let marked = text.lines().position(|line| marks.iter().any(|mark| line.starts_with(mark)));
            assert_eq!(marked.map(|line| line + 1), None, "{}", path.display());
        }
    }
    let mut looked_at = 0;
    let marks = ["<".repeat(7) + " ", ">".repeat(7) + " "];
    walk(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap(), &marks, &mut looked_at);
    assert!(looked_at > 300, "{looked_at} files");
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
    for (file, text) in sources("src").into_iter().filter(|(file, _)| !file.starts_with("sql/")) {
        for (at, _) in text.match_indices("format!(\"") {
            let put_together = &text[at + "format!(\"".len()..];
            let verb = put_together.split(' ').next().unwrap();
            if verbs.contains(&verb) && !allowed.iter().any(|a| put_together.starts_with(a)) {
                let line = text[..at].lines().count();
                wrong.push(format!("{file}:{line}: puts SQL together: {verb} …"));
            }
        }
    }
    none(&wrong);
}
