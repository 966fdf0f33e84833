//! Ids: typed, sortable by start time, derived from content so that a replay gives the same ones.
//!
//! The text is a prefix that names the kind, nine Crockford base-32 digits of the start time in
//! milliseconds and thirteen of a hash. An id of one kind is refused, by name, where another belongs.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::event::Identity;
use super::time::Timestamp;

/// Crockford's base 32: no I, L, O, U; sorts as the numbers do.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TIME_DIGITS: usize = 9;
const HASH_DIGITS: usize = 13;

/// The text is no id of the kind that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A well-known id, but of another kind.
    #[error(
        "`{text}` is the id of {} {found}; {} {wanted} id begins with `{prefix}`",
        article(found),
        article(wanted)
    )]
    OtherKind {
        /// What was given.
        text: String,
        /// The kind it names.
        found: &'static str,
        /// The kind that belongs here.
        wanted: &'static str,
        /// How such an id begins.
        prefix: &'static str,
    },
    /// No id at all.
    #[error("`{text}` is no {wanted} id; one looks like `{prefix}0sqp3w7k0` and 13 more digits")]
    NoId {
        /// What was given, cut.
        text: String,
        /// The kind that belongs here.
        wanted: &'static str,
        /// How such an id begins.
        prefix: &'static str,
    },
}

/// Start time and hash; what both kinds of id are made of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Raw {
    start: u64,
    hash: u64,
}

impl Raw {
    fn derive(start: Timestamp, identity: &Identity, nth: u32) -> Self {
        // Content decides, nothing secret: fixed keys, so that every instance gives the same id.
        let mut hasher = SipHasher24::new_with_keys(0x6d75_7374_6572, 0x6964);
        for part in identity.parts() {
            hasher.write_u64(part.len() as u64);
            hasher.write(part.as_bytes());
        }
        hasher.write_i64(start.as_millis());
        hasher.write_u32(nth);
        // 45 bits hold the times up to the year 3084; earlier than 1970 counts as 1970.
        let start = start.as_millis().clamp(0, (1 << 45) - 1).unsigned_abs();
        Self { start, hash: hasher.finish() }
    }

    fn parse(digits: &str) -> Option<Self> {
        let bytes = digits.as_bytes();
        if bytes.len() != TIME_DIGITS + HASH_DIGITS {
            return None;
        }
        let number = |part: &[u8]| {
            part.iter().try_fold(0_u64, |sum, digit| {
                let value = DIGITS.iter().position(|known| known == digit)?;
                sum.checked_mul(32)?.checked_add(value as u64)
            })
        };
        Some(Self { start: number(&bytes[..TIME_DIGITS])?, hash: number(&bytes[TIME_DIGITS..])? })
    }

    fn write(self, prefix: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; TIME_DIGITS + HASH_DIGITS];
        let (time, hash) = text.split_at_mut(TIME_DIGITS);
        fill(time, self.start);
        fill(hash, self.hash);
        f.write_str(prefix)?;
        f.write_str(std::str::from_utf8(&text).expect("base-32 digits are ASCII"))
    }
}

fn fill(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(number % 32) as usize];
        number /= 32;
    }
}

const KINDS: [(&str, &str); 4] =
    [("alr_", "alert"), ("inc_", "incident"), ("mnt_", "maintenance plan"), ("sil_", "silence")];

fn article(kind: &str) -> &'static str {
    if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn parse(text: &str, prefix: &'static str, wanted: &'static str) -> Result<Raw, IdError> {
    if let Some(raw) = text.strip_prefix(prefix).and_then(Raw::parse) {
        return Ok(raw);
    }
    let shown: String = text.chars().take(40).collect();
    match KINDS.iter().find(|(other, _)| *other != prefix && text.starts_with(other)) {
        Some((_, found)) => Err(IdError::OtherKind { text: shown, found, wanted, prefix }),
        None => Err(IdError::NoId { text: shown, wanted, prefix }),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $word:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Raw);

        impl $name {
            /// The lowest id of all.
            pub const MIN: Self = Self(Raw { start: 0, hash: 0 });
            /// The highest id of all.
            pub const MAX: Self = Self(Raw { start: u64::MAX, hash: u64::MAX });

            /// From the start and the identity it began with; `nth` tells apart what would
            /// otherwise be the same, and is 0 for the first.
            #[must_use]
            pub fn derive(start: Timestamp, identity: &Identity, nth: u32) -> Self {
                Self(Raw::derive(start, identity, nth))
            }

            /// Reads an id.
            ///
            /// # Errors
            /// Names the kind when it is the id of something else.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                parse(text, $prefix, $word).map(Self)
            }

            /// A number spread evenly over all ids, for choosing a partition.
            #[must_use]
            pub const fn spread(self) -> u64 {
                self.0.hash
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write($prefix, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// The id of an alert: one episode of one identity.
    AlertId,
    "alr_",
    "alert"
);
id!(
    /// The id of an incident.
    IncidentId,
    "inc_",
    "incident"
);

id!(
    /// The id of a maintenance plan.
    MaintenanceId,
    "mnt_",
    "maintenance plan"
);

impl MaintenanceId {
    /// From what the plan was first known by: its name in the config, or a request's id. Unlike
    /// other ids it says nothing of a time.
    #[must_use]
    pub fn of(origin: &str) -> Self {
        let part = |key| {
            let mut hasher = SipHasher24::new_with_keys(0x6d61_696e_7465, key);
            hasher.write(origin.as_bytes());
            hasher.finish()
        };
        Self(Raw { start: part(0) & ((1 << 45) - 1), hash: part(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(host: &str) -> Identity {
        Identity::new("nagios", Some(host), Some("cpu"), None)
    }

    #[test]
    fn ids_sort_by_start_and_read_back() {
        let early =
            IncidentId::derive(Timestamp::from_millis(1_763_913_600_123), &identity("b"), 0);
        let later =
            IncidentId::derive(Timestamp::from_millis(1_763_913_600_124), &identity("a"), 0);
        assert!(early < later && early.to_string() < later.to_string());
        assert_eq!(IncidentId::parse(&early.to_string()), Ok(early));
    }

    #[test]
    fn another_kind_is_refused_by_name() {
        let alert = AlertId::derive(Timestamp::default(), &identity("a"), 0).to_string();
        let error = IncidentId::parse(&alert).expect_err("an alert id");
        assert!(error.to_string().contains("is the id of an alert"), "{error}");
        assert!(IncidentId::parse("inc_zz").is_err());
    }
}
