//! The JSON of why nobody is told of an incident, in its row and in its changes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::common::by_way_of;
use crate::model::{Ask, Hold, Timestamp};

by_way_of!(Hold, WireHold);

#[derive(Serialize, Deserialize)]
struct WireHold<'a> {
    asks: Cow<'a, [Ask]>,
    lapsed: Cow<'a, [Box<str>]>,
}

impl<'a> From<&'a Hold> for WireHold<'a> {
    fn from(hold: &'a Hold) -> Self {
        Self { asks: Cow::Borrowed(&hold.asks), lapsed: Cow::Borrowed(&hold.lapsed) }
    }
}

impl From<WireHold<'_>> for Hold {
    fn from(wire: WireHold<'_>) -> Self {
        Self { asks: wire.asks.into_owned(), lapsed: wire.lapsed.into_owned() }
    }
}

by_way_of!(Ask, WireAsk);

#[derive(Serialize, Deserialize)]
struct WireAsk<'a> {
    pattern: Cow<'a, Box<str>>,
    min_alerts: u32,
    until: Timestamp,
}

impl<'a> From<&'a Ask> for WireAsk<'a> {
    fn from(ask: &'a Ask) -> Self {
        let Ask { pattern, min_alerts, until } = ask;
        Self { pattern: Cow::Borrowed(pattern), min_alerts: *min_alerts, until: *until }
    }
}

impl From<WireAsk<'_>> for Ask {
    fn from(wire: WireAsk<'_>) -> Self {
        let WireAsk { pattern, min_alerts, until } = wire;
        Self { pattern: pattern.into_owned(), min_alerts, until }
    }
}
