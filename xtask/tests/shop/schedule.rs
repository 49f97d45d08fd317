//! `schedule`: units that systemd takes, crontab lines between marks, a failure that is seen, and no file or line of
//! others touched. Everything goes to directories of the test.

use crate::support::{Said, assert_refused, binary, says};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Machine {
    home: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        Machine { home: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn schedule(&self, arguments: &[&str]) -> Said {
        let mut command = binary();
        command.arg("schedule").args(arguments).arg("--directory").arg(self.home.path());
        command.arg("--backup-dir").arg(self.at("runs")).env("HOME", self.home.path());
        command.output().unwrap().into()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn systemd_takes_the_units_and_only_ours_are_removed() {
    let machine = Machine::new();
    let others = machine.at("xtask-backup-other.timer");
    fs::write(&others, "[Timer]\nOnCalendar=daily\n").unwrap();
    says(&machine.schedule(&["list"]).expect_code(0), &["nothing is scheduled for environment `local`"]);
    let printed = machine.schedule(&["install", "--print"]).expect_code(0);
    says(&printed, &["OnCalendar=*-*-* 02:00:00", "[Service]"]);
    assert_eq!(fs::read_dir(machine.home.path()).unwrap().count(), 1, "--print writes nothing");

    let said =
        machine.schedule(&["install", "--keep-days", "30", "--on-failure", "mail@%n.service"]).expect_code(0);
    says(&said, &["✓ INSTALLED xtask-backup-local: every day at 02:00"]);
    machine.schedule(&["install", "--what", "drill", "--at", "04:30"]).expect_code(0);
    let (service, timer) = (machine.at("xtask-backup-local.service"), machine.at("xtask-backup-local.timer"));
    let (service_text, timer_text) =
        (fs::read_to_string(&service).unwrap(), fs::read_to_string(&timer).unwrap());
    for line in
        ["OnCalendar=*-*-* 02:00:00", "RandomizedDelaySec=900", "Persistent=true", "WantedBy=timers.target"]
    {
        assert!(timer_text.lines().any(|l| l == line), "{line}: {timer_text}");
    }
    let runs = machine.at("runs");
    let command = format!(
        " backup --target all --env local --store-backups {0}/stores --backup-dir {0} --keep-days 30",
        runs.display()
    );
    assert!(service_text.contains(&command), "{service_text}");
    let variables = format!("EnvironmentFile=-{}/.config/xtask/local.env", machine.home.path().display());
    for line in [&*variables, "Type=oneshot", "OnFailure=mail@%n.service", "UMask=0077"] {
        assert!(service_text.lines().any(|l| l == line), "{line}: {service_text}");
    }
    assert!(!service_text.to_lowercase().contains("password"), "{service_text}");
    // Whichever servers were meant, are meant at night.
    let printed = machine.schedule(&["install", "--runtime", "docker", "--print"]).expect_code(0);
    let line = printed.stdout.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
    assert!(line.ends_with(" --runtime docker"), "{line}");
    // What is printed is what is installed, to the letter: else nobody would know it for ours.
    let again = machine.schedule(&["install", "--what", "drill", "--at", "04:30", "--print"]).expect_code(0);
    for name in ["xtask-drill-local.service", "xtask-drill-local.timer"] {
        says(&again, &[&fs::read_to_string(machine.at(name)).unwrap()]);
    }
    assert_eq!((mode(&service), mode(&timer)), (0o644, 0o644));
    let drill = fs::read_to_string(machine.at("xtask-drill-local.timer")).unwrap();
    assert!(drill.contains("OnCalendar=*-*-* 04:30:00"), "{drill}");
    for unit in ["xtask-backup-local", "xtask-drill-local"] {
        verified(&machine.at(&format!("{unit}.timer")));
        verified(&machine.at(&format!("{unit}.service")));
    }
    let listed = machine.schedule(&["list"]).expect_code(0);
    says(
        &listed,
        &["2 scheduled", "xtask-backup-local: next *-*-* 02:00:00; no run is known", "xtask-drill-local"],
    );

    // Another's unit of that name is neither replaced nor removed.
    fs::write(&timer, "[Timer]\n").unwrap();
    assert_refused("install", &machine.schedule(&["install"]), &["is none of this tool's files"]);
    assert_eq!(fs::read_to_string(&timer).unwrap(), "[Timer]\n");
    fs::write(&timer, timer_text).unwrap();
    says(&machine.schedule(&["remove", "-n"]).expect_code(0), &["would remove "]);
    assert!(timer.exists());
    machine.schedule(&["remove"]).expect_code(0);
    let left: Vec<PathBuf> = fs::read_dir(machine.home.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left, [others]);
    says(&machine.schedule(&["remove"]).expect_code(0), &["nothing to remove"]);
    assert_eq!(machine.schedule(&["install", "--at", "2:00"]).code, Some(2));
    assert_refused(
        "a drill keeps",
        &machine.schedule(&["install", "--what", "drill", "--keep-last", "1"]),
        &["for backups"],
    );
}

/// By systemd itself, where the machine has it.
fn verified(unit: &Path) {
    let verify = Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(unit).output();
    match verify {
        Err(error) => eprintln!("{} is not verified: no systemd-analyze ({error})", unit.display()),
        Ok(said) => {
            let text = String::from_utf8_lossy(&said.stderr).into_owned();
            let ours: Vec<&str> = text.lines().filter(|line| line.contains("xtask-")).collect();
            assert!(said.status.success() && ours.is_empty(), "{}: {text}", unit.display());
        }
    }
}

/// An environment whose servers nobody runs.
fn nowhere(machine: &Machine) -> PathBuf {
    let server = |label: &str| {
        format!(
            "host = \"127.0.0.1\"\nport = 1\ndatabase = \"{label}\"\nuser = \"x\"\npassword = {{ env = \"NOWHERE\" }}\n\
             tls = \"disable\"\n"
        )
    };
    let text = format!(
        "[source]\n{}\n[targets.product]\n{}\n[targets.order]\n{}\n[targets.gateway]\n{}\n[firestore]\nproject = \
         \"demo-x\"\nemulator = true\nemulator_host = \"127.0.0.1:1\"\n\n[policy]\n",
        server("s"),
        server("p"),
        server("o"),
        server("g")
    );
    let path = machine.at("nowhere.toml");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn crontab_lines_stand_between_marks_and_a_failure_is_seen() {
    let machine = Machine::new();
    let environment = nowhere(&machine);
    let env = environment.to_str().unwrap();
    let variables = machine.at("secrets.env");
    fs::write(&variables, "NOWHERE=canary-of-schedule\n").unwrap();
    let others = "MAILTO=ops@example.com\n# mine\n5 4 * * 1 /usr/bin/true 100\\%\n";
    let crontab = machine.at("crontab");
    fs::write(&crontab, others).unwrap();
    let install = |at: &str| {
        let secrets = ["--environment-file", variables.to_str().unwrap()];
        machine.schedule(&[&["install", "--crontab", "--env", env, "--at", at][..], &secrets].concat())
    };
    install("02:00").expect_code(0);
    install("03:05").expect_code(0);
    let text = fs::read_to_string(&crontab).unwrap();
    let block = text.strip_prefix(others).expect(&text);
    let lines: Vec<&str> = block.lines().collect();
    assert_eq!(lines.len(), 4, "{block}");
    assert!(
        lines[0].starts_with("# BEGIN xtask-backup-nowhere_")
            && lines[3].starts_with("# END xtask-backup-nowhere_")
    );
    assert!(lines[1].starts_with("5 3 * * * '") && lines[1].ends_with(".sh' delayed"), "{block}");
    assert!(lines[2].starts_with("@reboot '") && lines[2].ends_with(".sh' missed"), "{block}");
    let script = PathBuf::from(lines[2].split('\'').nth(1).unwrap());
    assert_eq!(mode(&script), 0o700);
    let written = fs::read_to_string(&script).unwrap();
    assert!(!written.contains("canary") && !block.contains("canary"), "{written}");
    let list = || machine.schedule(&["list", "--crontab", "--env", env]).expect_code(0);
    says(&list(), &["next every day at 03:05, up to 15 minutes later; no run is known"]);

    // Nothing has run yet: what was missed is done, and fails.
    let ran = Command::new(&script).arg("missed").output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let code = ran.status.code().unwrap();
    assert!(code != 0 && said.contains(&format!("ended with {code}:")), "{said}");
    assert!(said.contains("nothing listens there") && !said.contains("canary"), "{said}");
    says(&list(), &[&format!(", FAILED with {code}")]);
    // Not again within a day.
    let last = script.with_extension("last");
    let before = fs::read_to_string(&last).unwrap();
    let ran = Command::new(&script).arg("missed").output().unwrap();
    assert_eq!(
        (ran.status.code(), &*ran.stdout, fs::read_to_string(&last).unwrap()),
        (Some(0), &b""[..], before)
    );

    // Marks that are not whole are refused, and nothing is changed.
    let broken = text.replace(lines[3], "# END of something else");
    fs::write(&crontab, &broken).unwrap();
    for verb in ["install", "remove"] {
        let said = machine.schedule(&[verb, "--crontab", "--env", env]);
        assert_refused(verb, &said, &["the crontab has not one line `# BEGIN", "crontab -e"]);
        assert_eq!(fs::read_to_string(&crontab).unwrap(), broken);
    }
    fs::write(&crontab, &text).unwrap();
    machine.schedule(&["remove", "--crontab", "--env", env]).expect_code(0);
    assert_eq!(fs::read_to_string(&crontab).unwrap(), others);
    assert!(!script.exists() && !last.exists() && !script.with_extension("log").exists());
    assert_refused(
        "no such environment",
        &machine.schedule(&["list", "--env", "loocal"]),
        &["did you mean local?"],
    );
}
