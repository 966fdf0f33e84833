//! What a simulation says of itself, held against the lines that come out of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;

/// An event and its truth, with the faults known when it came.
struct Line {
    arrival: i64,
    event: Value,
    truth: Option<Value>,
}

impl Line {
    fn text(&self, key: &str) -> &str {
        self.event[key].as_str().expect("a text")
    }

    fn time(&self) -> i64 {
        self.event["timestamp"].as_i64().expect("milliseconds")
    }

    fn identity(&self) -> (String, String, String) {
        (self.text("source").into(), self.text("host").into(), self.text("check").into())
    }

    fn fault(&self) -> Option<&str> {
        self.truth.as_ref()?["truth_id"].as_str()
    }
}

fn lines(settings: Settings) -> (Vec<Line>, Simulation) {
    let mut simulation = Simulation::new(settings);
    let mut lines = Vec::new();
    while let Some(delivery) = simulation.deliver() {
        let parse = |bytes: &[u8]| serde_json::from_slice(bytes).expect("JSON");
        let arrival = delivery.arrival.as_millis();
        let (event, truth) = (parse(delivery.event), delivery.truth.map(parse));
        lines.push(Line { arrival, event, truth });
    }
    (lines, simulation)
}

fn settings(seed: u64, events: u64) -> Settings {
    Settings { pairs: 600, ..Settings::hard(seed, events) }
}

fn bytes(settings: Settings) -> Vec<u8> {
    let mut simulation = Simulation::new(settings);
    let mut all = Vec::new();
    simulation
        .topology(|line| {
            all.extend_from_slice(line);
            Ok::<(), ()>(())
        })
        .expect("nothing fails");
    while let Some(delivery) = simulation.deliver() {
        all.extend_from_slice(delivery.event);
        all.extend_from_slice(delivery.truth.unwrap_or(b"-"));
        all.extend_from_slice(&delivery.arrival.as_millis().to_le_bytes());
    }
    all
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_seed_others() {
    let first = bytes(settings(1, 20_000));
    assert!(first == bytes(settings(1, 20_000)), "the same seed");
    assert!(first != bytes(settings(2, 20_000)), "another seed");
    // More events only go on where fewer end.
    let more = bytes(settings(1, 21_000));
    assert!(more.starts_with(&first));
}

#[test]
fn the_truth_has_each_event_of_a_problem_once() {
    let (lines, simulation) = lines(settings(3, 40_000));
    assert_eq!(lines.len(), 40_000);
    let mut ids = BTreeSet::new();
    let mut bad = BTreeSet::new();
    let (mut of_faults, mut of_noise) = (0, 0);
    for line in &lines {
        assert!(ids.insert(line.text("id").to_owned()), "{}", line.event);
        if let Some(truth) = &line.truth {
            assert_eq!(truth["alert_id"], line.event["id"]);
            let whose = truth["dedup_id"].as_str().expect("a text").to_owned();
            assert!(whose.starts_with(line.text("source")), "{whose}");
            of_faults += u64::from(truth["truth_id"].is_string());
            of_noise += u64::from(truth["truth_id"].is_null());
        }
        if line.text("status") != "ok" {
            assert!(line.truth.is_some(), "a problem without truth: {}", line.event);
            bad.insert(line.identity());
        }
    }
    // Out of order an `ok` may come before its problem, but nobody recovers who was never ill.
    for line in lines.iter().filter(|line| line.truth.is_some()) {
        assert!(bad.contains(&line.identity()) || line.arrival + 600_000 > last(&lines));
    }
    let counts = simulation.counts();
    assert_eq!((counts.of_faults, counts.of_noise), (of_faults, of_noise));
    assert!(of_faults > 4_000 && of_noise > 400, "{counts:?}");
}

fn last(lines: &[Line]) -> i64 {
    lines.last().expect("events").arrival
}

#[test]
fn every_kind_of_fault_comes_and_they_overlap() {
    let mut simulation = Simulation::new(settings(4, 150_000));
    let (mut together, mut on_one_host) = (BTreeMap::new(), false);
    let mut seen = BTreeSet::new();
    let mut lengths = BTreeMap::new();
    while let Some(delivery) = simulation.deliver() {
        let now = delivery.arrival;
        let truth: Option<Value> =
            delivery.truth.map(|truth| serde_json::from_slice(truth).expect("JSON"));
        if let Some(id) = truth.as_ref().and_then(|truth| truth["truth_id"].as_str()) {
            seen.insert(id.split('-').next().expect("a kind").to_owned());
        }
        let open: Vec<&Fault> = simulation
            .faults()
            .iter()
            .filter(|fault| fault.from <= now && now < fault.until)
            .collect();
        *together.entry(open.len()).or_insert(0_u32) += 1;
        for fault in &open {
            lengths.insert(fault.number, fault.until.since(fault.from).as_millis());
            on_one_host |= open.iter().any(|other| {
                other.number != fault.number
                    && other.machines.iter().any(|machine| fault.machines.contains(machine))
            });
        }
    }
    let all: BTreeSet<String> = Kind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
    assert_eq!(seen, all);
    assert!(simulation.counts().faults.iter().all(|count| *count > 0));
    let expected: Vec<usize> = (0..=OPEN_MAX).collect();
    assert_eq!(together.keys().copied().collect::<Vec<_>>(), expected, "{together:?}");
    assert!(on_one_host);
    // Log-normal: within bounds, half below the median of the medians, with a long tail.
    let mut lengths: Vec<i64> = lengths.into_values().collect();
    lengths.sort_unstable();
    assert!(lengths.len() > 100, "{}", lengths.len());
    assert!(lengths.iter().all(|length| (LENGTH.0..=LENGTH.1).contains(length)));
    let median = lengths[lengths.len() / 2];
    assert!((10 * MINUTE..40 * MINUTE).contains(&median), "{median}");
    assert!(lengths[lengths.len() * 95 / 100] > 3 * median);
}

#[test]
fn labels_hold_events_of_the_faults_life_and_machines() {
    let mut simulation = Simulation::new(settings(5, 60_000));
    let skew = Rates::default().skew.as_millis();
    let (mut checked, mut spread) = (0, BTreeMap::<String, BTreeSet<String>>::new());
    while let Some(delivery) = simulation.deliver() {
        let Some(truth) = delivery.truth else { continue };
        let truth: Value = serde_json::from_slice(truth).expect("JSON");
        let event: Value = serde_json::from_slice(delivery.event).expect("JSON");
        let Some(id) = truth["truth_id"].as_str() else { continue };
        let fault = simulation.faults().iter().find(|fault| fault.id() == id);
        let fault = fault.unwrap_or_else(|| panic!("{id} is not known: {event}"));
        let host = event["host"].as_str().expect("a text");
        let hit = fault.machines.iter().filter_map(|machine| simulation.machine(*machine));
        assert!(hit.flatten().any(|name| name == host), "{host} is not of {id}");
        let time = event["timestamp"].as_i64().expect("milliseconds");
        assert!(time >= fault.from.as_millis() - skew, "before {id}: {event}");
        // The second monitor looks up to a minute later; recoveries are seen at the next check.
        let after = if event["status"] == "ok" { 8 * MINUTE } else { MINUTE };
        assert!(time <= fault.until.as_millis() + skew + after, "after {id}: {event}");
        checked += 1;
        spread.entry(id.to_owned()).or_default().insert(host.to_owned());
    }
    assert!(checked > 5_000, "{checked}");
    assert!(spread.values().any(|hosts| hosts.len() > 10), "nothing spreads");
    assert!(spread.iter().any(|(id, hosts)| id.starts_with("disk") && hosts.len() == 1));
}

#[test]
fn certificates_expire_in_one_second_and_a_dead_poller_makes_all_unknown() {
    let (lines, _) = lines(settings(6, 150_000));
    let mut first: BTreeMap<&str, BTreeMap<(String, String, String), i64>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.text("status") != "ok") {
        let Some(id) = line.fault() else { continue };
        if id.starts_with("poller") {
            assert_eq!((line.text("status"), line.text("source")), ("unknown", "nagios"));
        }
        if id.starts_with("certificate") && line.text("check") == "certificate" {
            let times = first.entry(id).or_default();
            let time = times.entry(line.identity()).or_insert(i64::MAX);
            *time = (*time).min(line.time());
        }
    }
    // By a clock: skew is by poller, and pollers differ by at most 40 s.
    let same_second = |times: &BTreeMap<_, i64>| {
        let all: Vec<i64> = times.values().copied().collect();
        times.len() >= 5 && all.iter().filter(|time| (all[0] - **time).abs() <= 1_000).count() >= 5
    };
    assert!(first.values().any(same_second), "{first:?}");
    let pollers: BTreeSet<&str> = lines
        .iter()
        .filter(|line| line.fault().is_some_and(|id| id.starts_with("poller")))
        .map(|line| line.event["tags"]["poller"].as_str().expect("a text"))
        .collect();
    assert!(!pollers.is_empty());
}

#[test]
fn shares_are_what_was_asked_for() {
    let (lines, simulation) = lines(settings(7, 100_000));
    let counts = simulation.counts();
    let part = |part: u64, whole: u64| part as f64 / whole as f64;
    let undetected = part(counts.undetected, counts.reached);
    assert!((0.05..0.30).contains(&undetected), "{undetected}");
    assert!((0.007..0.013).contains(&part(counts.late, counts.events)), "{counts:?}");
    let recoveries =
        lines.iter().filter(|line| line.truth.is_some() && line.text("status") == "ok").count();
    let lost = part(counts.lost_oks, recoveries as u64);
    assert!((0.01..0.03).contains(&lost), "{lost}");
    assert!(counts.by_second * 100 > counts.events, "{counts:?}");
    let skew = Rates::default().skew.as_millis();
    let (mut latest, mut disorder, mut most) = (i64::MIN, 0, 0);
    let mut before = i64::MIN;
    for line in &lines {
        assert!(line.arrival >= before, "in order of arrival");
        before = line.arrival;
        disorder += u64::from(line.time() < latest);
        latest = latest.max(line.time());
        let late = line.arrival - line.time();
        assert!((-skew..=LATE_MAX.as_millis() + skew).contains(&late), "{late}");
        most = most.max(late);
    }
    assert!(most > 9 * MINUTE, "{most}");
    assert!(disorder > 1_000, "{disorder}");
    // The second monitor spells names in three ways.
    let seconds: BTreeSet<&str> = lines
        .iter()
        .filter(|line| line.text("source") == "zabbix")
        .map(|line| line.text("host"))
        .collect();
    assert!(seconds.iter().any(|host| host.ends_with(".example.net")));
    assert!(seconds.iter().any(|host| **host == host.to_uppercase()));
    assert!(seconds.iter().any(|host| **host == host.to_lowercase() && !host.contains('.')));
}

#[test]
fn checks_come_every_few_minutes_soft_before_hard_and_are_told_again() {
    let (lines, _) = lines(settings(8, 60_000));
    let mut by_identity: BTreeMap<_, Vec<(i64, &str, &str)>> = BTreeMap::new();
    for line in &lines {
        let told = (line.time(), line.text("status"), line.text("description"));
        by_identity.entry(line.identity()).or_default().push(told);
    }
    let (mut apart, mut again, mut soft) = (Vec::new(), 0, 0);
    for times in by_identity.values_mut() {
        times.sort_unstable();
        for pair in times.windows(2) {
            let [(one, before, _), (two, now, text)] = pair else { continue };
            if (*before, *now) == ("ok", "ok") {
                apart.push(two - one);
            }
            again += u32::from(*before != "ok" && before == now && two - one >= 29 * MINUTE);
            soft += u32::from(text.ends_with("(attempt 1 of 3)"));
        }
    }
    assert!(apart.len() > 10_000 && again > 100 && soft > 500, "{} {again} {soft}", apart.len());
    let usual = apart.iter().filter(|apart| (57_000..=315_000).contains(*apart)).count();
    assert!(usual * 100 > apart.len() * 98, "{usual} of {}", apart.len());
    let round = apart.iter().filter(|apart| **apart % MINUTE == 0).count();
    assert!(round * 10 < apart.len(), "jitter: {round} of {}", apart.len());
}

#[test]
fn without_faults_there_is_noise_and_without_noise_all_is_well() {
    let mut quiet = settings(9, 30_000);
    quiet.rates.open = 0.0;
    let (noisy, simulation) = lines(quiet.clone());
    assert_eq!(simulation.counts().of_faults, 0);
    let texts: BTreeSet<&str> = noisy
        .iter()
        .filter(|line| line.text("status") != "ok")
        .map(|line| line.text("description").split(" (").next().expect("a text"))
        .collect();
    let expected = [
        "batch jobs",
        "connection reset",
        "just above the threshold",
        "more users",
        "timeout after 10 s",
    ];
    assert_eq!(texts, BTreeSet::from(expected));
    quiet.rates.noise = 0.0;
    let (all_well, _) = lines(quiet);
    assert!(all_well.iter().all(|line| line.text("status") == "ok" && line.truth.is_none()));
}

#[test]
fn what_is_held_does_not_grow_with_the_number_of_events() {
    for (events, pairs) in [(50_000, 300), (400_000, 300), (100_000, 5_000)] {
        let mut simulation = Simulation::new(Settings { pairs, ..Settings::hard(10, events) });
        while simulation.deliver().is_some() {
            let causes = simulation.states.iter().map(|state| state.causes.len()).max();
            // Looking at all of them each time would take long.
            if simulation.counts.events.is_multiple_of(1_000) {
                assert!(causes.is_some_and(|most| most < 40), "{causes:?}");
                assert!(simulation.faults.len() < 50);
            }
        }
        let counts = simulation.counts();
        let pairs = usize::try_from(pairs).expect("few");
        assert!(counts.due_max <= 3 * pairs + 10, "{counts:?}");
        assert!(counts.on_way_max <= 2 * pairs, "{counts:?}");
        assert_eq!(counts.events, events);
    }
}

#[test]
fn edges_name_only_what_there_is_and_every_machine_has_one() {
    let mut all = settings(11, 60_000);
    all.rates.chatty = 1.0;
    let (lines, simulation) = lines(all);
    let mut known: BTreeSet<(String, String)> = BTreeSet::new();
    for line in &lines {
        known.insert(("host".into(), line.text("host").into()));
        for (tag, value) in line.event["tags"].as_object().expect("tags") {
            known.insert((tag.clone(), value.as_str().expect("a text").into()));
        }
    }
    for machine in 0..simulation.machines() {
        // A second monitor that had nothing to tell has not shown its spelling.
        let names = simulation.machine(machine).expect("it is there");
        assert!(known.contains(&("host".into(), names[0].clone())), "{names:?}");
        known.insert(("host".into(), names[1].clone()));
    }
    let mut kinds = BTreeMap::new();
    let mut from = BTreeSet::new();
    let edges = simulation.topology(|line| {
        let edge: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        for end in ["from", "to"] {
            let text = |key: &str| edge[end][key].as_str().unwrap_or_default().to_owned();
            if !known.contains(&(text("tag"), text("value"))) {
                return Err(format!("nobody knows {edge}"));
            }
        }
        from.insert(edge["from"]["value"].as_str().unwrap_or_default().to_owned());
        *kinds.entry(edge["kind"].as_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
        Ok(())
    });
    assert_eq!(edges, Ok(()));
    assert_eq!(
        kinds.keys().map(String::as_str).collect::<Vec<_>>(),
        ["connected_to", "depends_on", "member_of", "runs_on"]
    );
    assert!(lines.iter().all(|line| from.contains(line.text("host"))));
}

#[test]
fn estates_have_the_pairs_asked_for() {
    for pairs in [PAIRS.0, 601, 50_000] {
        let simulation = Simulation::new(Settings { pairs, ..Settings::new(1, 1) });
        assert_eq!(simulation.pairs(), usize::try_from(pairs).expect("few"));
    }
    let simulation = Simulation::new(Settings { pairs: 1, ..Settings::new(1, 1) });
    assert_eq!(simulation.pairs(), 200);
}

#[test]
fn a_script_leaves_nothing_to_chance() {
    let minutes = |minutes| Span::from_millis(minutes * MINUTE);
    let mut scripted = settings(12, 5_000);
    scripted.length = Some(minutes(60));
    scripted.rates.chatty = 0.0;
    scripted.script = vec![
        Scripted { at: minutes(5), length: minutes(20), kind: Some(Kind::Switch) },
        Scripted { at: minutes(8), length: minutes(30), kind: None },
    ];
    let (lines, simulation) = lines(scripted);
    assert_eq!(simulation.counts().faults.iter().sum::<u32>(), 1);
    let ids: BTreeSet<Option<&str>> = lines.iter().map(Line::fault).collect();
    assert_eq!(ids, BTreeSet::from([None, Some("switch-1")]));
    let begin = BEGIN.as_millis();
    assert!(lines.iter().all(|line| line.arrival >= begin + 5 * MINUTE));
    assert!(lines.len() > 100, "{}", lines.len());
}

#[test]
fn what_was_repaired_rests_and_machines_break_about_once_a_month() {
    let mut settings = Settings::new(13, 60_000);
    // Nothing but faults, so that weeks pass; wide ones often, since one site has one of each.
    (settings.rates.noise, settings.rates.wide) = (0.0, 1.0);
    let mut simulation = Simulation::new(settings);
    let mut begun: BTreeMap<u32, (Kind, usize, i64, i64)> = BTreeMap::new();
    let mut last = 0;
    while let Some(delivery) = simulation.deliver() {
        last = delivery.arrival.since(BEGIN).as_millis();
        for fault in &simulation.faults {
            let from = fault.from.since(BEGIN).as_millis();
            begun.insert(fault.number, (fault.kind, fault.root, from, fault.end));
        }
    }
    let mut ends: BTreeMap<(Kind, usize), i64> = BTreeMap::new();
    let day = 24 * 60 * MINUTE;
    for (kind, root, from, end) in begun.values().copied() {
        let Some(part) = faults::part(kind, root, &simulation.estate) else { continue };
        if let Some(before) = ends.insert((kind, part), end) {
            assert!(from >= before + day, "{kind:?} {part}: {from} after {before}");
        }
    }
    assert!(simulation.counts().rested > 0, "{:?}", simulation.counts());
    let machines = i64::try_from(simulation.machines()).expect("few");
    let arrived =
        i64::from(simulation.begun) + i64::try_from(simulation.counts().rested).expect("few");
    let expected = machines * last / (30 * day);
    assert!(
        expected > 50 && (expected * 7 / 10..expected * 13 / 10).contains(&arrived),
        "{arrived} of {expected}"
    );
}

#[test]
fn sources_live_twice_as_long_as_they_take_to_say_it_again() {
    let sources = |settings: Settings| Simulation::new(settings).sources().collect::<Vec<_>>();
    let hour = Span::from_secs(3_600);
    let two = Span::from_secs(7_200);
    assert_eq!(sources(Settings::new(1, 1)), [("nagios", hour), ("zabbix", two)]);
    assert_eq!(sources(Settings::hard(1, 1)), [("nagios", hour)]);
    // And so they do: what lasts is said again well before.
    let mut settings = settings(14, 40_000);
    (settings.rates.renotify_second, settings.rates.lost_ok) = (hour, 0.0);
    (settings.rates.late, settings.rates.skew) = (0.0, Span::ZERO);
    let (lines, _) = lines(settings);
    let mut bad: BTreeMap<_, i64> = BTreeMap::new();
    let mut again = BTreeMap::new();
    for line in &lines {
        let (source, _, _) = line.identity();
        let lives = if source == "nagios" { hour } else { two };
        if line.text("status") == "ok" {
            bad.remove(&line.identity());
        } else if let Some(before) = bad.insert(line.identity(), line.time()) {
            let apart = line.time() - before;
            assert!(apart < lives.as_millis(), "{}: {apart}", line.event);
            *again.entry(source).or_insert(0) += u32::from(apart >= 29 * MINUTE);
        }
    }
    assert!(again["nagios"] > 100 && again["zabbix"] > 10, "{again:?}");
}
