//! A short campaign of verbs beside each other: what the services write stays, and what is green is so.

use crate::tool::Place;

#[test]
fn no_write_of_a_service_is_lost_whoever_types_what() {
    let place = Place::new();
    let campaign = place.start(&["chaos", "--verbs", "all", "--cuts", "12", "--seed", "3", "--json"]);
    let said = campaign.ends_within(600).expect_code(0);
    let found = said.json();
    assert_eq!(found["failures"], serde_json::json!([]), "{}", said.stderr);
    assert_eq!(found["cuts"].as_u64(), Some(12), "{}", said.stderr);
    assert!(found["written"].as_u64().unwrap() > 50, "{}", said.stderr);
    assert!(found["beside"].as_u64().unwrap() > 3, "{}", said.stderr);
    // A service of the old shop writes until the freeze, and then no more.
    assert!(found["committed"].as_u64().unwrap() > 0, "{}", said.stderr);
    // What the second machine knows is older than the cut-over in some scenes.
    assert!(found["copies"]["BeforeTheCutover"].as_u64().unwrap() > 0, "{}", said.stderr);
    place.assert_empty();
}

#[test]
fn a_number_brings_a_scene_of_verbs_back() {
    let place = Place::new();
    let said = place.start(&["chaos", "--verbs", "all", "--seed", "3", "--only", "3"]).ends_within(120);
    let said = said.expect_code(0);
    assert!(said.stderr.contains("scene 3 (CutOver): replay (copy), replay after"), "{}", said.stderr);
    assert!(said.stdout.contains(" in 1 scenes"), "{}", said.stdout);
    place.assert_empty();
}
