//! What the machine has: PostgreSQL's programs, java, the emulator, an account to run them.

use crate::effects::chores;
use crate::servers::native::options::EmulatorChoice;
use anyhow::{Context, Result, bail};
use nix::unistd::{User, geteuid};
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

/// What a run calls, and a person for whom it prints a command.
pub const CLIENT_PROGRAMS: &[&str] = &["pg_dump", "pg_dumpall", "pg_restore", "psql"];
/// What local servers are made and run with.
const SERVER_PROGRAMS: &[&str] = &["initdb", "postgres"];
const OLDEST_POSTGRES: u32 = 14;
const JAR_IN_SDK: &str = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar";
const JAR_VARIABLE: &str = "FIRESTORE_EMULATOR_JAR";

/// Something that is not on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub what: String,
    /// The exact command that installs it.
    pub install: String,
    /// Debian's packages that bring it; empty where apt cannot.
    pub apt_packages: Vec<&'static str>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; to install it: {}", self.what, self.install)
    }
}

impl std::error::Error for Missing {}

impl Missing {
    fn apt(what: String, packages: &[&'static str]) -> Missing {
        let sudo = if geteuid().is_root() { "" } else { "sudo " };
        Missing {
            what,
            install: format!("{sudo}apt-get install --yes {}", packages.join(" ")),
            apt_packages: packages.to_vec(),
        }
    }
}

/// Everything a start with this emulator would miss, each with the exact command that installs it.
pub fn missing(emulator: &EmulatorChoice) -> Vec<Missing> {
    let mut lacking: Vec<Missing> = postgres_bindir().err().into_iter().collect();
    if *emulator == EmulatorChoice::Start {
        lacking.extend(java().err());
        lacking.extend(jar().err());
    }
    lacking
}

/// One message for all that is missing.
pub fn describe(lacking: &[Missing]) -> String {
    let mut text = String::from("this machine lacks what the local servers need:");
    for one in lacking {
        text += &format!("\n  {}\n    {}", one.what, one.install);
    }
    text
}

/// The account that servers run as where we are root, which PostgreSQL refuses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub uid: u32,
    pub gid: u32,
}

/// `None`: servers run as ourselves.
pub(super) fn account() -> Result<Option<Account>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name).with_context(|| format!("looking up the account {name}"))? {
            return Ok(Some(Account { uid: user.uid.as_raw(), gid: user.gid.as_raw() }));
        }
    }
    bail!("PostgreSQL refuses to run as root, and there is neither an account postgres nor nobody");
}

/// Whether the account has all `bits` (4 read, 1 execute or traverse) on the file and may get there.
pub(super) fn reachable(path: &Path, bits: u32, account: Option<Account>) -> bool {
    let Some(account) = account else { return true };
    path.canonicalize().is_ok_and(|real| {
        allows(&real, bits, account) && real.ancestors().skip(1).all(|dir| allows(dir, 1, account))
    })
}

fn allows(path: &Path, bits: u32, account: Account) -> bool {
    fs::metadata(path).is_ok_and(|found| {
        let (user, group) = (found.uid() == account.uid, found.gid() == account.gid);
        let shift = if user {
            6
        } else if group {
            3
        } else {
            0
        };
        found.mode() >> shift & bits == bits
    })
}

/// Where a stack may stand: the first of `$TMPDIR`, /tmp, /var/tmp that the account can traverse.
pub(super) fn temp_root(account: Option<Account>) -> Result<PathBuf> {
    (temp_roots().into_iter().find(|dir| reachable(dir, 1, account)))
        .context("no temporary directory that the servers' account can enter ($TMPDIR, /tmp, /var/tmp)")
}

/// Everywhere a stack may stand.
pub fn temp_roots() -> Vec<PathBuf> {
    let mut roots = Vec::new();
    for dir in [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()] {
        if let Ok(dir) = dir.canonicalize()
            && !roots.contains(&dir)
        {
            roots.push(dir);
        }
    }
    roots
}

/// Where PostgreSQL's programs for local servers are: those of [`CLIENT_PROGRAMS`], too, since what is rehearsed
/// there calls them.
pub fn postgres_bindir() -> Result<PathBuf, Missing> {
    let all = [SERVER_PROGRAMS, CLIENT_PROGRAMS].concat();
    newest_with(&all, account().ok().flatten(), &["postgresql", "postgresql-client"])
}

/// Where the programs are that a run calls, wherever its servers are.
pub fn client_bindir() -> Result<PathBuf, Missing> {
    newest_with(CLIENT_PROGRAMS, None, &["postgresql-client"])
}

/// The newest, at least version 14, among `$PATH`, `pg_config --bindir` and Debian's versioned directories
/// that has all of these for the account; of one version the last, which is no wrapper that chooses again.
fn newest_with(
    programs: &[&str],
    account: Option<Account>,
    packages: &[&'static str],
) -> Result<PathBuf, Missing> {
    let mut newest: Option<((u32, u32), PathBuf)> = None;
    for dir in postgres_candidates() {
        if programs
            .iter()
            .all(|program| reachable(&dir.join(program), 5, account) && dir.join(program).is_file())
            && let Some(version) = version_of(&dir.join(programs[0]))
            && version.0 >= OLDEST_POSTGRES
            && newest.as_ref().is_none_or(|(known, _)| version >= *known)
        {
            newest = Some((version, dir));
        }
    }
    newest.map(|(_, dir)| dir).ok_or_else(|| {
        let programs = programs.join(", ");
        let what =
            format!("PostgreSQL {OLDEST_POSTGRES} or newer ({programs} in one directory) is not there");
        Missing::apt(what, packages)
    })
}

fn postgres_candidates() -> Vec<PathBuf> {
    let mut dirs = path_dirs();
    dirs.extend(chores::output("pg_config", &["--bindir"]).map(|dir| PathBuf::from(dir.trim_end())));
    dirs.extend(entries(Path::new("/usr/lib/postgresql")).into_iter().map(|version| version.join("bin")));
    dirs
}

/// Major and minor of `initdb (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)`; `18beta1` is 18.0.
fn version_of(program: &Path) -> Option<(u32, u32)> {
    let text = chores::output(program, &["--version"])?;
    let numbers = numbers(text.split_once("(PostgreSQL)")?.1.split_whitespace().next()?);
    Some((*numbers.first()?, numbers.get(1).copied().unwrap_or(0)))
}

/// The numbers in a version: `1.19.8` is 1, 19, 8.
fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// java and the emulator's jar. Only the first that is missing is in the error; [`missing`] has both.
pub fn emulator_jar() -> Result<(PathBuf, PathBuf), Missing> {
    Ok((java()?, jar()?))
}

fn java() -> Result<PathBuf, Missing> {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    home.filter(|java| java.is_file())
        .or_else(|| in_path("java"))
        .ok_or_else(|| Missing::apt("java, for the Firestore emulator".to_owned(), &["default-jre-headless"]))
}

fn jar() -> Result<PathBuf, Missing> {
    if let Some(named) = set_variable(JAR_VARIABLE) {
        let jar = PathBuf::from(named);
        return if jar.is_file() { Ok(jar) } else { Err(wrong_jar(&jar)) };
    }
    let in_sdk = sdk_roots().into_iter().map(|root| root.join(JAR_IN_SDK)).find(|jar| jar.is_file());
    in_sdk.or_else(firebase_jar).ok_or_else(missing_jar)
}

fn sdk_roots() -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = set_variable("CLOUDSDK_ROOT_DIR").map(PathBuf::from).into_iter().collect();
    roots.extend(gcloud_root());
    roots.extend(["/usr/lib", "/usr/share", "/opt"].map(|parent| Path::new(parent).join("google-cloud-sdk")));
    roots.push("/snap/google-cloud-cli/current".into());
    roots.extend(std::env::home_dir().map(|home| home.join("google-cloud-sdk")));
    roots
}

/// The Google Cloud CLI that `gcloud` in `$PATH` belongs to.
fn gcloud_root() -> Option<PathBuf> {
    let gcloud = in_path("gcloud")?.canonicalize().ok()?;
    Some(gcloud.parent()?.parent()?.to_owned())
}

/// The newest in the Firebase CLI's cache.
fn firebase_jar() -> Option<PathBuf> {
    let cache = std::env::home_dir()?.join(".cache/firebase/emulators");
    let name = |jar: &PathBuf| jar.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
    entries(&cache)
        .into_iter()
        .filter(|jar| name(jar).starts_with("cloud-firestore-emulator-v") && name(jar).ends_with(".jar"))
        .max_by_key(|jar| numbers(&name(jar)))
}

fn wrong_jar(jar: &Path) -> Missing {
    Missing {
        what: format!("the Firestore emulator: {JAR_VARIABLE} names {}, which is no file", jar.display()),
        install: format!("unset {JAR_VARIABLE}"),
        apt_packages: Vec::new(),
    }
}

/// The command depends on what is there already: each CLI installs the emulator in its own way.
fn missing_jar() -> Missing {
    let what = "Google's Firestore emulator (cloud-firestore-emulator.jar)".to_owned();
    if has_google_apt_source() {
        return Missing::apt(what, &["google-cloud-cli-firestore-emulator"]);
    }
    let install = match gcloud_root() {
        Some(root) if has_component_manager(&root) => {
            "gcloud components install cloud-firestore-emulator --quiet"
        }
        _ if in_path("firebase").is_some() => "firebase setup:emulators:firestore",
        _ if in_path("npx").is_some() => "npx --yes firebase-tools setup:emulators:firestore",
        _ => {
            "curl -fsSL https://sdk.cloud.google.com | bash -s -- --disable-prompts && \
             ~/google-cloud-sdk/bin/gcloud components install cloud-firestore-emulator --quiet"
        }
    };
    Missing { what, install: install.to_owned(), apt_packages: Vec::new() }
}

fn has_google_apt_source() -> bool {
    let mut lists = entries(Path::new("/etc/apt/sources.list.d"));
    lists.push("/etc/apt/sources.list".into());
    lists.iter().any(|list| {
        fs::read_to_string(list).is_ok_and(|text| {
            text.lines().any(|line| !line.starts_with('#') && line.contains("packages.cloud.google.com/apt"))
        })
    })
}

/// A Google Cloud CLI from a distribution's package refuses `gcloud components install`.
fn has_component_manager(sdk: &Path) -> bool {
    fs::read(sdk.join("lib/googlecloudsdk/core/config.json"))
        .ok()
        .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
        .is_none_or(|config| config["disable_updater"] != true)
}

fn set_variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn in_path(program: &str) -> Option<PathBuf> {
    path_dirs().into_iter().map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn path_dirs() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// What stands in a directory; nothing where it cannot be read.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
