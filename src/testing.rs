//! What tests and benches run against: brokers, load, and yardsticks. Nothing here runs in
//! production.

pub mod broker;
pub mod drain;
