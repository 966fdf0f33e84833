//! The one way of a body into intake: read within its bounds, unpacked, submitted, durable.
//!
//! Every address that takes events in goes through here, whatever it answers in the end. Reading the
//! events out of the bytes is the intake's work; who may send is the business of `senders`. A good
//! answer stands for something durable; any 503 may be sent again without harm.

use std::future::poll_fn;
use std::io::Read;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::{HeaderMap, StatusCode, Uri};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::failure::Failure;
use super::senders::Admitted;
use super::{Parts, Settings};
use crate::collect::decode::Incoming;
use crate::model::Timestamp;
use crate::stage::Reason;
use crate::worker::intake::{Answer, Hold, Intake, Refused};

/// How much of a body that is too large is read and thrown away, so that a client that sends before
/// it reads gets to see the answer.
const THROWN_AWAY_MAX: usize = 8 << 20;
const THROW_AWAY: Duration = Duration::from_secs(2);
/// How much of a packed body is unpacked at a time.
const UNPACKED_AT_ONCE: usize = 16 << 10;
/// Headers that let their bearer in; nothing behind this sees them.
const SECRET: [&str; 5] =
    ["authorization", "proxy-authorization", "cookie", "x-api-key", super::senders::TOKEN_HEADER];

/// A request whose body was read within its bounds.
pub(super) struct Taken {
    /// When it reached Muster.
    pub(super) arrival: Timestamp,
    /// Its address, with the query.
    pub(super) uri: Uri,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// Its body, unpacked.
    pub(super) bytes: Vec<u8>,
    /// The body as it was sent, where it was sent packed.
    packed: Option<Vec<u8>>,
    hold: Hold,
}

impl Taken {
    /// The body as it was sent: what a sender signs.
    pub(super) fn sent(&self) -> &[u8] {
        self.packed.as_deref().unwrap_or(&self.bytes)
    }

    /// A header's value as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim).filter(|value| !value.is_empty())
    }

    /// The names and values of the query.
    pub(super) fn query(&self) -> Vec<(String, String)> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&self.uri);
        pairs.map(|pairs| pairs.0).unwrap_or_default()
    }
}

/// Reads a request's body.
pub(super) async fn take(parts: &Parts, request: Request) -> Result<Taken, Failure> {
    let arrival = parts.clock.now();
    let intake = intake(parts)?;
    let (head, mut body) = request.into_parts();
    let packing = Packing::of(&head.headers)?;
    let announced = head.headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let mut hold = intake.hold();
    let settings = parts.settings.get();
    let read = read(&mut body, announced, &mut hold, &settings);
    let limit = settings.timeout.part(2);
    let bytes = tokio::select! {
        read = tokio::time::timeout(limit.to_std(), read) => match read {
            Ok(Err(failure)) if failure.too_large => {
                throw_away(&mut body).await;
                return Err(failure.failure);
            }
            Ok(read) => read.map_err(|failure| failure.failure)?,
            Err(_) => {
                let message = format!("the body was not complete within {limit}");
                return Err(
                    Failure::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message).close()
                );
            }
        },
        () = parts.stop.wait() => return Err(refused(&Refused::Closing).close()),
    };
    let (bytes, packed) = match packing {
        Packing::None => (bytes, None),
        packing => (packing.unpack(&bytes, settings.body_bytes, &mut hold)?, Some(bytes)),
    };
    Ok(Taken { arrival, uri: head.uri, headers: head.headers, bytes, packed, hold })
}

/// Decodes what was taken and waits until it is durable. `told` are headers of our own making, for
/// what the address said and the body does not.
pub(super) async fn submit(
    parts: &Parts,
    taken: Taken,
    admitted: &Admitted,
    told: Vec<(String, Vec<u8>)>,
) -> Result<Answer, Failure> {
    if parts.stop.is_begun() {
        return Err(refused(&Refused::Closing));
    }
    let intake = intake(parts)?;
    let Taken { arrival, headers, bytes, packed, hold, .. } = taken;
    drop(packed);
    let headers = if admitted.origin.source.is_some() {
        let mut all = kept(&headers);
        all.retain(|(name, _)| !told.iter().any(|(ours, _)| ours == name));
        all.extend(told);
        all
    } else {
        Vec::new()
    };
    let origin = &admitted.origin;
    let incoming = Incoming { bytes: &bytes, headers: &headers, arrival, origin };
    let decoded = intake.decode(&incoming);
    if let Some(source) = decoded.sources.iter().find(|source| !admitted.may(source)) {
        return Err(admitted.refuse(parts, source));
    }
    intake.put(arrival, decoded, hold).await.map_err(|error| refused(&error))
}

/// Why nothing of what was sent could be read, where that is so: too much of it, no bytes, or none that
/// any format has. What is readable but odd is a dead letter and no reason to refuse.
pub(super) fn refusal(answer: &Answer) -> Option<(StatusCode, &str)> {
    let first = answer.rejected.first()?;
    let whole = first.index.is_none() && answer.accepted == 0 && answer.ignored.is_empty();
    let status = match first.reason {
        Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::Empty | Reason::NotUtf8 | Reason::NotJson | Reason::TooDeep => {
            StatusCode::BAD_REQUEST
        }
        _ => return None,
    };
    whole.then_some((status, &first.message))
}

fn intake(parts: &Parts) -> Result<&Intake, Failure> {
    parts.intake.as_ref().ok_or_else(|| {
        let message = "this instance takes no events; send them to one that runs the stage `api`";
        Failure::new(StatusCode::NOT_FOUND, "no_intake", message).close()
    })
}

/// The headers that go on with the body; their size was bounded when they were read.
fn kept(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let open = |name: &str| !SECRET.contains(&name);
    let kept = headers.iter().filter(|(name, _)| open(name.as_str()));
    kept.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

fn refused(refused: &Refused) -> Failure {
    Failure::unavailable(refused.reason(), refused.to_string())
}

/// How a body is packed.
#[derive(Clone, Copy)]
enum Packing {
    None,
    Gzip,
    Deflate,
}

impl Packing {
    fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let mut all = headers.get_all(CONTENT_ENCODING).iter();
        let Some(first) = all.next() else { return Ok(Self::None) };
        let word = first.to_str().unwrap_or("?").trim().to_ascii_lowercase();
        let found = match word.as_str() {
            "" | "identity" => Some(Self::None),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        };
        found.filter(|_| all.next().is_none()).ok_or_else(|| {
            let word: String = word.chars().take(40).collect();
            let message =
                format!("a body packed as `{word}` is not read; send it as gzip, deflate or plain");
            Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", message)
                .close()
        })
    }

    fn unpack(self, packed: &[u8], max: usize, hold: &mut Hold) -> Result<Vec<u8>, Failure> {
        let mut reader: Box<dyn Read + '_> = match self {
            Self::None => Box::new(packed),
            Self::Gzip => Box::new(MultiGzDecoder::new(packed)),
            // By its definition there is a frame around it, which some leave out.
            Self::Deflate if is_zlib(packed) => Box::new(ZlibDecoder::new(packed)),
            Self::Deflate => Box::new(DeflateDecoder::new(packed)),
        };
        let mut bytes = Vec::new();
        let mut chunk = vec![0; UNPACKED_AT_ONCE];
        loop {
            let count = reader.read(&mut chunk).map_err(|error| {
                let message = format!("the body cannot be unpacked: {error}");
                Failure::bad_request("broken_body", message)
            })?;
            if count == 0 {
                return Ok(bytes);
            }
            if bytes.len() + count > max {
                let message = format!(
                    "the body unpacks to more than {max} bytes; send the events in several"
                );
                return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
            }
            if !hold.grow(count) {
                return Err(refused(&Refused::Full));
            }
            bytes.extend_from_slice(&chunk[..count]);
        }
    }
}

fn is_zlib(packed: &[u8]) -> bool {
    matches!(packed, [first, second, ..]
        if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0)
}

struct Unread {
    failure: Failure,
    too_large: bool,
}

/// The whole body. Room is taken for bytes that have arrived, not for those announced: holding
/// much of it costs a client that much sending.
async fn read(
    body: &mut Body,
    announced: Option<u64>,
    hold: &mut Hold,
    settings: &Settings,
) -> Result<Vec<u8>, Unread> {
    let max = settings.body_bytes;
    let too_large = || {
        let message = format!("the body is larger than {max} bytes; send the events in several");
        let failure = Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message).close();
        Unread { failure, too_large: true }
    };
    if announced.is_some_and(|announced| announced > max as u64) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| {
            let message = format!("the body broke off: {error}");
            let failure = Failure::bad_request("broken_body", message).close();
            Unread { failure, too_large: false }
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > max {
            return Err(too_large());
        }
        if !hold.grow(data.len()) {
            return Err(Unread { failure: refused(&Refused::Full).close(), too_large: false });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

async fn throw_away(body: &mut Body) {
    let rest = async {
        let mut thrown = 0;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            thrown += frame.data_ref().map_or(0, |data| data.len());
            if thrown > THROWN_AWAY_MAX {
                break;
            }
        }
    };
    // Out of time is as good as done: the answer is given either way.
    drop(tokio::time::timeout(THROW_AWAY, rest).await);
}
