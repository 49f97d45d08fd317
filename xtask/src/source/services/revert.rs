//! The shop's configuration: kept by a backup, put back by a rollback, and the files that name its databases.

use crate::effects::terminal::Terminal;
use crate::model::Service;
use crate::refuse;
use crate::run::dir::RunDir;
use crate::run::manifest::COMPOSE_BEFORE;
use crate::servers::docker::ShopProject;
use crate::settings::Services;
use anyhow::{Context, Result};
use datapath::files::FileInfo;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// # Errors
/// Refuses a file that Compose does not understand.
pub async fn can_be_kept(file: &Path) -> Result<()> {
    let shop = ShopProject::of(file).await?;
    shop.understands(shop.file()).await
}

/// Keeps what Compose makes of the shop's file in the run's directory.
///
/// # Errors
/// Refuses a file that Compose does not understand.
pub async fn keep_configuration(run: &RunDir, file: &Path, terminal: &Terminal) -> Result<FileInfo> {
    let kept = ShopProject::of(file).await?.configuration().await?;
    if let Some(why) = kept.plain {
        terminal.detail(format!("{COMPOSE_BEFORE} is a plain copy of {}: {why}", file.display()));
    }
    run.write(COMPOSE_BEFORE, &kept.text)
}

/// What has become of the shop's compose file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PutBack {
    /// It was the old one already.
    Before,
    /// The old one has taken its place; what was there is kept under this path.
    Now { kept: Option<PathBuf> },
}

/// The run's configuration takes the place of the shop's, which is kept in the run's directory before. `written`: what
/// the backup wrote.
///
/// # Errors
/// Refuses where the run's file is not what the backup wrote. At any moment the shop has the one or the other.
pub fn put_back(run: &RunDir, written: &FileInfo, file: &Path) -> Result<PutBack> {
    let before = fs::read(as_written(run, written)?).context("reading the old configuration")?;
    let context = || format!("putting the old configuration back into {}", file.display());
    let present = match fs::read(file) {
        Ok(present) => Some(present),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(e).with_context(context),
    };
    if present.as_ref() == Some(&before) {
        return Ok(PutBack::Before);
    }
    let kept = present.map(|present| keep(run, &present)).transpose()?;
    replace(file, &before).with_context(context)?;
    Ok(PutBack::Now { kept })
}

/// The shop's old configuration in the run's directory.
///
/// # Errors
/// Refuses where it is not what the backup wrote.
pub fn as_written(run: &RunDir, written: &FileInfo) -> Result<PathBuf> {
    let file = run.file(COMPOSE_BEFORE);
    if run.measure(COMPOSE_BEFORE)? != *written {
        refuse!("{} is not what the backup wrote: it is not used", file.display());
    }
    Ok(file)
}

/// Under a name that nothing else has; a copy that is there already is enough.
fn keep(run: &RunDir, present: &[u8]) -> Result<PathBuf> {
    let mut number = 1;
    loop {
        let name = match number {
            1 => "docker-compose-after.yml".to_string(),
            n => format!("docker-compose-after-{n}.yml"),
        };
        let path = run.file(&name);
        match fs::read(&path) {
            Ok(there) if there == present => return Ok(path),
            Ok(_) => number += 1,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                // Never half of it under this name.
                let half = format!("{name}.new");
                run.write(&half, present)?;
                fs::rename(run.file(&half), &path).with_context(|| format!("writing {}", path.display()))?;
                return Ok(path);
            }
            Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
        }
    }
}

/// With its owner and mode, as a whole.
fn replace(file: &Path, text: &[u8]) -> Result<()> {
    let (folder, name) = (file.parent().context("no directory")?, file.file_name().context("no name")?);
    let new = folder.join(format!(".{}.new", name.to_string_lossy()));
    let mut options = OpenOptions::new();
    let mut written = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    written.write_all(text)?;
    if let Ok(there) = fs::metadata(file) {
        let made = written.metadata()?;
        if (made.uid(), made.gid()) != (there.uid(), there.gid()) {
            chown(&new, Some(there.uid()), Some(there.gid()))?;
        }
        written.set_permissions(fs::Permissions::from_mode(there.mode() & 0o7777))?;
    }
    written.sync_all()?;
    fs::rename(&new, file)?;
    Ok(File::open(folder)?.sync_all()?)
}

/// The files by which each service is told its database: as the environment says, else as the guide does.
pub fn files_to_revert(services: &Services, of: &[Service]) -> BTreeMap<Service, Vec<String>> {
    let files = |service: &Service| {
        let named = services.files.get(service).cloned();
        (*service, named.unwrap_or_else(|| vec![guides(*service).to_string()]))
    };
    of.iter().map(files).collect()
}

fn guides(service: Service) -> &'static str {
    match service {
        Service::User => "user-service/src/config/*",
        Service::Product => "product-service/app/config/database.py",
        Service::Order => "order-service/src/main/resources/application.properties",
        Service::Gateway => "api-gateway/src/config/database.js",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn the_old_configuration_is_put_back_and_the_one_that_was_there_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(&dir.path().join("runs")).unwrap();
        let written = run.write(COMPOSE_BEFORE, "old").unwrap();
        let file = dir.path().join("docker-compose.yml");
        fs::write(&file, "new").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();

        let kept = run.file("docker-compose-after.yml");
        let now = PutBack::Now { kept: Some(kept.clone()) };
        assert_eq!(put_back(&run, &written, &file).unwrap(), now);
        assert_eq!((text(&file), text(&kept)), ("old".into(), "new".into()));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&file), mode(&kept)), (0o640, 0o600));
        // Cut off behind it: the same again changes nothing; cut off before it: what was kept is enough.
        assert_eq!(put_back(&run, &written, &file).unwrap(), PutBack::Before);
        assert_eq!(text(&kept), "new");
        fs::write(&file, "new").unwrap();
        assert_eq!(put_back(&run, &written, &file).unwrap(), now);
        // Another one does not take the place of what was kept.
        fs::write(&file, "newer").unwrap();
        let second = run.file("docker-compose-after-2.yml");
        assert_eq!(put_back(&run, &written, &file).unwrap(), PutBack::Now { kept: Some(second.clone()) });
        assert_eq!((text(&file), text(&kept), text(&second)), ("old".into(), "new".into(), "newer".into()));
        fs::remove_file(&file).unwrap();
        assert_eq!(put_back(&run, &written, &file).unwrap(), PutBack::Now { kept: None });
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "nothing half is left: {left:?}");

        fs::write(&file, "new").unwrap();
        run.write(COMPOSE_BEFORE, "another").unwrap();
        let error = put_back(&run, &written, &file).unwrap_err().to_string();
        assert!(error.contains("is not what the backup wrote"), "{error}");
        assert_eq!(text(&file), "new");
    }
}
