//! What holds for every decoder, whatever it reads.

use super::*;

#[test]
fn names_are_one_words_each() {
    let mut names: Vec<&str> = Vec::new();
    for decoder in ALL {
        names.push(decoder.name);
        names.extend(decoder.aliases);
    }
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), names.len(), "a word for two formats, or twice for one: {names:?}");
    assert_eq!(find("Solarwinds-Pingdom").map(|decoder| decoder.name), Some("pingdom"));
    assert_eq!(find("no such"), None);
}

#[test]
fn what_is_no_payload_of_a_format_is_rejected_with_a_reason() {
    for decoder in ALL {
        for bytes in [
            &b""[..],
            b" \n",
            b"{}",
            b"[1]",
            b"\"x\"",
            b"{\"a\":",
            b"\xff\xfe",
            b"null",
            b"no json",
        ] {
            let payload = Payload {
                bytes,
                headers: &[],
                arrival: Timestamp::from_millis(1_763_913_600_000),
                zone: &TimeZone::UTC,
                depth: 32,
            };
            let mut found = Vec::new();
            decoder.read(&payload, &mut found);
            let text = String::from_utf8_lossy(bytes);
            assert!(!found.is_empty(), "{} says nothing at all of {text:?}", decoder.name);
            for found in found {
                let Found::Rejected { failure, .. } = found else {
                    panic!("{} takes {text:?} for {found:?}", decoder.name);
                };
                assert!(failure.message.len() > 5, "{}: {failure:?}", decoder.name);
            }
        }
    }
}
