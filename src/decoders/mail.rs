//! Mails as monitoring systems send them: the subject, the date, and the text a person reads.
//!
//! Takes a whole mail with its headers as well as a bare text. No more of MIME than these systems
//! use: encoded words, quoted-printable, base64, and the first text of several parts.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How deep parts may lie within parts.
const NESTED: usize = 3;

/// How many bytes of a subject are read.
const SUBJECT: usize = 4_096;

/// What a mail says.
#[derive(Debug, Default)]
pub(super) struct Mail<'a> {
    /// Its subject, decoded.
    pub(super) subject: Option<String>,
    /// Its date, as it stands there.
    pub(super) date: Option<String>,
    /// Its text.
    pub(super) body: Cow<'a, str>,
}

/// Reads a mail; a text without headers is all body.
pub(super) fn read(text: &str) -> Mail<'_> {
    let text = match text.strip_prefix("From ") {
        // The line that begins a mail in a mailbox.
        Some(rest) => rest.split_once('\n').map_or("", |(_, rest)| rest),
        None => text,
    };
    let Some((headers, body)) = headers(text) else {
        return Mail { body: Cow::Borrowed(text), ..Mail::default() };
    };
    let subject = header(&headers, "subject").map(words);
    let date = header(&headers, "date").map(str::to_owned);
    Mail { subject, date, body: content(&headers, body) }
}

type Headers<'a> = Vec<(&'a str, Cow<'a, str>)>;

fn header<'a>(headers: &'a Headers<'_>, name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name))?;
    Some(value.as_ref())
}

/// The headers and what follows them; none where the text does not begin with one that mails have.
fn headers(text: &str) -> Option<(Headers<'_>, &str)> {
    const KNOWN: [&str; 12] = [
        "from",
        "to",
        "subject",
        "date",
        "received",
        "return-path",
        "delivered-to",
        "message-id",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
        "auto-submitted",
    ];
    let (first, _) = text.split_once(':')?;
    if !KNOWN.contains(&first.to_ascii_lowercase().as_str()) && !first.starts_with("X-") {
        return None;
    }
    let mut headers: Headers<'_> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (line, next) = rest.split_once('\n').unwrap_or((rest, ""));
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            return Some((headers, next));
        }
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = headers.last_mut() {
                *value.to_mut() += " ";
                *value.to_mut() += line.trim();
            }
        } else if let Some((name, value)) = line.split_once(':').filter(|(name, _)| is_name(name)) {
            headers.push((name, Cow::Borrowed(value.trim())));
        } else {
            // Somebody left out the empty line.
            return Some((headers, rest));
        }
        rest = next;
    }
    Some((headers, ""))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The first text of a mail or a part of one.
fn content<'a>(headers: &Headers<'_>, body: &'a str) -> Cow<'a, str> {
    let mut kind = header(headers, "content-type").unwrap_or("text/plain").to_owned();
    let mut encoding = header(headers, "content-transfer-encoding").unwrap_or_default().to_owned();
    let mut body = body;
    for _ in 0..NESTED {
        let lower = kind.to_ascii_lowercase();
        if !lower.starts_with("multipart/") {
            break;
        }
        let Some(boundary) = parameter(&kind, "boundary") else { break };
        let Some((part, inner)) = part(body, &boundary) else { break };
        kind = header(&part, "content-type").unwrap_or("text/plain").to_owned();
        encoding = header(&part, "content-transfer-encoding").unwrap_or_default().to_owned();
        body = inner;
    }
    let text = match encoding.to_ascii_lowercase().as_str() {
        "quoted-printable" => Cow::Owned(text_of(quoted_printable(body, false), &kind)),
        "base64" => {
            let packed: String = body.split_ascii_whitespace().collect();
            STANDARD
                .decode(packed)
                .map_or(Cow::Borrowed(body), |bytes| Cow::Owned(text_of(bytes, &kind)))
        }
        _ => Cow::Borrowed(body),
    };
    if kind.to_ascii_lowercase().starts_with("text/html") {
        return Cow::Owned(plain(&text));
    }
    text
}

fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|part| {
        let (key, value) = part.split_once('=')?;
        let named = key.trim().eq_ignore_ascii_case(name);
        named.then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// Of several parts the first text, preferring a plain one.
fn part<'a>(body: &'a str, boundary: &str) -> Option<(Headers<'a>, &'a str)> {
    if boundary.is_empty() {
        return None;
    }
    let mark = format!("--{boundary}");
    let mut other = None;
    for section in body.split(mark.as_str()).skip(1) {
        if section.starts_with("--") {
            break;
        }
        let section = section.trim_start_matches('\r');
        let section = section.strip_prefix('\n').unwrap_or(section);
        let (headers, inner) = headers(section).unwrap_or((Vec::new(), section));
        let kind = header(&headers, "content-type").unwrap_or("text/plain").to_ascii_lowercase();
        if kind.starts_with("text/plain") || kind.starts_with("multipart/") {
            return Some((headers, inner));
        }
        if kind.starts_with("text/") && other.is_none() {
            other = Some((headers, inner));
        }
    }
    other
}

fn text_of(bytes: Vec<u8>, kind: &str) -> String {
    let charset = parameter(kind, "charset").unwrap_or_default().to_ascii_lowercase();
    in_charset(bytes, &charset)
}

fn in_charset(bytes: Vec<u8>, charset: &str) -> String {
    if charset.starts_with("iso-8859-1") || charset == "latin1" || charset == "windows-1252" {
        return bytes.into_iter().map(char::from).collect();
    }
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

/// `=C3=A4` and soft line ends; in headers `_` is a blank.
fn quoted_printable(text: &str, in_header: bool) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'_' if in_header => out.push(b' '),
            b'=' => {
                let rest = bytes.get(at..).unwrap_or_default();
                if rest.starts_with(b"\r\n") {
                    at += 2;
                } else if rest.starts_with(b"\n") {
                    at += 1;
                } else if let Some(hex) = rest.get(..2)
                    && let Ok(hex) = std::str::from_utf8(hex)
                    && let Ok(value) = u8::from_str_radix(hex, 16)
                {
                    out.push(value);
                    at += 2;
                } else {
                    out.push(byte);
                }
            }
            _ => out.push(byte),
        }
    }
    out
}

/// A header's text with its encoded words (`=?utf-8?Q?…?=`) decoded; its beginning, where it is longer
/// than subjects are.
fn words(text: &str) -> String {
    let text = text.get(..text.floor_char_boundary(SUBJECT)).unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_word = false;
    while let Some(begin) = rest.find("=?") {
        let (before, word) = rest.split_at(begin);
        let mut parts = word.get(2..).unwrap_or_default().splitn(3, '?');
        let decoded = match (parts.next(), parts.next(), parts.next()) {
            (Some(charset), Some(how), Some(tail)) => {
                tail.split_once("?=").and_then(|(inner, tail)| {
                    let bytes = match how {
                        "Q" | "q" => quoted_printable(inner, true),
                        "B" | "b" => STANDARD.decode(inner).ok()?,
                        _ => return None,
                    };
                    Some((in_charset(bytes, &charset.to_ascii_lowercase()), tail))
                })
            }
            _ => None,
        };
        let Some((decoded, tail)) = decoded else {
            out += before;
            out += "=?";
            rest = word.get(2..).unwrap_or_default();
            after_word = false;
            continue;
        };
        // Blanks between two encoded words are none.
        if !(after_word && before.trim().is_empty()) {
            out += before;
        }
        out += &decoded;
        rest = tail;
        after_word = true;
    }
    out + rest
}

/// HTML without its tags: `<br>` and the ends of paragraphs and rows become line ends.
pub(super) fn plain(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(begin) = rest.find('<') {
        let (before, tag) = rest.split_at(begin);
        out += before;
        let Some(end) = tag.find('>') else {
            rest = tag;
            break;
        };
        let name = tag.get(1..end).unwrap_or_default().trim_start_matches('/').to_ascii_lowercase();
        if name.starts_with("br") || matches!(name.as_str(), "p" | "tr" | "div" | "li") {
            out.push('\n');
        }
        rest = tag.get(end + 1..).unwrap_or_default();
    }
    out += rest;
    unescaped(&out).into_owned()
}

/// Text of XML or HTML with its entities as what they stand for.
pub(super) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find('&') {
        let (before, entity) = rest.split_at(begin);
        out += before;
        // The longest that are read are `&#x10FFFF;`.
        let end = entity.bytes().take(12).position(|byte| byte == b';');
        let named = end.and_then(|end| Some((character(entity.get(1..end)?)?, end)));
        if let Some((character, end)) = named {
            out.push(character);
            rest = entity.get(end + 1..).unwrap_or_default();
        } else {
            out.push('&');
            rest = entity.get(1..).unwrap_or_default();
        }
    }
    Cow::Owned(out + rest)
}

fn character(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
                .filter(|character| !character.is_control() || *character == '\n')?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_headers_is_all_body() {
        let mail = read("***** Nagios *****\n\nHost: web-1\n");
        assert_eq!(mail.subject, None);
        assert!(mail.body.starts_with("***** Nagios"));
    }

    #[test]
    fn encoded_subjects_and_bodies_are_decoded() {
        let mail = read(
            "From: a@b\r\nSubject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe_?=\r\n =?utf-8?B?YXVz?= Wien\r\n\
             Content-Type: text/plain; charset=iso-8859-1\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\r\n50=B0 =\r\nwarm\r\n",
        );
        assert_eq!(mail.subject.as_deref(), Some("Grüße aus Wien"));
        assert_eq!(mail.body, "50° warm\r\n");
    }

    #[test]
    fn of_several_parts_the_plain_one_counts() {
        let mail = read(
            "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=\"x\"\n\n\
             --x\nContent-Type: text/html\n\n<b>no</b>\n--x\nContent-Type: text/plain\n\nyes\n--x--\n",
        );
        assert_eq!(mail.body.trim(), "yes");
        let mail = read("Content-Type: text/html\n\na<br>b &amp; c &#x41; &x;");
        assert_eq!(mail.body, "a\nb & c A &x;");
    }
}
