//! Firestore's part of an environment: where it is, and whose key opens it.

use super::parts::Firestore;
use super::shown::{Entry, Origin};
use super::surroundings::{Resolving, Surroundings};
use std::path::{Path, PathBuf};

impl<S: Surroundings> Resolving<'_, S> {
    pub fn firestore(&mut self) -> Firestore {
        let file = &self.environment.file.firestore;
        let emulator = self.emulator();
        let credentials = if file.emulator { None } else { self.credentials() };
        Firestore {
            project: file.project.clone(),
            database: file.database.clone(),
            emulator,
            credentials,
            rate: file.rate,
            prices: None,
            max_cost: None,
        }
    }

    /// Only where the file says so, and the policy does not forbid it (DESIGN rule 17).
    fn emulator(&mut self) -> Option<String> {
        let environment = self.environment;
        let file = &environment.file.firestore;
        let ambient = self.outside.variable("FIRESTORE_EMULATOR_HOST");
        for (key, said) in [("firestore.emulator", file.emulator), ("stack", environment.file.stack)] {
            if said && !environment.file.policy.emulator {
                self.problems.push(format!(
                    "{key} = true ({}), but the policy allows no emulator: policy.emulator = false ({})",
                    self.origin_of(key),
                    self.origin_of("policy.emulator")
                ));
            }
        }
        let (host, origin) = match (file.emulator, ambient, &file.emulator_host) {
            (true, Some(host), _) => {
                (host.to_string(), Origin::Variable { name: "FIRESTORE_EMULATOR_HOST".to_string() })
            }
            (true, None, Some(host)) => (host.value.clone(), self.line(host)),
            (true, None, None) => {
                self.problems.push(
                    "firestore.emulator = true, but where it is nobody says: set \
                     FIRESTORE_EMULATOR_HOST=host:port or firestore.emulator_host"
                        .into(),
                );
                return None;
            }
            (false, Some(host), _) => {
                self.problems.push(format!(
                    "FIRESTORE_EMULATOR_HOST={host} is set, but this environment is not for an emulator: unset it"
                ));
                return None;
            }
            (false, None, _) => return None,
        };
        let (key, value) = ("firestore.emulator_host".to_string(), Some(host.clone()));
        self.entries.push(Entry { key, value, present: None, origin });
        Some(host)
    }

    /// The key file of a service account, which has to be of the environment's project. `None`: the
    /// client looks for application default credentials.
    fn credentials(&mut self) -> Option<PathBuf> {
        const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
        let ambient = self.outside.variable(VARIABLE).filter(|path| !path.is_empty());
        let (path, origin) = match (ambient, &self.environment.file.firestore.credentials) {
            // Relative to where we are, as for every other program.
            (Some(path), _) => (PathBuf::from(path), Origin::Variable { name: VARIABLE.to_string() }),
            (None, Some(at)) => (self.path(&at.value), self.line(at)),
            (None, None) => {
                let value = Some("application default credentials".to_string());
                let key = "firestore.credentials".to_string();
                self.entries.push(Entry { key, value, present: None, origin: Origin::Default });
                return None;
            }
        };
        let (key, value) = ("firestore.credentials".to_string(), Some(path.display().to_string()));
        self.entries.push(Entry { key, value, present: None, origin: origin.clone() });
        let project = &self.environment.file.firestore.project;
        let account = self
            .outside
            .file(&path)
            .map_err(|error| format!("which cannot be read: {error}"))
            .and_then(|found| is_of(&found.bytes, project));
        match account {
            Ok(Account::Service) => Some(path),
            // The client reads that variable itself, and knows the other kinds.
            Ok(Account::Other) if ambient.is_some() => None,
            Ok(Account::Other) => {
                self.problem_with(&path, &origin, "which is not the key of a service account".to_string());
                None
            }
            Err(problem) => {
                self.problem_with(&path, &origin, problem);
                None
            }
        }
    }

    fn problem_with(&mut self, path: &Path, origin: &Origin, problem: String) {
        let path = path.display();
        self.problems.push(format!("the credentials of Firestore come from {path} ({origin}), {problem}"));
    }
}

/// What kind of credentials a file holds.
enum Account {
    Service,
    /// A person's, or those of a federation: they belong to no project.
    Other,
}

/// Of which kind, if it is not of another project.
fn is_of(json: &[u8], project: &str) -> Result<Account, String> {
    // Not the parser's error: it may show a piece of the key.
    let json: serde_json::Value =
        serde_json::from_slice(json).map_err(|_| "which is not JSON".to_string())?;
    if let Some(other) = json["project_id"].as_str().filter(|other| *other != project) {
        return Err(format!(
            "which are of project `{other}`, but firestore.project is `{project}`: take the key of `{project}`, \
             or correct the project"
        ));
    }
    Ok(if json["type"] == "service_account" { Account::Service } else { Account::Other })
}
