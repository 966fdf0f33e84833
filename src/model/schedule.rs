//! When planned work goes on: once, or again and again by the calendar of a time zone.
//!
//! Pure arithmetic on times; what a window does to alerts is not decided here. The time zones are
//! those compiled into the program, never the system's, so that every machine reads a log alike. A
//! window is half-open: it holds its start and not its end.
//!
//! A local time that a change of clocks leaves out counts as so much later, one that comes twice is
//! the first of the two; a window lasts its whole length whatever the clocks do. A month that does
//! not have the day is left out; `last` is the last day of every month.

use std::fmt;
use std::sync::LazyLock;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Span as Days, Timestamp as Instant};

use super::time::{Span, Timestamp};

/// The zones that were compiled in.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

const DAY: i64 = 86_400_000;
/// What the clocks may take from a period: a window that is shorter by so much meets no other.
const SLACK: i64 = 3_600_000;
/// In how many months, from that of a date on, a day of the month is surely found.
const MONTHS_MAX: usize = 4;

/// From a time to another, which is not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// The first millisecond of it.
    pub start: Timestamp,
    /// The first millisecond after it.
    pub end: Timestamp,
}

impl Window {
    /// Whether a time lies in it.
    #[must_use]
    pub fn holds(self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }
}

/// A time zone by its name, such as `Europe/Berlin`.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone {
    name: Box<str>,
    zone: TimeZone,
}

impl Zone {
    /// Finds a zone; upper and lower case do not matter.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let zone = ZONES.get(name).ok()?;
        Some(Self { name: zone.iana_name()?.into(), zone })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When the clocks of the zone show this.
    pub(super) fn instant(&self, local: DateTime) -> Option<Instant> {
        Some(local.to_zoned(self.zone.clone()).ok()?.timestamp())
    }

    fn date(&self, at: Timestamp) -> Option<Date> {
        let instant = Instant::from_millisecond(at.as_millis()).ok()?;
        Some(self.zone.to_datetime(instant).date())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Which of a month's days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MonthDay {
    /// 1 to 31; months that are too short have none.
    Day(i8),
    /// The last one.
    Last,
    /// The first to fourth of a weekday.
    Nth(i8, Weekday),
    /// The last of a weekday.
    LastOf(Weekday),
}

/// On which days a window begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Every {
    /// Each.
    Day,
    /// Some weekdays, from Monday on; at least one, each once.
    Week(Vec<Weekday>),
    /// One day of each month.
    Month(MonthDay),
}

impl Every {
    /// The shortest time from one such day to the next, in days.
    fn period(&self) -> i64 {
        match self {
            Self::Day => 1,
            Self::Month(_) => 28,
            Self::Week(days) => {
                let at: Vec<i64> =
                    days.iter().map(|day| i64::from(day.to_monday_zero_offset())).collect();
                let next = at.iter().skip(1).copied().chain(at.first().map(|first| first + 7));
                at.iter().zip(next).map(|(one, next)| next - one).min().unwrap_or(7)
            }
        }
    }

    /// The longest that a window may be: longer ones would run into each other.
    #[must_use]
    pub fn longest(&self) -> Span {
        Span::from_millis(self.period() * DAY - SLACK)
    }

    /// The first such day from a date on.
    fn on_or_after(&self, date: Date) -> Option<Date> {
        let following =
            |first| std::iter::successors(Some(first), |day: &Date| day.tomorrow().ok());
        match self {
            Self::Day => Some(date),
            Self::Week(days) => following(date).take(7).find(|day| days.contains(&day.weekday())),
            Self::Month(day) => {
                let months = std::iter::successors(Some(date.first_of_month()), |first| {
                    first.last_of_month().tomorrow().ok()
                });
                // No day is missing in more than one month in a row.
                months.take(MONTHS_MAX).filter_map(|first| day.of(first)).find(|day| *day >= date)
            }
        }
    }
}

impl MonthDay {
    /// The day in the month of a date.
    fn of(self, date: Date) -> Option<Date> {
        match self {
            Self::Day(day) => Date::new(date.year(), date.month(), day).ok(),
            Self::Last => Some(date.last_of_month()),
            Self::Nth(nth, weekday) => date.nth_weekday_of_month(nth, weekday).ok(),
            Self::LastOf(weekday) => date.nth_weekday_of_month(-1, weekday).ok(),
        }
    }
}

/// Windows that come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recurring {
    /// On which days one begins.
    pub every: Every,
    /// At which hour and minute, by the clocks of the zone.
    pub at: (i8, i8),
    /// How long one lasts; at most [`Every::longest`], so that none runs into the next.
    pub lasts: Span,
    /// Whose calendar and clocks.
    pub zone: Zone,
    /// No window begins before; none where there is no such bound.
    pub from: Option<Timestamp>,
    /// No window begins then or later.
    pub until: Option<Timestamp>,
}

impl Recurring {
    /// The window that begins on a day.
    fn on(&self, date: Date) -> Option<Window> {
        let (hour, minute) = self.at;
        let instant = self.zone.instant(date.at(hour, minute, 0, 0))?;
        let start = Timestamp::from_millis(instant.as_millisecond());
        let begins = self.from.is_none_or(|from| from <= start)
            && self.until.is_none_or(|until| start < until);
        begins.then(|| Window { start, end: start + self.lasts })
    }

    /// The windows that are not over at a time, by the day they begin on.
    fn windows(&self, at: Timestamp) -> impl Iterator<Item = Window> {
        let from = self.from.map_or(at - self.lasts, |from| from.max(at - self.lasts));
        let until = self.until.and_then(|until| self.zone.date(until));
        // The day before as well: the length of a day is not what it seems where clocks change.
        let first = self.zone.date(from).map(|date| date.saturating_sub(one_day()));
        let first = first.and_then(|date| self.every.on_or_after(date));
        let days = std::iter::successors(first, |date| {
            date.tomorrow().ok().and_then(|next| self.every.on_or_after(next))
        });
        days.take_while(move |date| until.is_none_or(|until| *date <= until))
            .filter_map(|date| self.on(date))
            .filter(move |window| window.end > at)
    }
}

fn one_day() -> Days {
    Days::new().days(1)
}

/// When planned work goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// Once.
    Once(Window),
    /// Again and again.
    Recurring(Recurring),
}

impl Schedule {
    /// The window that a time lies in; the one that began first, should there be two.
    #[must_use]
    pub fn active_at(&self, at: Timestamp) -> Option<Window> {
        self.windows(at).take_while(|window| window.start <= at).find(|window| window.holds(at))
    }

    /// When a window begins or ends next, after a time; none where all is over.
    #[must_use]
    pub fn next_boundary(&self, after: Timestamp) -> Option<Timestamp> {
        let mut next: Option<Timestamp> = None;
        for window in self.windows(after) {
            let edges = [window.start, window.end].into_iter().chain(next);
            next = edges.filter(|edge| *edge > after).min();
            if window.start > after {
                break;
            }
        }
        next
    }

    /// The windows that are not over at a time, in order.
    pub fn windows(&self, at: Timestamp) -> impl Iterator<Item = Window> {
        let (once, recurring) = match self {
            Self::Once(window) => (Some(*window).filter(|window| window.end > at), None),
            Self::Recurring(recurring) => (None, Some(recurring)),
        };
        let recurring = recurring.into_iter().flat_map(move |recurring| recurring.windows(at));
        once.into_iter().chain(recurring)
    }

    /// A time after which there is no window; none where they come for ever.
    #[must_use]
    pub fn over_at(&self) -> Option<Timestamp> {
        match self {
            Self::Once(window) => Some(window.end),
            Self::Recurring(recurring) => recurring.until.map(|until| until + recurring.lasts),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        let instant: Instant = text.parse().expect("a time");
        Timestamp::from_millis(instant.as_millisecond())
    }

    fn recurring(every: Every, clock: (i8, i8), minutes: i64, zone: &str) -> Recurring {
        let zone = Zone::find(zone).expect("a zone");
        let lasts = Span::from_secs(minutes * 60);
        Recurring { every, at: clock, lasts, zone, from: None, until: None }
    }

    fn starts(recurring: Recurring, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::Recurring(recurring);
        let windows = schedule.windows(at(from)).take(count);
        let show = |window: Window| {
            Instant::from_millisecond(window.start.as_millis()).expect("in range").to_string()
        };
        windows.map(show).collect()
    }

    #[test]
    fn a_window_holds_its_start_and_not_its_end() {
        let window = Window { start: at("2026-01-01T10:00:00Z"), end: at("2026-01-01T11:00:00Z") };
        let once = Schedule::Once(window);
        let millisecond = Span::from_millis(1);
        assert_eq!(once.active_at(window.start - millisecond), None);
        assert_eq!(once.active_at(window.start), Some(window));
        assert_eq!(once.active_at(window.end - millisecond), Some(window));
        assert_eq!(once.active_at(window.end), None);
        assert_eq!(once.next_boundary(window.start - millisecond), Some(window.start));
        assert_eq!(once.next_boundary(window.start), Some(window.end));
        assert_eq!(once.next_boundary(window.end), None);
        assert_eq!(once.over_at(), Some(window.end));
    }

    #[test]
    fn the_third_friday_and_the_last_sunday() {
        let third = Every::Month(MonthDay::Nth(3, Weekday::Friday));
        let found = starts(recurring(third, (22, 0), 60, "UTC"), "2026-01-01T00:00:00Z", 3);
        assert_eq!(found, ["2026-01-16T22:00:00Z", "2026-02-20T22:00:00Z", "2026-03-20T22:00:00Z"]);
        let last = Every::Month(MonthDay::LastOf(Weekday::Sunday));
        let found = starts(recurring(last, (1, 0), 60, "UTC"), "2026-01-26T00:00:00Z", 2);
        assert_eq!(found, ["2026-02-22T01:00:00Z", "2026-03-29T01:00:00Z"]);
    }

    #[test]
    fn months_without_the_day_are_left_out_and_the_last_day_is_always_there() {
        let from = "2027-12-15T00:00:00Z";
        let day = Every::Month(MonthDay::Day(31));
        let found = starts(recurring(day, (0, 0), 60, "UTC"), from, 3);
        assert_eq!(found, ["2027-12-31T00:00:00Z", "2028-01-31T00:00:00Z", "2028-03-31T00:00:00Z"]);
        let found = starts(recurring(Every::Month(MonthDay::Last), (0, 0), 60, "UTC"), from, 3);
        assert_eq!(found, ["2027-12-31T00:00:00Z", "2028-01-31T00:00:00Z", "2028-02-29T00:00:00Z"]);
    }

    #[test]
    fn a_local_time_that_is_left_out_is_an_hour_later_and_one_that_comes_twice_is_the_first() {
        // 2026-03-29 has no 02:30 in Berlin, 2026-10-25 has it twice.
        let daily = recurring(Every::Day, (2, 30), 60, "Europe/Berlin");
        let found = starts(daily.clone(), "2026-03-28T12:00:00Z", 2);
        assert_eq!(found, ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"], "03:30, then 02:30");
        let found = starts(daily, "2026-10-24T12:00:00Z", 2);
        assert_eq!(found, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"], "the first 02:30");
        // Lord Howe turns its clocks by half an hour, from 02:00 to 02:30.
        let daily = recurring(Every::Day, (2, 10), 60, "Australia/Lord_Howe");
        let found = starts(daily, "2026-10-02T20:00:00Z", 2);
        assert_eq!(found, ["2026-10-03T15:40:00Z", "2026-10-04T15:10:00Z"], "02:40, then 02:10");
        let daily = recurring(Every::Day, (4, 0), 60, "Asia/Kolkata");
        assert_eq!(starts(daily, "2026-01-01T00:00:00Z", 1), ["2026-01-01T22:30:00Z"]);
    }

    #[test]
    fn a_window_lasts_its_whole_length_over_a_change_of_clocks() {
        let daily = recurring(Every::Day, (1, 0), 180, "europe/berlin");
        assert_eq!(daily.zone.name(), "Europe/Berlin");
        let schedule = Schedule::Recurring(daily);
        let window = schedule.active_at(at("2026-03-29T02:59:59Z")).expect("three hours");
        assert_eq!(window.end.since(window.start), Span::from_secs(3 * 3_600));
        assert_eq!(schedule.active_at(at("2026-03-29T03:00:00Z")), None);
    }

    #[test]
    fn bounds_of_a_recurrence_are_about_where_windows_begin() {
        let from = Some(at("2026-01-05T02:00:00Z"));
        let until = Some(at("2026-01-07T02:00:00Z"));
        let daily = Recurring { from, until, ..recurring(Every::Day, (2, 0), 60, "UTC") };
        let schedule = Schedule::Recurring(daily.clone());
        let found = starts(daily, "2020-01-01T00:00:00Z", 9);
        assert_eq!(found, ["2026-01-05T02:00:00Z", "2026-01-06T02:00:00Z"]);
        assert_eq!(schedule.next_boundary(at("2026-01-06T03:00:00Z")), None);
        assert_eq!(schedule.over_at(), Some(at("2026-01-07T03:00:00Z")));
    }

    #[test]
    fn the_longest_window_leaves_room_before_the_next() {
        let hours = |every: Every| every.longest().as_millis() / 3_600_000;
        assert_eq!(hours(Every::Day), 23);
        assert_eq!(hours(Every::Week(vec![Weekday::Monday])), 7 * 24 - 1);
        assert_eq!(hours(Every::Week(vec![Weekday::Monday, Weekday::Sunday])), 23);
        assert_eq!(hours(Every::Week(vec![Weekday::Monday, Weekday::Thursday])), 71);
        assert_eq!(hours(Every::Month(MonthDay::Last)), 28 * 24 - 1);
    }

    #[test]
    fn times_beyond_any_calendar_are_in_no_window() {
        let schedule = Schedule::Recurring(recurring(Every::Day, (0, 0), 60, "UTC"));
        for at in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!((schedule.active_at(at), schedule.next_boundary(at)), (None, None));
        }
    }

    fn every() -> impl Strategy<Value = Every> {
        let weekday =
            || (0..7_i8).prop_map(|day| Weekday::from_monday_zero_offset(day).expect("below 7"));
        let days = prop::collection::btree_set(0..7_i8, 1..4).prop_map(|days| {
            let day = |day| Weekday::from_monday_zero_offset(day).expect("below 7");
            Every::Week(days.into_iter().map(day).collect())
        });
        prop_oneof![
            Just(Every::Day),
            days,
            (1..=31_i8).prop_map(|day| Every::Month(MonthDay::Day(day))),
            Just(Every::Month(MonthDay::Last)),
            (1..=4_i8, weekday()).prop_map(|(nth, day)| Every::Month(MonthDay::Nth(nth, day))),
            weekday().prop_map(|day| Every::Month(MonthDay::LastOf(day))),
        ]
    }

    /// Whether a date is one of these, said without arithmetic on months.
    fn is_on(every: &Every, date: Date) -> bool {
        let last = date.tomorrow().expect("in range").month() != date.month();
        let in_a_week = date.checked_add(Days::new().days(7)).expect("in range");
        match every {
            Every::Day => true,
            Every::Week(days) => days.contains(&date.weekday()),
            Every::Month(MonthDay::Day(day)) => date.day() == *day,
            Every::Month(MonthDay::Last) => last,
            Every::Month(MonthDay::Nth(nth, day)) => {
                date.weekday() == *day && (date.day() - 1) / 7 + 1 == *nth
            }
            Every::Month(MonthDay::LastOf(day)) => {
                date.weekday() == *day && in_a_week.month() != date.month()
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// Minute by minute, a time is in a window exactly where one that began on some day before
        /// reaches it, in any zone and over any change of clocks; and the next boundary is the next
        /// minute at which that, or the window, is another.
        #[test]
        fn windows_are_what_counting_minutes_says(
            every in every(),
            clock in (0..24_i8, 0..60_i8),
            share in 1..=100_i64,
            zone in prop::sample::select(vec![
                "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata",
                "America/Sao_Paulo", "Pacific/Apia", "Antarctica/Troll", "Asia/Kathmandu",
            ]),
            first_day in 0..14_610_i32,
            bound in prop::option::of((0..4_i64, 1..6_i64)),
        ) {
            // 40 years from 2000 on, past and to come.
            let begin = Date::constant(2000, 1, 1).checked_add(Days::new().days(first_day));
            let begin = begin.expect("in range");
            let lasts = every.longest().as_millis() * share / 100 / 60_000;
            let mut plan = recurring(every.clone(), clock, lasts.max(1), zone);
            let zone = plan.zone.zone.clone();
            let midnight = begin.to_zoned(zone.clone()).expect("in range").timestamp();
            let midnight = Timestamp::from_millis(midnight.as_millisecond());
            if let Some((from, days)) = bound {
                let from = midnight + Span::from_millis(from * DAY);
                (plan.from, plan.until) = (Some(from), Some(from + Span::from_millis(days * DAY)));
            }
            // Every window that could reach the days looked at, day by day.
            let before = begin.checked_sub(Days::new().days(34)).expect("in range");
            let all: Vec<Window> = before.series(Days::new().days(1)).take(34 + 40)
                .filter(|date| is_on(&every, *date))
                .map(|date| {
                    let start = date.at(clock.0, clock.1, 0, 0).to_zoned(zone.clone());
                    let start = start.expect("in range").timestamp().as_millisecond();
                    let start = Timestamp::from_millis(start);
                    Window { start, end: start + plan.lasts }
                })
                .filter(|window| plan.from.is_none_or(|from| window.start >= from)
                    && plan.until.is_none_or(|until| window.start < until))
                .collect();
            let schedule = Schedule::Recurring(plan);
            for minute in 0..3 * 24 * 60 {
                let now = midnight + Span::from_millis(minute * 60_000);
                let expected = all.iter().any(|window| window.holds(now));
                prop_assert_eq!(schedule.active_at(now).is_some(), expected, "at {:?}", now);
            }
            let edges = all.iter().flat_map(|window| [window.start, window.end]);
            let next = edges.filter(|edge| *edge > midnight).min();
            let limit = midnight + Span::from_millis(5 * DAY);
            let near = |edge: Option<Timestamp>| edge.filter(|edge| *edge < limit);
            prop_assert_eq!(near(schedule.next_boundary(midnight)), near(next));
        }
    }
}
