//! Every integration test, as one binary: one module a subject.

#![expect(clippy::panic, reason = "a helper of a test says what it missed and fails the test")]

mod absence;
mod api;
mod bad_input;
mod chat;
mod commands;
mod config;
mod dead_letters;
mod decode;
mod decoders;
mod enrich;
mod exactness;
mod growth;
mod intakes;
mod journal;
mod kafka;
mod laws;
mod maintenance;
mod notify;
mod oracle;
mod paging;
mod process;
mod publish;
mod quality;
mod real_input;
mod reload;
mod replay;
mod replay_log;
mod scenarios;
mod shutdown;
mod silences;
mod stages_apart;
mod tidy;
mod topology;
mod topology_topic;
mod wire;
