//! The tool on a shop of its own per test: servers as processes of this machine.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/backup_files.rs"]
mod backup_files;
#[path = "../support/by_hand.rs"]
mod by_hand;
#[path = "../support/places.rs"]
mod places;
#[path = "../support/restarted.rs"]
mod restarted;
#[path = "../support/source.rs"]
mod source;
#[path = "../support/standby.rs"]
mod standby;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tool.rs"]
mod tool;
#[path = "../support/without_old.rs"]
mod without_old;

mod alerts;
mod archive;
mod between;
mod catch_up;
mod catch_up_stops;
mod changes;
mod checklist;
mod command_line;
mod conditional_writes;
mod connectivity;
mod convergence;
mod cutover;
mod damage;
mod decommission;
mod doctor;
mod drop_old;
mod encodings;
mod environments;
mod field;
mod firestore;
mod freeze;
mod from_a_standby;
mod full_disk;
mod guide_faults;
mod harden;
mod hazards;
mod held_back;
mod hostile;
mod interruptions;
mod isolation;
mod json;
mod kept;
mod lag;
mod last_look;
mod ledger;
mod misplaced;
mod mistakes;
mod monitor;
mod native;
mod perf;
mod pinned;
mod plan;
mod programs;
mod proof;
mod put_back;
#[path = "../support/quiet_day.rs"]
mod quiet_day;
mod read_whole;
mod refusals;
mod rehearsal;
mod remarks;
mod repair;
mod replay;
mod report;
mod restore;
mod restore_drill;
mod restore_stores;
mod resume;
mod rollback;
mod schedule;
mod secrets;
mod seen;
mod service_back;
mod services;
mod silence;
mod smoke;
mod status;
mod store_backups;
mod story;
mod strangers;
mod targets;
mod troubleshoot;
mod unchanged;
mod unfit;
mod unmigrated;
mod verdict;
