//! Integration tests: one binary, one module for each part.

mod notify;
