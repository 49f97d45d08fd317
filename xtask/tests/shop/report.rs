//! The report of a run: as text, JSON and a page; what was changed in a run's files is found; two runs beside each other.

use crate::support::{Said, Shop};
use secrecy::ExposeSecret;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::model::Database;
use xtask::tables::TABLES;

/// Every table has its row, nothing is loaded or run, and no sign of a stranger's is markup.
fn is_a_page(html: &str, shop: &Shop) {
    for table in TABLES {
        assert!(html.contains(&format!("<th scope=\"row\">{}<svg", table.name)), "{}", table.name);
    }
    for foreign in ["<script", "http://", "https://", "url(", "@import", "<img", "<link"] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    let digits: String = html.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert!(!digits.contains("0000-00-00T00:00:00"), "a time without its zone in words");
    let stack = format!(" --stack {}", shop.dir().display());
    let next = html.split("Next: <code>cargo xtask ").nth(1).and_then(|rest| rest.split("</code>").next());
    assert!(next.is_some_and(|next| next.contains(&stack)), "what to do next, complete: {next:?}");
    let password = shop.settings.source.password.expose_secret();
    assert!(!password.is_empty() && !html.contains(password), "no secret");
}

fn html(shop: &Shop) -> String {
    let said = shop.xtask(&["report", "--format", "html"]).expect_code(0);
    let path = PathBuf::from(said.stdout.lines().nth(1).unwrap());
    assert!(path.ends_with("report.html"), "{}", said.stdout);
    fs::read_to_string(path).unwrap()
}

fn first_line(said: &Said) -> String {
    said.stdout.lines().next().unwrap().to_string()
}

#[tokio::test]
async fn a_run_is_told_as_text_as_json_and_as_a_page() {
    let shop = Shop::open(1).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let run = shop.latest();
    for name in ["report.txt", "report.html", "report.json"] {
        assert!(run.file(name).is_file(), "{name} is written at the end of a run");
    }
    let said = shop.xtask(&["report"]).expect_code(0);
    let verdict = first_line(&said);
    assert!(
        verdict.starts_with("✓ PROVEN 50,702 rows = ") && verdict.contains("quarantined · 20"),
        "{verdict}"
    );
    assert!(said.stdout.contains("Not migrated") && said.stdout.contains("Hazards in the source"));
    let json = shop.xtask(&["report", "--json"]).expect_code(0).json();
    assert_eq!((&json["format"], &json["state"]), (&1.into(), &"proven".into()));
    assert_eq!(json["report"]["tables"].as_array().unwrap().len(), TABLES.len());
    let page = html(&shop);
    is_a_page(&page, &shop);
    assert!(page.contains("<title>Proven: run ") && page.contains("uid_not_an_id"), "{page}");

    // A row that is not what it was: the same run is not proven any more, and what is wrong comes first.
    let mut order = shop.target(Database::Order).await;
    order.run("UPDATE orders SET status = '<b>&</b>' WHERE id = 1").await.unwrap();
    shop.xtask(&["verify"]).expect_code(3);
    let page = html(&shop);
    is_a_page(&page, &shop);
    let (findings, rows) = (page.find("<h2>Findings").unwrap(), page.find("<h2>Where every row").unwrap());
    assert!(page.contains("<title>Not proven: run ") && findings < rows && !page.contains("<b>"));
    let verdict = first_line(&shop.xtask(&["report"]).expect_code(0));
    assert!(verdict.starts_with("✗ NOT PROVEN: 1 differ"), "{verdict}");
}

#[tokio::test]
async fn what_was_changed_in_a_run_is_found() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let run = shop.latest();
    let check = || shop.xtask(&["report", "--check"]);
    let sound = check().expect_code(0);
    assert!(sound.stdout.contains(" is what was written: "), "{}", sound.stdout);
    assert!(!sound.stdout.contains("earlier version"), "every line is linked: {}", sound.stdout);

    let journal = run.file("journal.jsonl");
    let whole = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, whole.replacen("\"detail\":\"", "\"detail\":\"x", 1)).unwrap();
    let said = check().expect_code(3).stdout;
    assert!(said.contains("journal.jsonl: line ") && said.contains("does not follow"), "{said}");
    // The last line has nothing after it: the report that was made of it knows it.
    let (all_but_one, _) = whole.trim_end().rsplit_once('\n').unwrap();
    fs::write(&journal, format!("{all_but_one}\n")).unwrap();
    let said = check().expect_code(3).stdout;
    assert!(said.contains("are not those that report.json was made of"), "{said}");
    fs::write(&journal, &whole).unwrap();
    check().expect_code(0);

    let file = run.file("orders.csv");
    let rows = fs::read(&file).unwrap();
    fs::write(&file, [&rows[..rows.len() - 2], b"7\n"].concat()).unwrap();
    let said = check().expect_code(3).stdout;
    assert!(said.contains("orders.csv"), "{said}");
}

#[tokio::test]
async fn two_runs_are_compared_by_what_is_not_the_same() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let first = shop.latest().id().to_string();
    let mut source = shop.superuser(&shop.settings.source).await;
    source.run("UPDATE products SET deleted_at = now() WHERE id = 1").await.unwrap();
    source.run("INSERT INTO orders (user_id, total_amount, created_at) VALUES (1, 5, now())").await.unwrap();
    shop.xtask(&["migrate", "--replace"]).expect_code(0);
    let said = shop.xtask(&["report", "--compare", &first]).expect_code(0).stdout;
    let line = said.lines().find(|line| line.trim_start().starts_with("orders ")).unwrap_or_default();
    assert!(line.contains("rows ") && line.contains("migrated ") && !line.contains("excluded"), "{said}");
    assert!(said.contains(&format!("run {first}: ✓ PROVEN")) && said.contains("Hazards: the same"), "{said}");
    assert!(!said.contains("  payments"), "what is the same has no line: {said}");
}

/// In headless Chromium, in a frame as wide as a phone: nothing is wider, and the console has no word.
fn opens(page: &Path, dir: &Path) {
    let frame = dir.join("frame.html");
    let text = format!(
        "<!doctype html><iframe id=f width=360 height=800 style=border:0 src=\"file://{}\"></iframe><p id=w></p><script>\
         onload = () => {{ const d = document.getElementById('f').contentDocument; \
         document.getElementById('w').textContent = 'wide ' + d.scrollingElement.scrollWidth + ' rows ' + \
         d.querySelectorAll('table.rows tbody tr').length }}</script>",
        page.display()
    );
    fs::write(&frame, text).unwrap();
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--allow-file-access-from-files", "--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", frame.display()))
        .output()
        .expect("the program chromium runs");
    let said = Said::from(output).expect_code(0);
    assert!(!said.stderr.contains("CONSOLE"), "{}", said.stderr);
    let words: Vec<&str> = said.stdout.split("wide ").nth(1).unwrap().split(&[' ', '<'][..]).collect();
    let (wide, rows): (u32, usize) = (words[0].parse().unwrap(), words[2].parse().unwrap());
    // Less than the frame, where it has a bar to scroll by.
    assert!((300..=360).contains(&wide), "{}", said.stdout);
    assert_eq!(rows, TABLES.len());
}

/// Proven with a quarantine, not proven, taken back.
#[tokio::test]
#[ignore = "needs Chromium: cargo test --test shop -- --ignored report"]
async fn the_page_opens_in_a_browser_whatever_it_says() {
    let shop = Shop::open(1).await;
    let dir = tempfile::tempdir().unwrap();
    let opened = |name: &str| {
        let page = dir.path().join(name);
        fs::write(&page, html(&shop)).unwrap();
        opens(&page, dir.path());
    };
    shop.xtask(&["migrate"]).expect_code(0);
    opened("green.html");
    let mut order = shop.target(Database::Order).await;
    order.run("UPDATE orders SET status = 'x' WHERE id = 1").await.unwrap();
    shop.xtask(&["verify"]).expect_code(3);
    opened("red.html");
    order.run("UPDATE orders SET status = 'x' WHERE id = 1").await.unwrap();
    shop.xtask(&["repair", "--apply"]).expect_code(0);
    shop.xtask(&["verify"]).expect_code(0);
    shop.xtask(&["cutover"]).expect_code(0);
    shop.xtask(&["rollback", "before-start"]).expect_code(0);
    opened("back.html");
    let page = html(&shop);
    assert!(page.contains("<title>Taken back") && page.contains("No proof of it holds any more"), "{page}");
}
