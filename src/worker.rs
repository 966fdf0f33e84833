//! The loops around the stages: read a batch, fold it, commit.

pub mod deliver;
