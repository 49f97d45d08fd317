//! The documents agree with the tool: the commands in them are ones that it takes, and the keys, hazards and
//! sections of the guide that they list are those that there are. Needs no server.
#![allow(clippy::unwrap_used)]

mod commands;
mod run_in_tests;
#[path = "../support/schema.rs"]
#[allow(dead_code)]
mod schema;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use xtask::guide::items::{ITEMS, List};
use xtask::guide::troubleshoot::Topic;
use xtask::hazards::{HAZARDS, Look, Weight};

const README_WORDS: usize = 700;

/// Every `##` and `###` heading of the guide that this tool automates, MIGRATION_GUIDE.md ("Database Migration
/// Guide"), which is not in this repository: in its order, as they are written there.
const GUIDE: &[&str] = &[
    "Overview",
    "Prerequisites",
    "Phase 1: Backup Existing Database",
    "1.1 Create Full Database Backup",
    "1.2 Verify Backup Integrity",
    "1.3 Document Current State",
    "Phase 2: Export Data from Monolithic Database",
    "2.1 Export User Data",
    "2.2 Export Product Data",
    "2.3 Export Order Data",
    "2.4 Export Gateway Data",
    "Phase 3: Transform Data for New Schemas",
    "3.1 Create Firebase Import Script",
    "3.2 Install Dependencies and Run Firebase Import",
    "3.3 Create User ID Mapping File",
    "3.4 Transform Data Files",
    "Phase 4: Import Data into Separate Databases",
    "4.1 Start New Database Containers",
    "4.2 Import Product Service Data",
    "4.3 Import Order Service Data",
    "4.4 Import API Gateway Data",
    "Phase 5: Verify Data Integrity and Test Services",
    "5.1 Verify Record Counts",
    "5.2 Verify Firebase Data",
    "5.3 Test Service Connectivity",
    "5.4 Run Integration Tests",
    "5.5 Data Integrity Checks",
    "5.6 Performance Testing",
    "Rollback Procedures",
    "Scenario 1: Rollback Before Services Start",
    "Scenario 2: Rollback After Services Start",
    "Scenario 3: Partial Rollback (Keep Some Services)",
    "Post-Migration Tasks",
    "1. Update Documentation",
    "2. Monitoring Setup",
    "3. Backup Strategy",
    "4. Security Hardening",
    "5. Clean Up Old Database",
    "Troubleshooting",
    "Issue: CSV Import Fails with Encoding Errors",
    "Issue: Sequence Values Not Updated",
    "Issue: Firebase Import Fails",
    "Issue: Services Can't Connect to Databases",
    "Issue: Data Mismatch After Migration",
    "Migration Checklist",
    "Pre-Migration",
    "During Migration",
    "Post-Migration",
    "One Week After Migration",
    "Support and Resources",
];

/// The items of the guide's four checklists ("Migration Checklist"), in its order.
const CHECKLISTS: &[&str] = &[
    "Full database backup completed",
    "Backup integrity verified",
    "Record counts documented",
    "Firebase project created and configured",
    "Service account credentials obtained",
    "All stakeholders notified",
    "Maintenance window scheduled",
    "Services stopped or in maintenance mode",
    "Data exported from monolithic database",
    "User data imported to Firebase/Firestore",
    "Product data imported to product_database",
    "Order data imported to order_database",
    "Gateway data imported to gateway_database",
    "Sequences reset correctly",
    "Record counts verified",
    "Data integrity checks passed",
    "Service connectivity tested",
    "Integration tests passed",
    "Performance tests completed",
    "Monitoring configured",
    "Backup strategy implemented",
    "Documentation updated",
    "Team trained on new architecture",
    "No critical issues reported",
    "Performance metrics acceptable",
    "Old database archived",
    "Old infrastructure decommissioned (optional)",
];

/// The lines of its "1. Update Documentation".
const DOCUMENTATION: &[&str] = &[
    "Update README.md with new database architecture",
    "Update API documentation with new endpoints",
    "Update deployment guides",
    "Document new environment variables",
];

// ---- Reading

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `docs/…`, sorted.
fn pages() -> Vec<String> {
    let files = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = files.filter(|path| path.extension().is_some_and(|e| e == "md"));
    let name = |path: PathBuf| format!("docs/{}", path.file_name().unwrap().to_str().unwrap());
    let mut pages: Vec<String> = pages.map(name).collect();
    pages.sort();
    pages
}

/// A command as it stands in a document.
struct Typed {
    /// `docs/runbook.md:12`
    at: String,
    /// What follows `cargo xtask`.
    words: Vec<String>,
    /// A line of a block is there to be typed; one within a sentence may name a command without its arguments.
    in_block: bool,
}

fn typed(page: &str, text: &str) -> Vec<Typed> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            in_block = !in_block;
            continue;
        }
        let candidates: Vec<&str> = match in_block {
            true => vec![line.trim_start().trim_start_matches("$ ")],
            false => line.split('`').skip(1).step_by(2).collect(),
        };
        let at = format!("{page}:{}", number + 1);
        let commands = candidates.iter().filter_map(|text| text.strip_prefix("cargo xtask "));
        found.extend(commands.map(|rest| Typed { at: at.clone(), words: words(rest), in_block }));
    }
    found
}

/// As a shell would split it, as far as the documents go: no quotes but around whole words, comments, and pipes.
fn words(line: &str) -> Vec<String> {
    let words = line.split_whitespace().take_while(|word| !word.starts_with('#') && *word != "|");
    words.map(|word| word.trim_matches(['"', '\'']).replace("\\|", "|")).collect()
}

impl Typed {
    /// Why the tool does not take it.
    fn refused(&self) -> Option<String> {
        if !self.in_block && (self.only_names_a_command() || self.is_a_synopsis()) {
            return None;
        }
        let line = ["xtask"].into_iter().chain(self.words.iter().map(String::as_str));
        let error = xtask::cli::command().try_get_matches_from(line).err()?;
        let first = error.to_string().lines().next().unwrap_or_default().to_string();
        Some(format!("{}: cargo xtask {}: {first}", self.at, self.words.join(" ")))
    }

    /// `harden [--dry-run] [product|order]`: what may stand there, not what is typed.
    fn is_a_synopsis(&self) -> bool {
        self.words.iter().any(|word| word.contains(['[', '<', '|', '…']))
    }

    fn only_names_a_command(&self) -> bool {
        let mut command = xtask::cli::command();
        self.words.iter().all(|word| match command.find_subcommand(word).cloned() {
            Some(inner) => {
                command = inner;
                true
            }
            None => false,
        })
    }
}

/// What is in backticks in the first column of a page's tables.
fn first_column(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_string).collect()
}

fn assert_same(page: &str, found: &BTreeSet<String>, expected: &BTreeSet<String>) {
    assert!(!expected.is_empty(), "{page}: compared with nothing");
    let missing: Vec<&String> = expected.difference(found).collect();
    let unknown: Vec<&String> = found.difference(expected).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "{page}: not in its tables: {missing:?}; in its tables and unknown to the tool: {unknown:?}"
    );
}

// ---- README and commands

#[test]
fn the_readme_is_short_and_has_every_page_in_its_index() {
    let readme = read("README.md");
    let words = readme.split_whitespace().count();
    assert!(words <= README_WORDS, "README.md has {words} words, {README_WORDS} are allowed");
    let pages = pages();
    assert!(pages.len() >= 10, "docs/ has only {pages:?}");
    let missing: Vec<&String> = pages.iter().filter(|page| !readme.contains(&format!("]({page})"))).collect();
    assert!(missing.is_empty(), "not in README.md's index: {missing:?}");
    let links = readme.split("](docs/").skip(1).filter_map(|rest| rest.split(')').next());
    let dead: Vec<&str> = links.filter(|name| !pages.contains(&format!("docs/{name}"))).collect();
    assert!(dead.is_empty(), "README.md's index names pages that docs/ does not have: {dead:?}");
}

#[test]
fn every_command_in_the_documents_is_one_that_the_tool_takes() {
    let mut all = typed("README.md", &read("README.md"));
    pages().iter().for_each(|page| all.extend(typed(page, &read(page))));
    let in_blocks = all.iter().filter(|typed| typed.in_block).count();
    assert!(in_blocks >= 40, "only {in_blocks} commands in blocks were found");
    let refused: Vec<String> = all.iter().filter_map(Typed::refused).collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn a_command_that_the_tool_does_not_take_is_seen() {
    let text = "```sh\n$ cargo xtask verify --run latest  # fine\ncargo xtask verifi\ncargo xtask rollback\n```\n\
                By `cargo xtask rollback` or `cargo xtask status --nonsense`, not by `rollback --nonsense`.\n\
                `cargo xtask anything [--at] <ALL>`\n";
    let all = typed("page", text);
    let refused: Vec<String> = all.iter().filter_map(Typed::refused).collect();
    let at: Vec<&str> = refused.iter().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!((all.len(), at), (6, vec!["page:3", "page:4", "page:6"]), "{refused:?}");
}

// ---- Lists

#[test]
fn environments_lists_every_key_of_an_environment() {
    let service_or_database = |part: &str| ["user", "product", "order", "gateway"].contains(&part);
    // Of the parts of `source.user` and `targets.order.user` only the last table is a store's or a service's.
    let pattern = |key: &String| match key.split('.').collect::<Vec<_>>()[..] {
        ["targets", store, key] if service_or_database(store) => format!("targets.*.{key}"),
        ["services", service] if service_or_database(service) => "services.*".to_string(),
        ["services", table, service] if service_or_database(service) => format!("services.{table}.*"),
        _ => key.clone(),
    };
    let keys: BTreeSet<String> = xtask::settings::keys().unwrap().iter().map(pattern).collect();
    for known in ["stack", "targets.*.tls", "firestore.prices.writes", "services.stop.*", "policy.confirm"] {
        assert!(keys.contains(known), "{known} is not among {keys:?}");
    }
    assert_same("docs/environments.md", &first_column(&read("docs/environments.md")), &keys);
}

#[test]
fn troubleshooting_quotes_messages_that_the_tool_has() {
    let page = read("docs/troubleshooting.md");
    let (_, tables) = page.split_once("| Message | Cause | Command |\n|---|---|---|\n").unwrap();
    let quoted = first_column(tables.split("\n\n").next().unwrap());
    assert!(quoted.len() >= 8, "{quoted:?}");
    // What stands between the values that a message is filled with.
    let parts =
        quoted.iter().flat_map(|message| message.split('…')).map(|part| part.trim_matches([' ', ':']));
    let code = code(&root().join("xtask/src"));
    let unknown: Vec<&str> = parts.filter(|part| part.len() > 3 && !code.contains(*part)).collect();
    assert!(unknown.is_empty(), "docs/troubleshooting.md: the tool has no such messages: {unknown:?}");
}

/// All files, with texts that go on in the next line put together.
fn code(folder: &Path) -> String {
    let mut code = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => code += &self::code(&path),
            false => {
                for line in fs::read_to_string(&path).unwrap().lines() {
                    code += line.trim_start().trim_end_matches('\\');
                    code += if line.ends_with('\\') { "" } else { "\n" };
                }
            }
        }
    }
    code
}

/// The tables of docs/hazards.md: `UPDATE_DOCS=1 cargo test -p xtask --test docs` writes them.
fn hazards() -> String {
    let head =
        "| Hazard | Seen in | Blocks | What it is | What follows, or what to do |\n|---|---|---|---|---|\n";
    let mut out = head.to_string();
    for hazard in HAZARDS {
        let place = match hazard.look {
            Look::Catalogue(_) | Look::Shapes => "catalogue",
            Look::Keyless(_) | Look::Rows(_) | Look::Outcomes(_) => "rows",
        };
        let blocks = match hazard.weight {
            Weight::Shown => "no",
            Weight::Blocks => "until accepted",
            Weight::Forbids => "always",
        };
        let (name, meaning, then) = (hazard.name, hazard.meaning, hazard.then);
        out += &format!("| `{name}` | {place} | {blocks} | {meaning} | {then} |\n");
    }
    out
}

/// What the tool says of itself stands on the page between these two lines; with `UPDATE_DOCS` it is put there.
fn assert_written(page: &str, name: &str, expected: &str) {
    let (begin, end) =
        (format!("<!-- {name}: written by the test `docs` -->\n"), format!("<!-- end of {name} -->"));
    let text = read(page);
    let (before, rest) = text.split_once(&begin).unwrap();
    let (found, after) = rest.split_once(&end).unwrap();
    if found != expected && std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join(page), format!("{before}{begin}{expected}{end}{after}")).unwrap();
        return;
    }
    assert!(
        found == expected,
        "{page} is not what the tool says: UPDATE_DOCS=1 cargo test -p xtask --test docs"
    );
}

#[test]
fn hazards_lists_every_hazard_as_the_tool_describes_it() {
    assert_written("docs/hazards.md", "hazards", &hazards());
    let names = HAZARDS.iter().map(|hazard| hazard.name.to_string()).collect();
    assert_same("docs/hazards.md", &first_column(&read("docs/hazards.md")), &names);
}

#[test]
fn commands_has_every_command_as_the_tool_describes_it() {
    assert_written("docs/commands.md", "commands", &commands::page());
}

/// Every block of JSON is a whole document.
#[test]
fn json_shows_documents_that_the_schema_allows() {
    let page = read("docs/json.md");
    let blocks: Vec<&str> =
        page.split("```json\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(blocks.len() >= 4, "{blocks:?}");
    let mut verdicts = BTreeSet::new();
    for block in blocks {
        let document: serde_json::Value =
            serde_json::from_str(block).unwrap_or_else(|e| panic!("{e}: {block}"));
        assert_eq!(schema::wrong(&document), Vec::<String>::new(), "{block}");
        verdicts.insert(document["verdict"].as_str().unwrap().to_string());
    }
    let told: Vec<&str> = [0, 1, 2, 3, 4, 5, 6].map(xtask::session::verdict).to_vec();
    let page_tells = |verdict: &&str| page.contains(&format!("| `{verdict}` |"));
    assert!(told.iter().all(page_tells), "docs/json.md: the table of verdicts needs {told:?}");
}

#[test]
fn guide_map_has_every_section_of_the_guide() {
    let page = read("docs/guide-map.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    let first = |row: &str| row.split(" | ").next().map(|cell| cell.trim_matches('*').trim().to_string());
    let named: Vec<String> = rows.filter_map(first).filter(|cell| cell != "Section of the guide").collect();
    let expected: Vec<String> = GUIDE.iter().map(|heading| (*heading).to_string()).collect();
    assert_eq!(named, expected, "docs/guide-map.md: the sections of the guide, in its order");
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Section of"));
    let empty: Vec<&str> = rows.filter(|row| !row.contains("`cargo xtask ")).collect();
    assert!(empty.is_empty(), "sections without a command: {empty:?}");
}

/// Each command that stands for a section of the guide is run by a test on servers.
#[test]
fn every_command_of_the_guide_map_is_run_in_a_test() {
    let tests = run_in_tests::all(&root().join("xtask/tests"));
    let commands: Vec<Typed> = typed("docs/guide-map.md", &read("docs/guide-map.md"));
    assert!(commands.len() >= 60, "{}", commands.len());
    let not_run = commands.iter().filter(|typed| !tests.iter().any(|test| test.runs(&typed.words)));
    let not_run: Vec<String> =
        not_run.map(|typed| format!("{}: {}", typed.at, typed.words.join(" "))).collect();
    assert!(not_run.is_empty(), "no test runs these:\n{}", not_run.join("\n"));
    let invented = ["rollback", "to-the-moon"].map(String::from);
    assert!(!tests.iter().any(|test| test.runs(&invented)));
}

#[test]
fn the_runbook_has_the_checklists_of_the_guide() {
    let page = read("docs/runbook.md");
    let items: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("- [ ] ")).collect();
    // What follows an item's text says how it is met.
    let same = |(found, item): (&&str, &&str)| *found == *item || found.starts_with(&format!("{item}: "));
    let differs = items.iter().zip(CHECKLISTS).find(|(found, item)| !same((found, item)));
    assert!(differs.is_none(), "docs/runbook.md has {differs:?}");
    assert_eq!(items.len(), CHECKLISTS.len(), "docs/runbook.md: the items of the guide's checklists");
}

#[test]
fn the_tools_checklist_has_every_line_of_the_guides() {
    let of = |documentation: bool| -> Vec<&str> {
        let items = ITEMS.iter().filter(|item| item.is_of_documentation() == documentation);
        items.map(|item| item.text).collect()
    };
    assert_eq!(of(false), CHECKLISTS);
    assert_eq!(of(true), DOCUMENTATION);
    // In the lists that they stand in there.
    let of_list =
        |list: List| ITEMS.iter().filter(|item| item.list == list && !item.is_of_documentation()).count();
    assert_eq!(List::ALL.map(of_list), [7, 7, 9, 4]);
    assert!(List::ALL.iter().all(|list| GUIDE.contains(&list.title())));
}

#[test]
fn troubleshoot_has_every_issue_of_the_guide() {
    let issues: BTreeSet<String> =
        Topic::ALL.iter().map(|topic| format!("Issue: {}", topic.issue())).collect();
    let guide: BTreeSet<String> = GUIDE
        .iter()
        .filter(|heading| heading.starts_with("Issue: "))
        .map(|heading| heading.to_string())
        .collect();
    assert_eq!(issues, guide);
}
