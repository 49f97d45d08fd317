//! A short campaign of the way back.

use crate::tool::Place;

#[test]
fn nothing_is_lost_invented_or_changed() {
    let place = Place::new();
    let campaign = place.start(&["chaos", "--rollbacks", "3", "--cuts", "3", "--seed", "9", "--json"]);
    let said = campaign.ends_within(300).expect_code(0);
    let found = said.json();
    assert_eq!(found["failures"], serde_json::json!([]), "{}", said.stderr);
    assert_eq!(found["rounds"], 3);
    assert!(found["cuts"].as_u64().unwrap() >= 1, "{found}");
    assert!(found["received"].as_u64().unwrap() >= 100, "{found}");
    place.assert_empty();
}
