//! Planned work: which alerts are part of it, and when.
//!
//! A plan is read from texts with one set of keys and rules, wherever it comes from: the config, the
//! API, a row. What a plan does to an alert is correlate's work.

use std::fmt;

use jiff::civil::{DateTime, Weekday};

use super::id::MaintenanceId;
use super::matcher::Matchers;
use super::schedule::{Every, MonthDay, Recurring, Schedule, Window, Zone};
use super::time::{Span, Timestamp};

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// The longest comment, in bytes.
pub const COMMENT_BYTES_MAX: usize = 4_096;
/// How many matchers a plan has at most.
pub const MATCHERS_MAX: usize = 50;
/// How many plans a config has at most.
pub const CONFIGURED_MAX: usize = 1_000;
/// How many plans there are at most, those of the config among them.
pub const PLANS_MAX: usize = 10_000;
/// How many alerts may be put in maintenance at once without their number being confirmed.
pub const UNCONFIRMED_MAX: u64 = 10;
/// How long a plan that somebody asked for is kept once it is over, by log time.
pub const KEPT: Span = Span::from_secs(86_400);
/// The longest window that comes once.
pub const ONCE_MAX: Span = Span::from_secs(366 * 86_400);
const LEAST: Span = Span::MINUTE;

const WEEKDAYS: [(&str, &str, Weekday); 7] = [
    ("mon", "monday", Weekday::Monday),
    ("tue", "tuesday", Weekday::Tuesday),
    ("wed", "wednesday", Weekday::Wednesday),
    ("thu", "thursday", Weekday::Thursday),
    ("fri", "friday", Weekday::Friday),
    ("sat", "saturday", Weekday::Saturday),
    ("sun", "sunday", Weekday::Sunday),
];
const NTH: [&str; 4] = ["first", "second", "third", "fourth"];

/// Planned work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its id.
    pub id: MaintenanceId,
    /// What people call it.
    pub name: Box<str>,
    /// Which alerts are part of it; at least one matcher.
    pub matchers: Matchers,
    /// When.
    pub schedule: Schedule,
    /// Why; may be empty.
    pub comment: Box<str>,
    /// Who asked for it; `config` where it stands there.
    pub actor: Box<str>,
}

/// What is known of an alert that planned work was about: it is kept and marked, but does not count
/// for its incident's status, and stays quiet after the window until it is not ok anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintained {
    /// Which plan.
    pub plan: MaintenanceId,
    /// Its name.
    pub name: Box<str>,
    /// By log time, since when the window is over; none while it lasts.
    pub ended_at: Option<Timestamp>,
}

/// A plan as people write it; a text that is not there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanText {
    /// What it is called.
    pub name: Option<String>,
    /// Which alerts.
    pub matchers: Vec<String>,
    /// Why.
    pub comment: Option<String>,
    /// The start of the only window, or a bound of those that come again.
    pub from: Option<String>,
    /// The end of the only window.
    pub to: Option<String>,
    /// No window begins from here on.
    pub until: Option<String>,
    /// `day`, `week` or `month`.
    pub every: Option<String>,
    /// Weekdays, or a day of the month.
    pub on: Vec<String>,
    /// `HH:MM`.
    pub at: Option<String>,
    /// How long.
    pub lasts: Option<String>,
    /// Its name.
    pub time_zone: Option<String>,
}

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanProblem {
    /// The key.
    pub key: &'static str,
    /// What stands there, if anything.
    pub value: Option<String>,
    /// The rule that it breaks.
    pub rule: String,
}

impl fmt::Display for PlanProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "`{}`: `{value}` {}", self.key, self.rule),
            None => write!(f, "`{}` {}", self.key, self.rule),
        }
    }
}

impl PlanText {
    /// Reads it.
    ///
    /// # Errors
    /// Everything that is wrong with it: the key, the value, the rule.
    pub fn read(&self, id: MaintenanceId, actor: &str) -> Result<Plan, Vec<PlanProblem>> {
        let mut reader = Reader { text: self, problems: Vec::new() };
        let name = reader.name();
        let matchers = reader.matchers();
        let comment = self.comment.clone().unwrap_or_default();
        if comment.len() > COMMENT_BYTES_MAX {
            reader.broken("comment", None, format!("has more than {COMMENT_BYTES_MAX} bytes"));
        }
        let schedule = reader.schedule();
        match schedule.filter(|_| reader.problems.is_empty()) {
            Some(schedule) => Ok(Plan {
                id,
                name: name.into(),
                matchers,
                schedule,
                comment: comment.into(),
                actor: actor.into(),
            }),
            None => Err(reader.problems),
        }
    }
}

impl PlanText {
    /// Reads only when it is.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_schedule(&self) -> Result<Schedule, Vec<PlanProblem>> {
        let mut reader = Reader { text: self, problems: Vec::new() };
        let schedule = reader.schedule();
        schedule.filter(|_| reader.problems.is_empty()).ok_or(reader.problems)
    }
}

impl From<&Plan> for PlanText {
    /// The one way in which a plan is written, so that equal plans are equal texts.
    fn from(plan: &Plan) -> Self {
        Self {
            name: Some(plan.name.to_string()),
            matchers: plan.matchers.iter().map(ToString::to_string).collect(),
            comment: (!plan.comment.is_empty()).then(|| plan.comment.to_string()),
            ..Self::from(&plan.schedule)
        }
    }
}

impl From<&Schedule> for PlanText {
    /// When, and nothing else.
    fn from(schedule: &Schedule) -> Self {
        match schedule {
            Schedule::Once(window) => Self {
                from: Some(show(window.start)),
                to: Some(show(window.end)),
                ..Self::default()
            },
            Schedule::Recurring(recurring) => {
                let (every, on) = show_days(&recurring.every);
                let (hour, minute) = recurring.at;
                Self {
                    from: recurring.from.map(show),
                    until: recurring.until.map(show),
                    every: Some(every.to_owned()),
                    on,
                    at: Some(format!("{hour:02}:{minute:02}")),
                    lasts: Some(recurring.lasts.to_string()),
                    time_zone: Some(recurring.zone.name().to_owned()),
                    ..Self::default()
                }
            }
        }
    }
}

struct Reader<'a> {
    text: &'a PlanText,
    problems: Vec<PlanProblem>,
}

impl Reader<'_> {
    fn broken(&mut self, key: &'static str, value: Option<&str>, rule: impl Into<String>) {
        let value = value.map(|value| value.chars().take(200).collect());
        self.problems.push(PlanProblem { key, value, rule: rule.into() });
    }

    fn name(&mut self) -> String {
        let name = self.text.name.clone().unwrap_or_default();
        if name.trim().is_empty() {
            self.broken("name", None, "is missing; every alert in maintenance names its plan");
        } else if name.len() > NAME_BYTES_MAX {
            self.broken("name", Some(&name), format!("has more than {NAME_BYTES_MAX} bytes"));
        }
        name
    }

    fn matchers(&mut self) -> Matchers {
        let texts = &self.text.matchers;
        match Matchers::parse(texts.iter().map(String::as_str)) {
            Ok(matchers) => {
                match matchers.iter().count() {
                    0 => self.broken(
                        "match",
                        None,
                        "is missing; say which alerts the work is about: source=~\".+\" is all",
                    ),
                    1..=MATCHERS_MAX => {}
                    _ => {
                        let rule = format!("has more than {MATCHERS_MAX} matchers");
                        self.broken("match", None, rule);
                    }
                }
                matchers
            }
            Err(error) => {
                let message = error.to_string();
                let bad = texts.iter().find(|text| Matchers::parse([text.as_str()]).is_err());
                let bad = bad.map_or("", String::as_str);
                let rule = message.strip_prefix(&format!("`{bad}` ")).unwrap_or(&message);
                self.broken("match", Some(bad), rule);
                Matchers::default()
            }
        }
    }

    fn schedule(&mut self) -> Option<Schedule> {
        if self.text.every.is_some() { self.recurring() } else { self.once() }
    }

    fn once(&mut self) -> Option<Schedule> {
        let text = self.text;
        let others = [
            ("on", !text.on.is_empty()),
            ("at", text.at.is_some()),
            ("for", text.lasts.is_some()),
            ("until", text.until.is_some()),
        ];
        for (key, _) in others.into_iter().filter(|(_, there)| *there) {
            self.broken(key, None, "is for windows that come again; say `every` as well, or `to`");
        }
        let zone = text.time_zone.is_some().then(|| self.zone()).flatten();
        let start = self.time("from", &text.from, zone.as_ref());
        let end = self.time("to", &text.to, zone.as_ref());
        let required = [("from", &text.from, "starts"), ("to", &text.to, "ends")];
        for (key, given, what) in required {
            if given.is_none() {
                self.broken(key, None, format!("is missing; it says when the work {what}"));
            }
        }
        let (start, end) = (start?, end?);
        if end <= start {
            self.broken("to", text.to.as_deref(), "is not after `from`");
        } else if end.since(start) > ONCE_MAX {
            self.broken("to", text.to.as_deref(), format!("is more than {ONCE_MAX} after `from`"));
        }
        Some(Schedule::Once(Window { start, end }))
    }

    fn recurring(&mut self) -> Option<Schedule> {
        let text = self.text;
        if text.to.is_some() {
            let rule = "is the end of a window that comes once; a recurrence ends with `until`";
            self.broken("to", text.to.as_deref(), rule);
        }
        let every = self.every();
        let at = self.clock();
        let zone = self.zone();
        let lasts = self.lasts(every.as_ref());
        let from = self.time("from", &text.from, zone.as_ref());
        let until = self.time("until", &text.until, zone.as_ref());
        if let (Some(from), Some(until)) = (from, until)
            && until <= from
        {
            self.broken("until", text.until.as_deref(), "is not after `from`");
        }
        Some(Schedule::Recurring(Recurring {
            every: every?,
            at: at?,
            lasts: lasts?,
            zone: zone?,
            from,
            until,
        }))
    }

    fn every(&mut self) -> Option<Every> {
        let every = self.text.every.as_deref().unwrap_or_default();
        let on = &self.text.on;
        match every {
            "day" => {
                if !on.is_empty() {
                    let rule = "is for weeks and months; every day is every day";
                    self.broken("on", Some(&on.join(", ")), rule);
                }
                Some(Every::Day)
            }
            "week" => self.weekdays().map(Every::Week),
            "month" => self.month_day().map(Every::Month),
            other => {
                self.broken("every", Some(other), "is none of day, week, month");
                None
            }
        }
    }

    fn weekdays(&mut self) -> Option<Vec<Weekday>> {
        const RULE: &str = "is no weekday; write mon, tue, wed, thu, fri, sat or sun";
        let mut days = Vec::new();
        for word in &self.text.on {
            match weekday(word) {
                None => self.broken("on", Some(word), RULE),
                Some(day) if days.contains(&day) => {
                    self.broken("on", Some(word), "is named twice");
                }
                Some(day) => days.push(day),
            }
        }
        if self.text.on.is_empty() {
            self.broken("on", None, "is missing; name the weekdays, such as [mon, thu]");
        }
        days.sort_unstable_by_key(|day| day.to_monday_zero_offset());
        (!days.is_empty()).then_some(days)
    }

    fn month_day(&mut self) -> Option<MonthDay> {
        const RULE: &str = "is no day of a month; write 1 to 31, last, third friday or last friday";
        let [word] = self.text.on.as_slice() else {
            let all = self.text.on.join(", ");
            let (value, rule) = match all.as_str() {
                "" => (None, "is missing; name the day of the month: 15, last or third friday"),
                all => (Some(all), "are several days; make a plan for each"),
            };
            self.broken("on", value, rule);
            return None;
        };
        let words: Vec<String> = word.split_whitespace().map(str::to_lowercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let found = match words.as_slice() {
            ["last"] => Some(MonthDay::Last),
            ["last", day] => weekday(day).map(MonthDay::LastOf),
            [nth, day] => NTH
                .iter()
                .zip(1..)
                .find(|(word, _)| *word == nth)
                .and_then(|(_, nth)| weekday(day).map(|day| MonthDay::Nth(nth, day))),
            [day] => day.parse().ok().filter(|day| (1..=31).contains(day)).map(MonthDay::Day),
            _ => None,
        };
        if found.is_none() {
            self.broken("on", Some(word), RULE);
        }
        found
    }

    fn clock(&mut self) -> Option<(i8, i8)> {
        let Some(text) = &self.text.at else {
            self.broken("at", None, "is missing; it says when a window begins, such as 02:00");
            return None;
        };
        let clock = text.split_once(':').and_then(|(hour, minute)| {
            let digits = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            if !digits(hour) || !digits(minute) {
                return None;
            }
            let (hour, minute) = (hour.parse().ok()?, minute.parse().ok()?);
            (hour < 24_i8 && minute < 60_i8).then_some((hour, minute))
        });
        if clock.is_none() {
            self.broken("at", Some(text), "is no time of day; write HH:MM, 00:00 to 23:59");
        }
        clock
    }

    fn zone(&mut self) -> Option<Zone> {
        let Some(name) = &self.text.time_zone else {
            let rule = "is missing; say by which clocks: Europe/Berlin, America/New_York, UTC";
            self.broken("time_zone", None, rule);
            return None;
        };
        let zone = Zone::find(name);
        if zone.is_none() {
            let rule = "is no time zone of the IANA database; write one like Europe/Berlin or UTC";
            self.broken("time_zone", Some(name), rule);
        }
        zone
    }

    fn lasts(&mut self, every: Option<&Every>) -> Option<Span> {
        let Some(text) = &self.text.lasts else {
            self.broken("for", None, "is missing; it says how long a window lasts, such as 2h");
            return None;
        };
        let Ok(span) = Span::parse(text) else {
            let rule = "is not a duration; write a number and a unit of ms, s, m, h or d, such as \
                        30s or 1h30m";
            self.broken("for", Some(text), rule);
            return None;
        };
        if span < LEAST {
            self.broken("for", Some(text), format!("is less than {LEAST}"));
        }
        if let Some(longest) = every.map(Every::longest).filter(|longest| span > *longest) {
            let rule = format!(
                "is more than {longest}, so that windows would run into each other; make it shorter"
            );
            self.broken("for", Some(text), rule);
        }
        Some(span)
    }

    fn time(
        &mut self,
        key: &'static str,
        text: &Option<String>,
        zone: Option<&Zone>,
    ) -> Option<Timestamp> {
        let text = text.as_ref()?;
        let instant = text.parse::<jiff::Timestamp>().ok().or_else(|| {
            let local: DateTime = text.parse().ok()?;
            zone?.instant(local)
        });
        let found = instant.map(|instant| Timestamp::from_millis(instant.as_millisecond()));
        if found.is_none() {
            let rule = "is no time; write 2026-05-01T22:00:00+02:00, or without +02:00 and with a \
                        `time_zone`";
            self.broken(key, Some(text), rule);
        }
        found
    }
}

fn weekday(word: &str) -> Option<Weekday> {
    let word = word.to_lowercase();
    let known = |(short, long, _): &&(&str, &str, Weekday)| *short == word || *long == word;
    WEEKDAYS.iter().find(known).map(|(_, _, day)| *day)
}

fn show(at: Timestamp) -> String {
    let instant = jiff::Timestamp::from_millisecond(at.as_millis());
    // What was read lies in the calendar.
    instant.map_or_else(|_| at.as_millis().to_string(), |instant| instant.to_string())
}

fn show_days(every: &Every) -> (&'static str, Vec<String>) {
    let short = |day: &Weekday| {
        let at = usize::from(day.to_monday_zero_offset().unsigned_abs());
        WEEKDAYS[at].0
    };
    match every {
        Every::Day => ("day", Vec::new()),
        Every::Week(days) => ("week", days.iter().map(|day| short(day).to_owned()).collect()),
        Every::Month(day) => {
            let on = match day {
                MonthDay::Day(day) => day.to_string(),
                MonthDay::Last => "last".to_owned(),
                MonthDay::LastOf(day) => format!("last {}", short(day)),
                MonthDay::Nth(nth, day) => {
                    let nth = NTH[usize::from(nth.unsigned_abs()).saturating_sub(1).min(3)];
                    format!("{nth} {}", short(day))
                }
            };
            ("month", vec![on])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once() -> PlanText {
        PlanText {
            name: Some("patching".to_owned()),
            matchers: vec!["env=prod".to_owned()],
            from: Some("2026-01-10T22:00:00+01:00".to_owned()),
            to: Some("2026-01-11T02:00:00+01:00".to_owned()),
            ..PlanText::default()
        }
    }

    fn every(every: &str, on: &[&str], lasts: &str) -> PlanText {
        PlanText {
            name: Some("backup".to_owned()),
            matchers: vec!["env=prod".to_owned()],
            every: Some(every.to_owned()),
            on: on.iter().map(|day| (*day).to_owned()).collect(),
            at: Some("02:00".to_owned()),
            lasts: Some(lasts.to_owned()),
            time_zone: Some("europe/berlin".to_owned()),
            ..PlanText::default()
        }
    }

    fn read(text: &PlanText) -> Result<Plan, Vec<PlanProblem>> {
        text.read(MaintenanceId::of("test"), "anna")
    }

    fn wrong(text: &PlanText) -> Vec<String> {
        read(text).expect_err("a wrong plan").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_was_read_is_written_in_one_way_and_read_again() {
        let mut texts = vec![
            once(),
            every("day", &[], "23h"),
            every("week", &["Sunday", "mon"], "1h"),
            every("month", &["31"], "1h"),
            every("month", &["last"], "1h"),
            every("month", &["third Friday"], "1h"),
            every("month", &["LAST sun"], "1h"),
        ];
        texts.push(PlanText {
            from: Some("2026-01-01T00:00".to_owned()),
            until: Some("2027-01-01T00:00:00Z".to_owned()),
            comment: Some("why".to_owned()),
            ..every("day", &[], "90m")
        });
        for text in texts {
            let plan = read(&text).expect("a plan");
            let written = PlanText::from(&plan);
            assert_eq!(read(&written), Ok(plan.clone()), "{written:?}");
            assert_eq!(PlanText::from(&read(&written).expect("a plan")), written);
        }
        let plan = PlanText::from(&read(&every("week", &["Sunday", "mon"], "60m")).expect("one"));
        assert_eq!((plan.on, plan.lasts), (vec!["mon".into(), "sun".into()], Some("1h".into())));
        assert_eq!(plan.time_zone.as_deref(), Some("Europe/Berlin"));
    }

    #[test]
    fn a_local_time_goes_by_the_zone() {
        let local = |from: &str| PlanText {
            from: Some(from.to_owned()),
            time_zone: Some("Europe/Berlin".to_owned()),
            ..once()
        };
        let plan = read(&local("2026-01-10 22:00")).expect("a plan");
        assert_eq!(plan, read(&once()).expect("a plan"));
        let without = PlanText { time_zone: None, ..local("2026-01-10 22:00") };
        assert!(wrong(&without)[0].starts_with("`from`: `2026-01-10 22:00` is no time"));
    }

    #[test]
    fn what_is_wrong_is_said_with_key_value_and_rule() {
        let cases: [(PlanText, &str); 16] = [
            (PlanText { name: None, ..once() }, "`name` is missing"),
            (PlanText { matchers: vec![], ..once() }, "`match` is missing"),
            (PlanText { matchers: vec!["x".into()], ..once() }, "`match`: `x` is not a matcher"),
            (PlanText { to: None, ..once() }, "`to` is missing"),
            (PlanText { to: once().from, ..once() }, "`to`: `2026-01-10T22:00:00+01:00` is not af"),
            (PlanText { at: Some("02:00".into()), ..once() }, "`at` is for windows that come ag"),
            (PlanText { to: Some("2028-01-01T00:00:00Z".into()), ..once() }, "`to`: `2028"),
            (every("year", &[], "1h"), "`every`: `year` is none of"),
            (every("day", &["mon"], "1h"), "`on`: `mon` is for weeks and months"),
            (every("week", &["monday", "mon"], "1h"), "`on`: `mon` is named twice"),
            (every("week", &[], "1h"), "`on` is missing"),
            (every("month", &["fifth friday"], "1h"), "`on`: `fifth friday` is no day"),
            (every("month", &["0"], "1h"), "`on`: `0` is no day of a month"),
            (every("day", &[], "24h"), "`for`: `24h` is more than 23h"),
            (PlanText { at: Some("24:00".into()), ..every("day", &[], "1h") }, "`at`: `24:00` is"),
            (
                PlanText { time_zone: Some("Mars/Base".into()), ..every("day", &[], "1h") },
                "`time_zone`: `Mars/Base` is no time zone",
            ),
        ];
        for (text, begins) in cases {
            let said = wrong(&text);
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].starts_with(begins), "{} is not {begins}", said[0]);
        }
        assert_eq!(wrong(&PlanText::default()).len(), 4, "everything at once");
    }
}
