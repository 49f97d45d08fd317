//! A short campaign: runs that are cut, resumed and compared with one that nobody disturbed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;
#[path = "support/tool.rs"]
mod tool;

use tool::Place;

/// Every step of the journal once, and some faults drawn at random with a busy source.
#[test]
fn every_cut_run_comes_to_the_same_end() {
    let place = Place::new();
    let campaign = place.start(&["chaos", "--cuts", "40", "--seed", "20", "--json"]);
    let said = campaign.ends_within(1_200).expect_code(0);
    let found = said.json();
    assert_eq!(found["differences"], serde_json::json!([]), "{}", said.stderr);
    assert_eq!(found["gaps"], serde_json::json!([]), "{}", said.stderr);
    assert_eq!(found["steps_left"], serde_json::json!([]), "{}", said.stderr);
    assert!(found["steps_cut"].as_array().unwrap().len() > 20, "{}", said.stderr);
    assert!(found["resumes"].as_u64().unwrap() > 20, "{}", said.stderr);
    place.assert_empty();
}
