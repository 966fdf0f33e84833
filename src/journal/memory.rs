//! The journal in memory: tests, simulation, replay.
