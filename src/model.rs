//! The words of the field as plain values: what an event, an alert, an incident and a change are.
//!
//! No I/O, no clock, no serialisation: bytes are `wire`'s work, decisions are the stages'. A value
//! that exists is valid; parsing happens at the edges.

pub mod alert;
pub mod change;
pub mod command;
pub mod event;
pub mod heartbeat;
pub mod hold;
pub mod id;
pub mod incident;
pub mod index;
pub mod maintenance;
pub mod matcher;
pub mod matcher_index;
pub mod rate;
pub mod schedule;
pub mod settings;
pub mod silence;
pub mod status;
pub mod tags;
pub mod time;
pub mod topology;
pub mod update;

pub use alert::{Alert, Flaps, Resolution, Why};
pub use change::{Change, ChangeKind, Counts, Member};
pub use command::{Action, Command, CommandResult, RequestId};
pub use event::{Event, Identity};
pub use heartbeat::{Beat, Beating, Heartbeat, Pulse, Watch};
pub use hold::{Ask, Hold};
pub use id::{AlertId, IncidentId, MaintenanceId, SilenceId};
pub use incident::{Incident, Pair};
pub use index::Index;
pub use maintenance::{Maintained, Plan};
pub use matcher::{Matcher, Matchers};
pub use matcher_index::MatcherIndex;
pub use rate::{Chronic, ChronicSettings, Rate};
pub use schedule::{Schedule, Window};
pub use settings::{CorrelateSettings, FlappingSettings, Near, Pattern};
pub use silence::{Mute, Silence, SilenceIndex};
pub use status::Status;
pub use tags::{TagValue, Tags};
pub use time::{Span, Timestamp};
pub use topology::Topology;
pub use update::Update;
