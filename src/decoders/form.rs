//! Forms as browsers and `curl -d` post them.

/// The names and values of a form (`application/x-www-form-urlencoded`).
pub fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    text.trim().split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

/// A text without `%20` and `+`.
#[must_use]
pub fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        let hex = bytes.get(at..at + 2).filter(|_| byte == b'%');
        let value = hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match value {
            Some(value) => {
                out.push(value);
                at += 2;
            }
            None => out.push(if byte == b'+' { b' ' } else { byte }),
        }
    }
    match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn forms_are_decoded() {
        let pairs: Vec<_> =
            super::pairs("cmd=submit+check&x=%7B%22a%22%3A1%7D&y&z=50%&w=%C3%A4").collect();
        let pairs: Vec<_> = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let expected =
            [("cmd", "submit check"), ("x", "{\"a\":1}"), ("y", ""), ("z", "50%"), ("w", "ä")];
        assert_eq!(pairs, expected);
    }
}
