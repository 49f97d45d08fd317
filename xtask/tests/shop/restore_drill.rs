//! `restore-drill`: what can be restored is found equal and counts from then on; what cannot is found, whatever the
//! manifest says; no store is touched, and nothing is left.

use crate::support::{Said, Shop, assert_refused, assert_words, says};
use crate::tool::{Place, Tool, everything};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use xtask::model::Database;
use xtask::operations::store_backups::{self, Content, Drill, DrillFinding, StoreManifest, Target};
use xtask::run::dir::{RunDir, load_journal};
use xtask::steps::CommandName;

fn stores(shop: &Shop) -> PathBuf {
    store_backups::directory(shop.runs.path())
}

/// The tool with a place of its own for scratch servers.
fn drill(shop: &Shop, place: &Place, stores: &Path, arguments: &[&str]) -> Said {
    let mut command = shop.command(&[&["restore-drill"], arguments].concat());
    command.arg("--store-backups").arg(stores).env("TMPDIR", place.path());
    command.output().unwrap().into()
}

/// Of each store the newest that a drill has found green.
fn counting(stores: &Path) -> Vec<Option<String>> {
    let all = store_backups::of_environment(stores, "local").unwrap();
    all.into_iter().map(|one| one.newest_drilled.map(|kept| kept.id)).collect()
}

fn newest(stores: &Path, target: Target) -> PathBuf {
    store_backups::finished(stores, target, "local").unwrap().0.remove(0).path
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_restored_counts_from_then_on_and_no_store_is_touched() {
    let (shop, place) = (Shop::open(0).await, Place::new());
    let nothing = drill(&shop, &place, &stores(&shop), &[]);
    assert_refused(
        "no backup",
        &nothing,
        &["has no backup of product, order, gateway, firestore", "backup --target all"],
    );
    for verb in ["freeze", "migrate", "cutover"] {
        shop.xtask(&[verb]).expect_code(0);
    }
    shop.xtask(&["backup", "--target", "all"]).expect_code(0);
    assert_eq!(counting(&stores(&shop)), [None, None, None, None], "a backup alone does not count");
    let before = everything(&shop).await;

    let said = drill(&shop, &place, &stores(&shop), &[]).expect_code(0);
    assert!(said.stdout.starts_with("✓ RESTORED 4 of 4 backups, equal · "), "{}", said.stdout);
    says(&said, &["  product ", " queries answered", " on the Firestore emulator", " on PostgreSQL 1"]);
    assert_words(&said, &["next: cargo xtask schedule install --what drill"]);
    place.assert_empty();
    assert_eq!(everything(&shop).await, before);
    assert!(counting(&stores(&shop)).iter().all(Option::is_some));

    for target in Target::ALL {
        let path = newest(&stores(&shop), target);
        let (drill, manifest) = (Drill::of(&path).unwrap().unwrap(), store_backups::load(&path).unwrap());
        assert!(drill.green && drill.findings.is_empty(), "{drill:?}");
        let found: u64 = drill.content.values().map(|content| content.rows).sum();
        assert_eq!((found, drill.content.len()), (manifest.rows(), manifest.parts()));
        let asked = if target == Target::Firestore { 0 } else { drill.queries.len() };
        assert_eq!(asked > 1, target.database().is_some(), "{drill:?}");
        assert!(drill.who.contains('@') && drill.seconds > 0.0 && !drill.ended.is_empty());
    }
    let run = shop.latest();
    let journal = load_journal(run.path()).unwrap();
    let last = journal.commands.last().unwrap();
    assert_eq!(last.whole.step, CommandName::RestoreDrill);
    assert!(
        last.steps[0].detail.contains("product ") && last.steps[0].detail.contains("firestore "),
        "{last:?}"
    );

    // Evidence is about the backup that was drilled, and no other.
    let manifest = newest(&stores(&shop), Target::Order).join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, format!("{text}\n")).unwrap();
    let counts: Vec<bool> = counting(&stores(&shop)).iter().map(Option::is_some).collect();
    assert_eq!(counts, [true, false, true, true]);
}

/// A copy of all backups, to be damaged.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy_to = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &copy_to),
            false => assert!(fs::copy(&path, &copy_to).is_ok()),
        }
    }
}

fn largest_file(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

/// Makes the manifest say of every file what stands there now.
fn fit(backup: &Path) {
    let mut manifest: StoreManifest = store_backups::load(backup).unwrap();
    let run = RunDir::open(backup.parent().unwrap(), backup.file_name().unwrap().to_str().unwrap()).unwrap();
    let files = match &mut manifest.content {
        Content::Database(content) => &mut content.backup.files,
        Content::Documents(content) => &mut content.files,
    };
    let rest: Vec<String> =
        files.keys().filter(|name| !name.starts_with("full_backup.dump/")).cloned().collect();
    files.retain(|name, _| rest.contains(name));
    let dump = backup.join("full_backup.dump");
    let dumped = fs::read_dir(&dump)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for name in dumped.map(|name| format!("full_backup.dump/{name}")).chain(rest) {
        files.insert(name.clone(), run.measure(&name).unwrap());
    }
    fs::write(backup.join("manifest.json"), serde_json::to_string_pretty(&manifest).unwrap()).unwrap();
}

struct Damaged<'a> {
    shop: &'a Shop,
    place: Place,
    good: PathBuf,
}

impl Damaged<'_> {
    /// The findings of the store's backup, once it is damaged like this.
    fn findings(&self, target: Target, damage: impl FnOnce(&Path)) -> Vec<DrillFinding> {
        let bad = tempfile::tempdir().unwrap();
        copy(&self.good, bad.path());
        let backup = newest(bad.path(), target);
        damage(&backup);
        let said =
            drill(self.shop, &self.place, bad.path(), &["--target", target.name(), "--json"]).expect_code(3);
        assert_words(&said, &["verification differs: no backup to count on", target.name()]);
        let json: Value = said.json();
        assert_eq!((&json["green"], &json["drills"][0]["green"]), (&Value::Bool(false), &Value::Bool(false)));
        self.place.assert_empty();
        assert_eq!(counting(bad.path()), [None, None, None, None]);
        let drill = Drill::of(&newest(bad.path(), target)).unwrap().unwrap();
        assert!(!drill.green && !drill.findings.is_empty());
        drill.findings
    }
}

#[track_caller]
fn has(findings: &[DrillFinding], words: &str) {
    let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|line| line.contains(words)), "not a word of {words:?} in {said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_found_whatever_the_manifest_says() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    shop.xtask(&["backup", "--target", "product"]).expect_code(0);
    let older = newest(&stores(&shop), Target::Product);
    let change = "UPDATE products SET stock = stock + 1 WHERE id = (SELECT min(id) FROM products)";
    shop.target(Database::Product).await.run(change).await.unwrap();
    shop.xtask(&["backup", "--target", "all"]).expect_code(0);
    let damaged = Damaged { shop: &shop, place: Place::new(), good: stores(&shop) };

    let flipped = damaged.findings(Target::Product, |backup| {
        let path = largest_file(&backup.join("full_backup.dump"));
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    });
    has(&flipped, " is not the file that was written: ");
    let cut = damaged.findings(Target::Product, |backup| {
        let path = largest_file(&backup.join("full_backup.dump"));
        let bytes = fs::metadata(&path).unwrap().len();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(bytes - 1).unwrap();
    });
    has(&cut, " is not the file that was written: ");
    let gone = damaged.findings(Target::Product, |backup| {
        fs::remove_file(largest_file(&backup.join("full_backup.dump"))).unwrap();
    });
    has(&gone, "No such file");

    // From here on the manifest fits: what it says of the rows is all that tells.
    let replaced = |with: PathBuf| {
        move |backup: &Path| {
            let dump = backup.join("full_backup.dump");
            fs::remove_dir_all(&dump).unwrap();
            copy(&with, &dump);
            fit(backup);
        }
    };
    let of_before = damaged.findings(Target::Product, replaced(older.join("full_backup.dump")));
    has(&of_before, "public.products has ");
    has(&of_before, " rows as the backup has, with other values");
    let order = newest(&stores(&shop), Target::Order).join("full_backup.dump");
    let of_another = damaged.findings(Target::Product, replaced(order));
    assert!(!of_another.is_empty(), "{of_another:?}");

    // And undamaged it is green.
    let said = drill(&shop, &damaged.place, &damaged.good, &["--target", "product"]).expect_code(0);
    says(&said, &["✓ RESTORED 1 of 1 backups, equal"]);
}

/// Writes the documents of a collection again.
fn rewritten(backup: &Path, collection: &str, change: impl Fn(Vec<String>) -> Vec<String>) {
    let manifest = store_backups::load(backup).unwrap();
    let path = backup.join(&manifest.documents().unwrap().collections[collection].file);
    let text = std::io::read_to_string(flate2::read::GzDecoder::new(fs::File::open(&path).unwrap())).unwrap();
    let lines = change(text.lines().map(String::from).collect());
    let mut out =
        flate2::write::GzEncoder::new(fs::File::create(&path).unwrap(), flate2::Compression::fast());
    for line in lines {
        writeln!(out, "{line}").unwrap();
    }
    out.finish().unwrap();
    fit(backup);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_documents_are_found_whatever_the_manifest_says() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    shop.xtask(&["backup", "--target", "firestore"]).expect_code(0);
    let damaged = Damaged { shop: &shop, place: Place::new(), good: stores(&shop) };
    let cut = damaged.findings(Target::Firestore, |backup| {
        let path = backup.join("users.ndjson.gz");
        let bytes = fs::metadata(&path).unwrap().len();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(bytes - 9).unwrap();
    });
    has(&cut, "users.ndjson.gz is not the file that was written");
    let missing =
        damaged.findings(Target::Firestore, |backup| rewritten(backup, "user_sessions", |_| Vec::new()));
    has(&missing, "user_sessions has 0 documents, the backup recorded ");
    let changed = damaged.findings(Target::Firestore, |backup| {
        rewritten(backup, "users", |lines| {
            let other = |line: String| line.replacen("\"stringValue\":\"", "\"stringValue\":\"x", 1);
            lines.into_iter().enumerate().map(|(at, line)| if at == 0 { other(line) } else { line }).collect()
        });
    });
    has(&changed, "documents as the backup recorded, with other values");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_leaves_no_scratch_server_and_no_evidence() {
    let (shop, place) = (Shop::open(0).await, Place::new());
    shop.xtask(&["migrate"]).expect_code(0);
    shop.xtask(&["backup", "--target", "product"]).expect_code(0);
    let mut command = shop.command(&["restore-drill", "--target", "product"]);
    command.env("TMPDIR", place.path());
    let mut tool = Tool::start(command);
    tool.wait_for("a scratch server", || !place.stacks().is_empty());
    tool.signal(Signal::SIGINT);
    let said = tool.ends_within(60);
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    place.assert_empty();
    assert_eq!(Drill::of(&newest(&stores(&shop), Target::Product)).unwrap().map(|drill| drill.green), None);
}
