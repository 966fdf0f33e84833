//! Stage 2: alerts to incidents.
