//! README, runbook and rollback are one story: their command blocks are taken out of them and run, as printed, on one
//! local stack that the environment `production` names, each with its exit code, and with what the samples say.
//!
//! A comment before a block, which no reader sees, says where it is otherwise:
//! `<!-- story: exits 4,0 -->` of its commands; `<!-- story: cut over -->` needs a run that is cut over and unused;
//! `<!-- story: written -->` the same, and the services have written; `<!-- story: not here -->` is not run.

use crate::monitor::ON_ANY_MACHINE;
use crate::places::Places;
use crate::support::{Said, Shop, binary, workspace};
use secrecy::ExposeSecret;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::checks::smoke::Side;
use xtask::lab::rollbacks::{Collisions, services_write};
use xtask::lab::shop_services::ShopServices;
use xtask::model::Database;

/// Which parts, in the order in which a person comes to them: the runbook's "During" are the README's commands.
const PARTS: [(&str, &str); 11] = [
    ("README.md", "Two commands"),
    ("docs/runbook.md", "Before"),
    ("README.md", "The night, in twelve commands"),
    ("docs/runbook.md", "During"),
    ("README.md", "The way back"),
    ("docs/runbook.md", "After"),
    ("docs/runbook.md", "One week"),
    ("docs/rollback.md", "1. The new stores are unused"),
    ("docs/rollback.md", "2. The services have been running"),
    ("docs/rollback.md", "3. One service alone"),
    ("docs/rollback.md", "4. It was cut off"),
];

/// What is there before a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    AsItIs,
    /// A run that is cut over, and whose stores are unused.
    CutOver,
    Written,
}

#[derive(Debug)]
struct Typed {
    at: String,
    line: String,
    /// Lines that it says, as the document shows them.
    sample: Vec<String>,
    exit: i32,
}

#[derive(Debug)]
struct Block {
    before: Before,
    commands: Vec<Typed>,
}

// ---- Reading

/// The command blocks of one part of a page; those that are marked as not to be run are left out.
fn blocks(page: &str, title: &str) -> Vec<Block> {
    let text = fs::read_to_string(workspace().join(page)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let begin = lines.iter().position(|line| *line == format!("## {title}"));
    let begin = begin.unwrap_or_else(|| panic!("{page} has no part {title}"));
    let end = lines[begin + 1..].iter().position(|line| line.starts_with("## "));
    let end = end.map_or(lines.len(), |length| begin + 1 + length);
    let (mut blocks, mut mark): (Vec<Block>, &str) = (Vec::new(), "");
    let mut at = begin + 1;
    while at < end {
        let Some(kind) = lines[at].strip_prefix("```") else {
            mark = if lines[at].starts_with("<!-- ") { lines[at] } else { mark };
            at += 1;
            continue;
        };
        let length = lines[at + 1..].iter().position(|line| *line == "```").unwrap();
        let inside = &lines[at + 1..at + 1 + length];
        let place = format!("{page}:{}", at + 2);
        let marked = std::mem::take(&mut mark).trim_start_matches("<!-- ").trim_end_matches(" -->");
        match kind {
            "sh" | "console" => blocks.extend(block(&place, inside, marked)),
            // What the block before it says, in full: its verdicts.
            "" => {
                let verdicts =
                    inside.iter().filter(|line| line.starts_with(['✓', '✗'])).map(|l| l.to_string());
                let last = blocks.last_mut().and_then(|block: &mut Block| block.commands.last_mut());
                last.unwrap_or_else(|| panic!("{place}: a sample of nothing")).sample.extend(verdicts);
            }
            _ => {}
        }
        at += length + 2;
    }
    blocks
}

fn block(place: &str, inside: &[&str], mark: &str) -> Option<Block> {
    let (mut before, mut exits) = (Before::AsItIs, Vec::new());
    match mark.strip_prefix("story: ").unwrap_or(mark) {
        "" => {}
        "tests" | "not here" => return None,
        "cut over" => before = Before::CutOver,
        "written" => before = Before::Written,
        other => {
            let codes = other.strip_prefix("exits ").unwrap_or_else(|| panic!("{place}: {other:?}"));
            exits = codes.split(',').map(|code| code.parse().unwrap()).collect();
        }
    }
    let mut commands: Vec<Typed> = Vec::new();
    for line in inside {
        match (line.trim_start_matches("$ ").strip_prefix("cargo xtask "), commands.last_mut()) {
            (Some(typed), _) => {
                let line = typed.split('#').next().unwrap().trim().to_string();
                let exit = exits.get(commands.len()).copied().unwrap_or_default();
                commands.push(Typed { at: place.to_string(), line, sample: Vec::new(), exit });
            }
            (None, Some(last)) => last.sample.push(line.to_string()),
            (None, None) => panic!("{place}: {line:?} is no command of the tool"),
        }
    }
    assert!(exits.len() <= commands.len(), "{place}: more exit codes than commands");
    Some(Block { before, commands })
}

/// Numbers and times as `#`, but for 0, which is what a verdict is about; blanks as one.
fn bare(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let begins = first.is_ascii_digit() && !out.ends_with(|c: char| c.is_alphanumeric());
        let length = match begins {
            true => rest.find(|c: char| !(c.is_ascii_digit() || "_-.,:TZ".contains(c))).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (part, after) = rest.split_at(length);
        let number = part.trim_end_matches(['.', ',', ':', '-', '_']);
        out += match begins {
            true if number == "0" => part,
            true => "#",
            false => part,
        };
        out += if begins && number != "0" { &part[number.len()..] } else { "" };
        rest = after;
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a line of what was said has, in its order, what a sample's line has around its `…`.
fn is_said(sample: &str, said: &str) -> bool {
    said.lines().map(bare).any(|line| {
        let mut rest = &line[..];
        bare(sample).split('…').map(str::trim).all(|part| match rest.find(part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    })
}

#[test]
fn a_sample_is_found_whatever_its_numbers_are() {
    let said = "x\n  ✓ CUT OVER run 20261130_010203 at 2026-11-30T01:02:03.5Z: all\n 3 met, 0 not met";
    assert!(is_said("✓ CUT OVER run 20251129_193939 at 2025-11-29T19:40:04.578Z: …", said));
    assert!(is_said("  54 met, 0 not met", said));
    for other in ["✗ CUT OVER run 20251129_193939", "54 met, 1 not met", "✓ CUT OVER … none"] {
        assert!(!is_said(other, said), "{other}");
    }
}

#[test]
fn every_block_is_in_the_story_or_marked() {
    for page in ["README.md", "docs/runbook.md", "docs/rollback.md"] {
        let text = fs::read_to_string(workspace().join(page)).unwrap();
        let told: BTreeSet<&str> =
            PARTS.iter().filter(|(of, _)| *of == page).map(|(_, title)| *title).collect();
        for part in text.split("\n## ").skip(1) {
            let title = part.lines().next().unwrap();
            let types = part.contains("```sh") || part.contains("```console");
            assert_eq!(types, told.contains(title), "{page}: {title}");
        }
    }
    let all: Vec<Block> = PARTS.iter().flat_map(|(page, title)| blocks(page, title)).collect();
    let commands: usize = all.iter().map(|block| block.commands.len()).sum();
    assert!(commands >= 40, "{commands} commands");
    let samples: usize = all.iter().flat_map(|block| &block.commands).map(|typed| typed.sample.len()).sum();
    assert!(samples >= 15, "{samples} lines of samples");
}

// ---- Telling

/// One stack, and who works on it.
struct Night {
    shop: Shop,
    dir: tempfile::TempDir,
    servers: String,
    services: Option<ShopServices>,
    rehearsed: bool,
    nights: u64,
}

const SERVICES: [&str; 4] = ["user_service", "product_service", "order_service", "gateway_service"];

impl Night {
    async fn falls() -> Night {
        let shop = Shop::open(0).await;
        let password = shop.settings.source.password.expose_secret().to_string();
        for role in SERVICES {
            let role = format!("CREATE ROLE {role} LOGIN PASSWORD '{password}'");
            shop.source().await.run(&role).await.unwrap();
        }
        // The services come as ordinary roles, the tool as the owner of what it makes.
        for database in Database::ALL {
            let server = shop.settings.target(database);
            let give = format!(
                "ALTER DATABASE {database} OWNER TO postgres; \
                 ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}; \
                 ALTER DEFAULT PRIVILEGES GRANT USAGE, SELECT ON SEQUENCES TO {role}",
                database = server.database,
                role = server.user,
            );
            shop.superuser(server).await.run(&give).await.unwrap();
        }
        let servers = Places::of(&shop, Some("postgres")).text;
        let night = Night {
            shop,
            dir: tempfile::tempdir().unwrap(),
            servers,
            services: None,
            rehearsed: false,
            nights: 0,
        };
        night.describe();
        night
    }

    fn environment(&self) -> PathBuf {
        self.dir.path().join("production.toml")
    }

    /// The environment's file, as its people would write it.
    fn describe(&self) {
        let mut text =
            format!("{}confirm = true\nrehearsal_max_age = \"7d\"\n{ON_ANY_MACHINE}", self.servers);
        text += "[services]\ntoken = { env = \"SMOKE_TOKEN\" }\n";
        if let Some(running) = &self.services {
            let services = &running.services;
            let lines = services.endpoints.iter().map(|(one, url)| format!("{} = \"{url}\"\n", one.key()));
            text += &lines.collect::<String>();
            text += "[services.logs]\n";
            let lines = services.logs.iter();
            let lines = lines.map(|(one, log)| format!("{} = \"{}\"\n", one.key(), log.display()));
            text += &lines.collect::<String>();
        }
        text += "[services.roles]\n";
        for role in SERVICES {
            text += &format!("{} = \"{role}\"\n", role.split('_').next().unwrap());
        }
        fs::write(self.environment(), text).unwrap();
    }

    async fn start_services(&mut self) {
        let home = self.dir.path();
        let started = ShopServices::start(&program_beside(), &self.shop.settings, Side::New, home).await;
        self.services = Some(started.unwrap());
        self.describe();
    }

    async fn stop_services(&mut self) {
        if let Some(services) = self.services.take() {
            services.stop().await.unwrap();
        }
        self.describe();
    }

    /// As it is typed, but for where this test keeps its things.
    fn command(&self, line: &str) -> Command {
        let environment = self.environment();
        let run = self.shop.latest_backup();
        let words = line.split_whitespace().map(|word| match word {
            "production" => environment.to_str().unwrap(),
            "R" => &run,
            word => word,
        });
        let words: Vec<&str> = words.collect();
        let mut command = binary();
        command.args(&words).env("HOME", self.dir.path()).current_dir(workspace());
        let own = |name: &str| self.dir.path().join(name);
        match words[0] {
            "rehearse" => drop(command.args(["--scale", "0"])),
            "harden" => drop(command.arg("--secrets").arg(own("secrets"))),
            "schedule" => drop(command.arg("--directory").arg(own("units"))),
            _ => {}
        }
        if words[0] != "rehearse" {
            command.arg("--backup-dir").arg(self.shop.runs.path());
        }
        for name in ["SOURCE", "PRODUCT", "ORDER", "GATEWAY"] {
            command.env(format!("{name}_PASSWORD"), self.shop.settings.source.password.expose_secret());
        }
        let token = self.services.as_ref().map(|services| services.token.expose_secret().to_string());
        command.env("SMOKE_TOKEN", token.unwrap_or("none".into())).env_remove("FIRESTORE_EMULATOR_HOST");
        command
    }

    /// What a person does who has typed this line, before and after it.
    async fn types(&mut self, typed: &Typed) {
        let line = &typed.line;
        let is = |verb: &str| line.split_whitespace().next() == Some(verb);
        if is("rehearse") && std::mem::replace(&mut self.rehearsed, true) {
            return;
        }
        if is("rollback") && !line.contains("--dry-run") {
            self.stop_services().await;
        }
        let begun = std::time::Instant::now();
        let said: Said = self.command(line).output().unwrap().into();
        eprintln!("{:5.1} s  {}", begun.elapsed().as_secs_f64(), typed.line);
        let told = format!("{}: cargo xtask {line}\n{}{}", typed.at, said.stdout, said.stderr);
        assert_eq!(said.code, Some(typed.exit), "{told}");
        for sample in &typed.sample {
            assert!(is_said(sample, &(said.stdout.clone() + &said.stderr)), "{sample:?}\n{told}");
        }
        if is("cutover") {
            self.start_services().await;
        }
    }

    async fn alone(&mut self, line: &str) {
        let typed = Typed { at: "between".into(), line: line.into(), sample: Vec::new(), exit: 0 };
        self.types(&typed).await;
    }

    /// A run that is cut over: another one where the last was taken back.
    async fn goes_on(&mut self, before: Before) {
        let confirmed = "--env production --confirm production/ecommerce_db";
        self.nights += 1;
        if !self.shop.manifest().rolled_back.is_empty() {
            self.alone(&format!("migrate --replace {confirmed}")).await;
            self.alone(&format!("cutover --run latest {confirmed}")).await;
        }
        self.stop_services().await;
        if before == Before::Written {
            services_write(&self.shop.settings, self.nights, Collisions::None).await.unwrap();
        }
    }
}

fn program_beside() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("shop-services")
}

impl Shop {
    /// The newest run, which a backup by itself is after it.
    fn latest_backup(&self) -> String {
        let runs = fs::read_dir(self.runs.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let runs = runs.map(|name| name.into_string().unwrap()).filter(|name| name.starts_with("20"));
        runs.max().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_are_one_story_on_one_stack() {
    let mut night = Night::falls().await;
    for (page, title) in PARTS {
        for block in blocks(page, title) {
            if block.before != Before::AsItIs {
                night.goes_on(block.before).await;
            }
            for typed in &block.commands {
                night.types(typed).await;
            }
        }
    }
    night.stop_services().await;
}
