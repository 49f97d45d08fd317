//! `checklist`: a line is open until its command ran, is ticked by what that left, and is open again where that does not
//! hold any more. What people say is kept, and is about one run.

use crate::backup_files::{self, Drill, TARGETS, hours_ago};
use crate::source::{Elsewhere, shop_with_an_environment};
use crate::support::{Said, Shop, assert_refused, assert_words, binary, says};
use secrecy::ExposeSecret;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use xtask::guide::items::{ITEMS, List};
use xtask::run::dir::RunDir;
use xtask::steps::{CommandName, StepName};

const LATER: &str = "[decommission]\nsoak_days = 0\n";

struct Town {
    shop: Shop,
    there: Elsewhere,
}

impl Town {
    async fn open() -> Town {
        let (shop, there) = shop_with_an_environment().await;
        Town { shop, there }
    }

    fn call(&self, arguments: &[&str]) -> Said {
        self.there.xtask(&self.shop, arguments)
    }

    fn lines(&self) -> BTreeMap<String, Value> {
        let json = self.call(&["checklist", "--json"]).expect_code(3).json();
        let lists = json["lists"].as_array().unwrap().iter();
        let items = lists.flat_map(|list| list["items"].as_array().unwrap());
        items.map(|item| (item["id"].as_str().unwrap().to_string(), item.clone())).collect()
    }

    /// The names of the lines that are done.
    #[track_caller]
    fn done(&self) -> Vec<String> {
        let lines = self.lines();
        let done = ITEMS.iter().map(|item| item.id).filter(|id| lines[*id]["done"] == true);
        done.map(str::to_string).collect()
    }

    /// The line is open, for this reason; its command.
    #[track_caller]
    fn open_line(&self, id: &str, why: &str) -> String {
        let line = &self.lines()[id];
        assert_eq!(line["done"], false, "{line:#}");
        assert!(line["evidence"].as_str().unwrap().contains(why), "{why}: {line:#}");
        line["command"].as_str().unwrap().to_string()
    }

    #[track_caller]
    fn done_line(&self, id: &str, what: &str) {
        let line = &self.lines()[id];
        assert_eq!((&line["done"], &line["command"]), (&true.into(), &Value::Null), "{line:#}");
        assert!(line["evidence"].as_str().unwrap().contains(what), "{what}: {line:#}");
        assert!(line["at"].as_str().unwrap().ends_with('Z'), "{line:#}");
    }

    /// A command that was named, pasted.
    #[track_caller]
    fn pasted(&self, command: &str) -> Said {
        let words = command.strip_prefix("cargo xtask ").unwrap().split_whitespace();
        let mut tool = binary();
        tool.args(words).env("SHOP_PASSWORD", self.shop.settings.source.password.expose_secret());
        tool.env_remove("FIRESTORE_EMULATOR_HOST").output().unwrap().into()
    }

    /// As if a command had come to this in the newest run.
    fn noted(&self, command: CommandName, step: Option<(StepName, Result<&str, &str>)>) {
        let run: RunDir = self.shop.latest();
        let whole = run.command(&command).unwrap();
        if let Some((step, ended)) = step {
            let step = run.step(step).unwrap();
            match ended {
                Ok(what) => step.done(what).unwrap(),
                Err(why) => step.failed(why).unwrap(),
            }
        }
        whole.done("").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_ticked_by_what_its_command_left_and_by_nothing_else() {
    let town = Town::open().await;
    before_there_is_a_run(&town);
    what_people_say(&town);
    the_migration(&town).await;
    files_that_have_changed(&town);
    another_run(&town).await;
    the_cutover(&town);
    what_comes_afterwards(&town);
    as_markdown(&town);
}

fn before_there_is_a_run(town: &Town) {
    let said = town.call(&["checklist"]).expect_code(3);
    assert!(said.stdout.starts_with("○ 2 of 31 done · 29 open · no run yet\n"), "{}", said.stdout);
    assert_words(&said, &["29 open", "verification differs: 28 lines of the checklist are open"]);
    assert_eq!(town.done(), ["firebase", "credentials"]);
    assert!(town.open_line("backup", "there is no run").contains("cargo xtask migrate"));
    for item in ITEMS {
        says(&said, &[item.text]);
    }
    // What lines in a row have to say is said once.
    assert_eq!(said.stdout.matches("there is no run of this environment yet").count(), 5, "{}", said.stdout);
    for list in List::ALL {
        says(&said, &[list.title()]);
    }
    assert!(fs::read_dir(town.shop.runs.path()).unwrap().next().is_none(), "it only looks");
}

fn what_people_say(town: &Town) {
    let by = ["--by", "Ada"];
    let of_the_tool = town.call(&[&["checklist", "done", "backup"], &by[..]].concat());
    assert_refused(
        "what the tool sees",
        &of_the_tool,
        &["`backup` (Full database backup completed)", "not ticked by hand"],
    );
    let unknown = town.call(&[&["checklist", "done", "nonsense"], &by[..]].concat()).expect_code(2);
    assert_words(&unknown, &["invalid value 'nonsense'", "stakeholders"]);
    town.call(&["checklist", "done", "stakeholders"]).expect_code(2);
    assert_refused(
        "not ticked",
        &town.call(&["checklist", "undo", "window"]),
        &["`window`", "is not ticked"],
    );

    let tick = [&["checklist", "done", "stakeholders", "--note", "by mail on Friday"], &by[..]].concat();
    town.call(&tick).expect_code(0);
    town.done_line("stakeholders", "Ada: by mail on Friday");
    let book = town.shop.runs.path().join("checklist.jsonl");
    assert_eq!(fs::metadata(&book).unwrap().permissions().mode() & 0o777, 0o600);
    town.call(&["checklist", "undo", "stakeholders"]).expect_code(0);
    let command = town.open_line("stakeholders", "");
    assert_eq!(
        town.pasted(&command.replace("NAME", "Grace")).expect_code(0).stderr.matches("next: ").count(),
        1
    );
    town.done_line("stakeholders", "Grace");
    // Somebody was cut off over the last line: it says nothing.
    let whole = fs::read_to_string(&book).unwrap();
    fs::write(&book, format!("{whole}{}", &whole[..40])).unwrap();
    town.done_line("stakeholders", "Grace");
    town.call(&["checklist", "done", "window", "--by", "Grace"]).expect_code(0);
    town.done_line("window", "Grace");
}

async fn the_migration(town: &Town) {
    let command = town.open_line("exported", "there is no run");
    town.pasted(&command).expect_code(0);
    let done = town.done();
    let all: Vec<&str> =
        "backup backup-whole record-counts firebase credentials stakeholders window exported users product \
                          order gateway sequences"
            .split_whitespace()
            .collect();
    assert_eq!(done, all);
    let rows = town.shop.manifest().backup.unwrap().raw.values().map(|table| table.rows).sum::<u64>();
    town.done_line("record-counts", &format!("{} rows", xtask::model::grouped(rows)));
    let before = town.call(&["checklist", "--list", "before"]).expect_code(0);
    assert!(before.stdout.starts_with("✓ 7 of 7 done · run 20"), "{}", before.stdout);
    assert!(!before.stderr.contains("next:"), "{}", before.stderr);

    let freeze = town.open_line("stopped", "the source is not frozen");
    town.pasted(&freeze).expect_code(0);
    town.done_line("stopped", "ecommerce_db is read-only");
    town.call(&["unfreeze"]).expect_code(0);
    town.open_line("stopped", "the source is not frozen");
    town.open_line("counts", "is not cut over");
}

/// Of the right length with another content, and of another length.
fn files_that_have_changed(town: &Town) {
    let file = town.shop.latest().file("full_backup.sql");
    let whole = fs::read(&file).unwrap();
    let mut other = whole.clone();
    other[10] ^= 1;
    fs::write(&file, &other).unwrap();
    town.open_line("backup-whole", "full_backup.sql is not the file that was written");
    town.done_line("backup", "files");
    fs::write(&file, &whole[1..]).unwrap();
    let command = town.open_line("backup", "full_backup.sql has");
    assert!(command.contains("cargo xtask backup"), "{command}");
    fs::write(&file, &whole).unwrap();
    town.done_line("backup-whole", "read back whole");
    let users = town.shop.latest().file("users.csv");
    let rows = fs::read(&users).unwrap();
    fs::write(&users, &rows[..rows.len() - 1]).unwrap();
    town.open_line("exported", "users.csv is not the file that was written");
    fs::write(&users, &rows).unwrap();
}

/// A source that changed, a proof that is older than a repair, a run that takes the first one's place.
async fn another_run(town: &Town) {
    let first = town.shop.latest().id().to_string();
    town.call(&["checklist", "done", "team", "--by", "Ada"]).expect_code(0);
    town.done_line("team", "Ada");
    town.noted(CommandName::Repair, None);
    let verify = town.open_line("sequences", "is older than the repair of");
    town.pasted(&verify).expect_code(0);
    town.done_line("sequences", "8 sequences");

    let mut other = town.shop.source().await;
    other.run("UPDATE categories SET name = name || '!' WHERE id = 1").await.unwrap();
    let again = town.open_line("exported", "the source has changed since the snapshot");
    assert!(again.contains("migrate --replace"), "{again}");
    town.pasted(&again).expect_code(0);
    let second = town.shop.latest().id().to_string();
    assert_ne!(first, second);
    town.done_line("exported", "in one snapshot");
    let command = town.open_line("team", "Ada ticked it at 20");
    assert!(
        town.lines()["team"]["evidence"]
            .as_str()
            .unwrap()
            .contains(&format!("run {first}, not for this one"))
    );
    assert!(command.contains(&format!("--run {second}")), "{command}");
    // A list of the first run is still to be had.
    let of_first = town.call(&["checklist", "--run", &first, "--json"]).expect_code(3).json();
    assert_eq!(of_first["run"], first.as_str());
    assert_refused(
        "no such run",
        &town.call(&["checklist", "--run", "20200101_000000"]),
        &["there is no run"],
    );
}

fn the_cutover(town: &Town) {
    town.call(&["cutover"]).expect_code(0);
    town.done_line("stopped", "read-only");
    let verify = town.open_line("counts", "is from before the cut-over");
    town.open_line("integrity", "is from before the cut-over");
    town.pasted(&verify).expect_code(0);
    town.done_line("counts", "10 tables, ");
    town.done_line("integrity", " checks");
}

fn what_comes_afterwards(town: &Town) {
    let smoke = || Some((StepName::Smoke, Err("new services: 3 passed, 1 failed")));
    town.open_line("connectivity", "not noted in the run's journal");
    town.noted(CommandName::Smoke, Some((StepName::SmokeOld, Ok("old services: 4 passed"))));
    town.open_line("connectivity", "not noted in the run's journal");
    town.noted(CommandName::Smoke, Some((StepName::Smoke, Ok("new services: 4 passed"))));
    town.done_line("integration", "4 passed");
    town.noted(CommandName::Smoke, smoke());
    let command = town.open_line("connectivity", "did not pass: new services: 3 passed, 1 failed");
    assert!(command.contains("smoke --run"), "{command}");

    let perf = town.open_line("performance", "not noted in the run's journal");
    town.pasted(&perf).expect_code(0);
    town.done_line("performance", "queries read at most");
    let later = town.open_line("performance-later", "is not from 7d after the cut-over");
    town.there.set_policy(LATER);
    town.done_line("performance-later", "queries read at most");
    assert!(later.contains("perf --run"), "{later}");

    let (runs, environment) = (town.shop.runs.path(), town.shop.manifest().environment);
    town.open_line("backups", "product, order, gateway, firestore");
    backups(runs, &environment, 0, Drill::None);
    assert!(town.open_line("backups", "no backup that a drill has restored").contains("restore-drill"));
    backups(runs, &environment, 0, Drill::Green);
    town.done_line("backups", "4 stores");
    backups(runs, &environment, 400, Drill::Green);
    town.open_line("backups", "no backup from after the cut-over");

    for (number, item) in ["docs-readme", "docs-api", "docs-deployment", "docs-variables"].iter().enumerate()
    {
        let next = town.open_line("documentation", &format!("{number} of its 4 lines"));
        assert!(next.contains(item), "{next}");
        town.pasted(&next.replace("NAME", "Ada")).expect_code(0);
    }
    town.done_line("documentation", "4 of its 4 lines");
    assert!(town.open_line("archived", "there is no archive").contains("decommission --run"));
    town.open_line("dropped", "the old database is in its place");
}

fn backups(runs: &Path, environment: &str, hours: i64, drill: Drill) {
    TARGETS.iter().for_each(|target| backup_files::write(runs, environment, target, hours_ago(hours), drill));
}

fn as_markdown(town: &Town) {
    let said = town.call(&["checklist", "--markdown"]).expect_code(3);
    let done = town.done();
    for item in ITEMS {
        let mark = if done.iter().any(|id| id == item.id) { "x" } else { " " };
        says(&said, &[&format!("- [{mark}] {}", item.text)]);
    }
    assert_eq!(said.stdout.lines().filter(|line| line.trim_start().starts_with("- [")).count(), ITEMS.len());
}

/// Without a server: an environment file, and the files of services.
#[test]
fn files_that_mention_the_old_database_are_found_and_no_secret_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let server = |host: &str, database: &str, variable: &str| {
        format!(
            "host = \"{host}\"\nport = 5432\ndatabase = \"{database}\"\nuser = \"u\"\n\
             password = {{ env = \"{variable}\" }}\ntls = \"disable\"\n"
        )
    };
    let environment = format!(
        "[source]\n{}[targets.product]\n{}[targets.order]\n{}[targets.gateway]\n{}[firestore]\nproject = \"shop-new\"\n\
         [services]\norder = \"https://order.example.com/api/orders\"\n[policy]\nemulator = false\n",
        server("old.example.com", "ecommerce_db", "OLD_PW"),
        server("product.example.com", "product_database", "NEW_PW"),
        server("order.example.com", "order_database", "NEW_PW"),
        server("gateway.example.com", "gateway_database", "NEW_PW")
    );
    write("env/shop.toml", environment.as_bytes());
    write(
        "services/order/app.properties",
        b"# ours\nurl=jdbc:postgresql://old.example.com:5432/ecommerce_db\npassword=hunter2\n",
    );
    write(
        "services/user/config.js",
        b"const url = process.env.DATABASE_URL || 'postgres://app:hunter2@db/ecommerce_db'\n",
    );
    write(
        "services/compose.yml",
        b"volumes:\n  postgres-data:\n  postgres-product-data:\nx: old.example.com\ny: canary-old 5432\n",
    );
    for left_out in [".git/x", "node_modules/x", "user/target/x"] {
        write(&format!("services/{left_out}"), b"ecommerce_db\n");
    }
    write("services/logo.png", b"\0ecommerce_db\n");
    let services = dir.path().join("services");
    let search = || -> Said {
        let mut tool = binary();
        tool.args(["checklist", "services", "--dir"])
            .arg(&services)
            .arg("--env")
            .arg(dir.path().join("env/shop"));
        tool.env("OLD_PW", "canary-old").env("NEW_PW", "canary-new").env_remove("FIRESTORE_EMULATOR_HOST");
        tool.output().unwrap().into()
    };
    let said = search().expect_code(3);
    assert!(
        said.stdout.starts_with("✗ 5 lines in 3 of 3 files mention the old database\n"),
        "{}",
        said.stdout
    );
    says(
        &said,
        &[
            "compose.yml:2: volume: postgres-data:",
            "compose.yml:4: host: x: old.example.com",
            "compose.yml:5: port: y: *** 5432",
            "order/app.properties:2: database: url=jdbc:postgresql://old.example.com:5432/ecommerce_db",
            "user/config.js:1: database: const url = process.env.DATABASE_URL || 'postgres://app:***@db/ecommerce_db'",
            "order-service\n  answers at: https://order.example.com/api/orders\n",
            "SPRING_DATASOURCE_URL=jdbc:postgresql://order.example.com:5432/order_database",
            "SPRING_DATASOURCE_PASSWORD=${ORDER_PASSWORD}",
            "GOOGLE_CLOUD_PROJECT=shop-new",
        ],
    );
    let all = format!("{}{}", said.stdout, said.stderr);
    for secret in ["hunter2", "canary-old", "canary-new", "FIRESTORE_EMULATOR_HOST"] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
    for file in ["order/app.properties", "user/config.js", "compose.yml"] {
        fs::write(services.join(file), "url=jdbc:postgresql://order.example.com:5432/order_database\n")
            .unwrap();
    }
    let said = search().expect_code(0);
    assert!(
        said.stdout.starts_with("✓ 0 lines in 0 of 3 files mention the old database\n"),
        "{}",
        said.stdout
    );
    fs::remove_dir_all(&services).unwrap();
    assert_refused("no directory", &search(), &["is no directory"]);
}
