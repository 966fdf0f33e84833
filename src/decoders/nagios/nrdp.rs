//! NRDP: results of passive checks, by a form that carries JSON or XML, or external commands.

use std::borrow::Cow;

use serde_json::Value;

use super::super::nagios_family::{self, Thing, Told};
use super::super::{Draft, Failure, Found, Payload, form, json, macros, mail, times};
use super::log;
use crate::stage::Reason;

/// Whether a text is the form of NRDP.
pub(super) fn is_form(text: &str) -> bool {
    let name = text.split(['=', '&']).next().unwrap_or_default();
    text.contains('=')
        && matches!(
            name.to_ascii_lowercase().as_str(),
            "token" | "cmd" | "json" | "xml" | "xmldata" | "jsondata" | "command" | "btnsubmit"
        )
}

/// Reads the form.
pub(super) fn form(
    text: &str,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    let mut asked = None;
    for (name, value) in form::pairs(text) {
        let inner = Payload { bytes: value.as_bytes(), ..*payload };
        match name.to_ascii_lowercase().as_str() {
            "json" | "jsondata" => {
                return json::objects(&inner, found, |object, found| {
                    results(object, payload, found)
                });
            }
            "xml" | "xmldata" => return xml(value.trim_start(), payload, found),
            "command" => {
                let mut told = log::Seen::new();
                found.push(log::line(&value, payload, &mut told)?);
                return Ok(());
            }
            "cmd" => asked = Some(value),
            _ => {}
        }
    }
    match asked.as_deref() {
        None | Some("submitcheck" | "submitcmd" | "") => Err(Failure::shape(
            "a form of NRDP without `json`, `xml` or `command`; expected results of checks",
        )),
        // `hello` and what else the server's own page asks for.
        Some(_) => {
            found.push(Found::Nothing("a question to an NRDP server".to_owned()));
            Ok(())
        }
    }
}

/// Whether an object is NRDP's.
pub(super) fn is_result(object: &json::Object) -> bool {
    object.contains_key("checkresults") || object.get("checkresult").is_some_and(Value::is_object)
}

/// The results in NRDP's JSON.
pub(super) fn results(
    object: &json::Object,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    let one = match object.get("checkresults") {
        Some(Value::Array(list)) => {
            json::elements(list, payload, found, |value, found| {
                let object = value.as_object();
                let object =
                    object.ok_or_else(|| Failure::shape("a check's result is an object"))?;
                found.push(result(object, payload)?);
                Ok(())
            });
            return Ok(());
        }
        Some(Value::Object(one)) => one,
        Some(_) => return Err(Failure::shape("`checkresults` is a list")),
        None => object,
    };
    found.push(result(one, payload)?);
    Ok(())
}

fn result(object: &json::Object, payload: &Payload<'_>) -> Result<Found, Failure> {
    let text = |names: &[&str]| json::first(object, names);
    made(
        &Said {
            kind: text(&["checkresult.type", "type"]),
            host: text(&["hostname", "host"]),
            check: text(&["servicename", "service"]),
            state: text(&["state", "return_code"]),
            output: text(&["output", "plugin_output"]),
            time: text(&["time", "timestamp"]),
        },
        payload,
    )
}

/// A result as it stands there.
#[derive(Debug, Default)]
struct Said<'a> {
    kind: Option<Cow<'a, str>>,
    host: Option<Cow<'a, str>>,
    check: Option<Cow<'a, str>>,
    state: Option<Cow<'a, str>>,
    output: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
}

fn made(result: &Said<'_>, payload: &Payload<'_>) -> Result<Found, Failure> {
    let host_only = result.kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("host"));
    let check = result.check.as_deref().filter(|_| !host_only);
    let thing = if check.is_some() { Thing::Service } else { Thing::Host };
    if thing == Thing::Host && result.kind.as_deref().is_some_and(|kind| kind == "service") {
        return Err(Failure::shape("a service's result without `servicename`"));
    }
    let host = result.host.as_deref();
    let host = host.ok_or_else(|| Failure::shape("a check's result without `hostname`"))?;
    let state = result.state.as_deref();
    let state = state.ok_or_else(|| Failure::shape("a check's result without `state` (0 to 3)"))?;
    let grade = match nagios_family::told(None, Some(state), thing) {
        Some(Told::Grade(grade)) => grade,
        Some(Told::Nothing(why)) => return Ok(Found::Nothing(why.to_owned())),
        None => return Ok(Found::Nothing("a result without a state".to_owned())),
    };
    let mut draft = Draft::new(grade);
    draft.host = Some(host.to_owned());
    draft.check = check.map(str::to_owned);
    draft.at = result.time.as_deref().and_then(|time| times::text(time, payload));
    draft.description = nagios_family::output(result.output.as_deref().unwrap_or_default());
    Ok(draft.into())
}

/// The results in NRDP's XML.
pub(super) fn xml(
    text: &str,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    let mut index = 0;
    let mut rest = text;
    while let Some(begin) = rest.find("<checkresult") {
        let element = rest.get(begin + "<checkresult".len()..).unwrap_or_default();
        // `<checkresults>` is the list.
        if element.starts_with('s') {
            rest = element;
            continue;
        }
        let Some(end) = element.find("</checkresult>") else {
            return Err(Failure::new(Reason::NotAnEvent, "a `checkresult` that does not end"));
        };
        let (element, after) = element.split_at(end);
        rest = after;
        let outcome = xml_result(element, payload);
        match outcome {
            Ok(one) => found.push(one),
            Err(failure) => {
                let bytes = Some(element.as_bytes().to_vec());
                found.push(Found::Rejected { index: Some(index), failure, bytes });
            }
        }
        index += 1;
    }
    if index == 0 && !text.contains("<checkresults") {
        return Err(Failure::shape("XML without `checkresults`; expected that of NRDP"));
    }
    Ok(())
}

/// What stands in a `checkresult`, from behind its name to its end.
fn xml_result(element: &str, payload: &Payload<'_>) -> Result<Found, Failure> {
    let (attributes, inner) = element.split_once('>').unwrap_or((element, ""));
    let child = |name: &str| child(inner, name);
    made(
        &Said {
            kind: attribute(attributes, "type").map(Cow::Borrowed),
            host: child("hostname"),
            check: child("servicename"),
            state: child("state"),
            output: child("output"),
            time: child("time"),
        },
        payload,
    )
}

fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = attributes;
    while let Some((before, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, behind) = after.get(1..)?.split_once(quote)?;
        if before.trim() == name {
            return macros::present(value);
        }
        rest = behind;
    }
    None
}

fn child<'a>(inner: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let open = format!("<{name}>");
    let (_, text) = inner.split_once(open.as_str())?;
    let (text, _) = text.split_once(format!("</{name}>").as_str())?;
    let text = text.trim();
    let literal = text.strip_prefix("<![CDATA[").and_then(|text| text.strip_suffix("]]>"));
    let text = match literal {
        Some(literal) => Cow::Borrowed(literal.trim()),
        None => mail::unescaped(text),
    };
    macros::present(&text)?;
    Some(text)
}
