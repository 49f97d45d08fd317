//! A short campaign of corruptions: each is detected with its place and nothing else, one of them comes back
//! by its number alone, and nothing is left behind.

use crate::tool::Place;
use nix::sys::signal::Signal;

#[test]
fn every_corruption_is_detected_and_nothing_else() {
    let place = Place::new();
    let said = place.start(&["chaos", "--corruptions", "60", "--seed", "3", "--json"]).ends_within(600);
    let said = said.expect_code(0);
    let found = said.json();
    assert_eq!((found["corruptions"].as_u64(), found["detected"].as_u64()), (Some(60), Some(60)));
    assert_eq!(found["failures"], serde_json::json!([]), "{}", said.stderr);
    assert_eq!(found["false_alarms"], 0);
    assert!(found["undisturbed"].as_u64().unwrap() >= 6 && found["by_binary"].as_u64().unwrap() >= 1);
    // Values, rows, documents, definitions and files.
    let kinds: Vec<&str> = found["kinds"].as_object().unwrap().keys().map(String::as_str).collect();
    for kind in ["value: ", "field: ", "file: ", "index: ", "type: "] {
        assert!(kinds.iter().any(|known| known.starts_with(kind)), "nothing of {kind} in {kinds:?}");
    }
    assert!(found["ways_and_places"].as_u64().unwrap() > 2_000);
    place.assert_empty();
}

#[test]
fn a_number_brings_one_of_them_back() {
    let place = Place::new();
    let only = |number: &str| {
        let said = place.start(&["chaos", "--seed", "3", "--only", number]).ends_within(120).expect_code(0);
        assert!(said.stdout.contains("1 corruptions, 1 detected"), "{}", said.stdout);
        let line = said.stderr.lines().find(|line| line.starts_with(&format!("  {number}: ")));
        line.unwrap_or_else(|| panic!("{}", said.stderr)).to_string()
    };
    assert_eq!(only("17"), only("17"));
    place.assert_empty();
}

#[test]
fn nothing_is_left_of_a_campaign_that_is_interrupted() {
    let place = Place::new();
    let mut campaign = place.start(&["chaos", "--corruptions", "2000", "--seed", "3"]);
    campaign.wait_for_words("ways and places");
    campaign.signal(Signal::SIGTERM);
    campaign.ends_within(5).expect_code(6);
    place.assert_empty();
}

#[test]
fn what_is_typed_has_to_make_sense() {
    let place = Place::new();
    for wrong in [
        &["chaos", "--corruptions", "5", "--cuts", "5"][..],
        &["chaos", "--only", "5"],
        &["chaos", "--only", "5", "--corruptions", "5", "--seed", "1"],
    ] {
        place.start(wrong).ends_within(20).expect_code(2);
    }
}
