//! What an error of the client means for a feed: go back and try again, or stop.
//!
//! Everything not known to be hopeless is worth another try from the committed positions, since
//! those alone decide what counts.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::journal::{Class, JournalError};

/// Turns a client's error into ours.
pub(super) fn journal_error(doing: impl Into<String>, error: &KafkaError) -> JournalError {
    let code = match error {
        KafkaError::Transaction(error) => Some(error.code()),
        other => other.rdkafka_error_code(),
    };
    let class = match (error, code) {
        (
            KafkaError::ClientConfig(..)
            | KafkaError::ClientCreation(_)
            | KafkaError::MessageConsumptionFatal(_),
            _,
        ) => Class::Fatal,
        (_, Some(code)) => class(code),
        (_, None) => Class::Retry,
    };
    let why = match code.and_then(advice) {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    };
    JournalError { class, doing: doing.into(), why }
}

/// Whether going back to the committed positions can help. What the client calls fatal is the end
/// of one producer only; a new one can go on.
pub(super) const fn class(code: RDKafkaErrorCode) -> Class {
    use RDKafkaErrorCode as Code;
    match code {
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::SSL
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::InvalidTransactionTimeout
        | Code::InconsistentGroupProtocol
        | Code::AutoOffsetReset => Class::Fatal,
        _ => Class::Retry,
    }
}

/// What a person can do about it.
const fn advice(code: RDKafkaErrorCode) -> Option<&'static str> {
    use RDKafkaErrorCode as Code;
    match code {
        Code::TopicAuthorizationFailed => {
            Some("allow this user to read and write Muster's topics and to read its sources")
        }
        Code::GroupAuthorizationFailed => Some("allow this user to read Muster's consumer groups"),
        Code::TransactionalIdAuthorizationFailed => {
            Some("allow this user to write and describe Muster's transactional ids")
        }
        Code::InvalidTransactionTimeout => Some(
            "lower `transaction.timeout.ms` or raise the broker's `transaction.max.timeout.ms`",
        ),
        _ => None,
    }
}
