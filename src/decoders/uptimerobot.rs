//! UptimeRobot's webhook with its own variables, as JSON or as a form.
//!
//! Identity: the monitor; that its certificate ends is an alert of its own. Host: the host of the
//! monitor's URL. `alertType` 1 is down (critical), 2 up; 3 says that a certificate or a domain ends
//! soon: a warning, of which no end is told, so it lives for two days. Times: `alertDateTime`, seconds.

use std::borrow::Cow;

use super::loose::{self, Loose};
use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, json, labels, times};
use crate::model::{Span, Status};

/// UptimeRobot.
pub(super) const DECODER: Decoder =
    Decoder { name: "uptimerobot", aliases: &[], class: Class::Key, expire_after: None, decode };

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    loose::objects(payload, found, |object, found| {
        found.push(one(object, payload)?.into());
        Ok(())
    })
}

fn one(object: &json::Object, payload: &Payload<'_>) -> Result<Draft, Failure> {
    let fields = Loose::of(object);
    let missing = |name: &str| {
        Failure::shape(format!(
            "`{name}` is missing; expected UptimeRobot's variables, see its page"
        ))
    };
    let kind =
        fields.text(&["alerttype", "alerttypefriendlyname"]).ok_or_else(|| missing("alertType"))?;
    let name = fields.text(&["monitorfriendlyname"]);
    let id = fields.text(&["monitorid", "monitorfriendlyname", "monitorurl"]);
    let mut key = id.ok_or_else(|| missing("monitorID"))?.into_owned();
    let mut draft = Draft::new(match kind.to_ascii_lowercase().as_str() {
        "1" | "down" => Grade::problem("down", Status::Critical),
        "2" | "up" => Grade::Recovered,
        "3" | "ssl expiry" | "domain expiry" => {
            key.push_str("|expiry");
            Grade::problem("expiry", Status::Warning)
        }
        other => Grade::problem(other, Status::Unknown),
    });
    if key.ends_with("|expiry") {
        draft.expires_at = Some(payload.arrival + Span::from_secs(2 * 86_400));
    }
    let url = fields.text(&["monitorurl"]);
    draft.host = url
        .as_deref()
        .map(|url| labels::without_port(url).to_owned())
        .or_else(|| name.as_deref().map(str::to_owned));
    draft.check = Some(name.map_or_else(|| key.clone(), Cow::into_owned));
    draft.key = Some(key);
    draft.at = times::value(fields.get(&["alertdatetime", "alerttime"]), payload);
    let text = fields.text(&["alertdetails", "alerttypefriendlyname"]);
    draft.description = text.map(Cow::into_owned).unwrap_or_default();
    let tags = fields.texts(&["monitortags", "tags"]);
    draft.tag_list("tags", tags.iter().map(AsRef::as_ref));
    draft.link("monitor", url.as_deref());
    Ok(draft)
}
