//! Rules 7 to 12: which incident an alert belongs to.

use super::*;

impl Model {
    /// Rules 9 to 12: the first pattern in order that finds an incident, or an incident of its own.
    /// Where there is a free one, that is used in place of a new one.
    pub(super) fn place(
        &mut self,
        mut alert: Alert,
        by_pattern: &[(Pattern, Vec<Pair>)],
        lapsed: &[Box<str>],
        free: Option<usize>,
    ) {
        let mut refused: Vec<(usize, TurnedDown)> = Vec::new();
        for (pattern, pairs) in by_pattern {
            if let Some(found) = self.oldest(&alert, pattern, pairs, &mut refused) {
                return self.take_in(alert, found, refused);
            }
        }
        let full = refused.iter().rev().find(|(_, one)| one.under[0].reason == Refusal::Full);
        let links = full
            .map(|(number, _)| *number)
            .filter(|full| self.incident(*full).continued_by.is_none());
        let patterns = by_pattern.iter().map(|(pattern, _)| pattern);
        let fits = patterns.filter(|pattern| pattern.matchers.matches(&alert.shown()));
        let lacks = fits.filter_map(|pattern| lack(pattern, &alert.content)).take(5).collect();
        let turned_down = nearest(refused, None);
        alert.why = Why { pair: None, hops: None, apart: Span::ZERO, turned_down, lacks };
        let hold = self.hold(by_pattern, lapsed);
        match free {
            Some(free) => self.keep(free, alert, links, hold),
            None => self.open(alert, links, hold),
        }
    }

    /// Rule 12, and into the incident that takes it.
    pub(super) fn take_in(
        &mut self,
        mut alert: Alert,
        (incident, pair): (usize, Pair),
        refused: Vec<(usize, TurnedDown)>,
    ) {
        let apart = alert.started_at.apart(self.incident(incident).first);
        let turned_down = nearest(refused, Some(incident));
        let hops = self.hops(&alert.shown(), &pair);
        alert.why = Why { pair: Some(pair), hops, apart, turned_down, lacks: Vec::new() };
        self.join(incident, alert);
    }

    /// Rule 9: the oldest incident of the shard that holds one of the pairs and takes the alert; by
    /// id where two are as old. What is looked at is first brought up to the alert's start.
    pub(super) fn oldest(
        &mut self,
        alert: &Alert,
        pattern: &Pattern,
        pairs: &[Pair],
        refused: &mut Vec<(usize, TurnedDown)>,
    ) -> Option<(usize, Pair)> {
        let start = alert.started_at;
        let holds = |incident: &&Incident| {
            incident.shard == alert.shard && pairs.iter().any(|pair| incident.pairs.contains(pair))
        };
        let mut candidates: Vec<(Timestamp, Option<IncidentId>, usize)> = self
            .incidents
            .iter()
            .filter(holds)
            .map(|incident| (incident.first, incident.id, incident.number))
            .collect();
        candidates.sort_unstable();
        // Whatever lies outside the window is turned down, whichever takes the alert.
        let (near, far): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|(first, _, _)| start.apart(*first) <= pattern.window);
        for (_, _, number) in far {
            self.turn_down(number, pattern, Refusal::OutsideWindow, start, refused);
        }
        for (_, _, number) in near {
            self.bring_up_to(number, start);
            let Some(reason) = self.refusal(number, pattern, start) else {
                let incident = self.incident(number);
                let pair = pairs.iter().find(|pair| incident.pairs.contains(pair));
                return Some((number, pair.expect("it holds one").clone()));
            };
            self.turn_down(number, pattern, reason, start, refused);
        }
        None
    }

    /// Rule 12: what was turned down, and why.
    pub(super) fn turn_down(
        &self,
        number: usize,
        pattern: &Pattern,
        reason: Refusal,
        start: Timestamp,
        refused: &mut Vec<(usize, TurnedDown)>,
    ) {
        let incident = self.incident(number);
        let (first, latest) = (incident.first, incident.latest);
        // How far it would have to move to lie within the window and the gap at once.
        let gap = pattern.gap.unwrap_or(pattern.window);
        let early = [first - pattern.window, first - gap].map(|from| from.since(start));
        let late = if pattern.gap.is_some() { latest + gap } else { first + pattern.window };
        let late = [first + pattern.window, late].map(|to| start.since(to));
        let far =
            |by: [Span; 2], side| (by[0].max(by[1]) > Span::ZERO).then(|| (by[0].max(by[1]), side));
        let missed = far(early, Side::Early).or_else(|| far(late, Side::Late));
        let over = incident.over.is_some() && (pattern.gap.is_none() || incident.by_hand());
        let full = self.members(number).count() >= pattern.max_alerts as usize;
        let besides = [(over, Refusal::Resolved), (full, Refusal::Full)];
        let besides = besides.into_iter().filter(|(so, other)| *so && *other != reason);
        let besides = besides.map(|(_, other)| other).collect();
        let under = vec![Under { pattern: pattern.name.clone(), reason, missed, besides }];
        let (incident, apart) = (incident.id.expect("it was told"), start.apart(first));
        refused.push((number, TurnedDown { incident, apart, under }));
    }

    /// Rules 5 and 6 for an incident that a new alert could join: what was over or calm by the
    /// alert's start is so at that moment, in the order in which it came to be.
    pub(super) fn bring_up_to(&mut self, incident: usize, start: Timestamp) {
        loop {
            let firing = self.members(incident).filter(|alert| alert.over.is_none());
            let first = firing.map(|alert| (alert.alive_until, alert.id, alert.number)).min();
            match first {
                Some((alive_until, _, number)) if alive_until < start => self.expire(number),
                _ => break,
            }
        }
        loop {
            let flapping = self
                .members(incident)
                .filter_map(|alert| Some((alert.flapping()?.calm_at, alert.id, alert.number)));
            match flapping.min() {
                Some((calm_at, _, number)) if calm_at <= start => self.calm(number),
                _ => break,
            }
        }
    }

    /// Rules 8, 9 and 11: why an incident does not take an alert that starts then.
    pub(super) fn refusal(
        &self,
        incident: usize,
        pattern: &Pattern,
        start: Timestamp,
    ) -> Option<Refusal> {
        let room = self.members(incident).count() < pattern.max_alerts as usize;
        let incident = self.incident(incident);
        if start.apart(incident.first) > pattern.window {
            return Some(Refusal::OutsideWindow);
        }
        if let Some(gap) = pattern.gap
            && (start < incident.first - gap || start > incident.latest + gap)
        {
            return Some(Refusal::OutsideGap);
        }
        // What somebody resolved by hand has not resolved by itself.
        if incident.over.is_some() && (pattern.gap.is_none() || incident.by_hand()) {
            return Some(Refusal::Resolved);
        }
        (!room).then_some(Refusal::Full)
    }

    /// Rule 9: it keeps only the pairs, and tags, that this alert shares.
    pub(super) fn join(&mut self, number: usize, mut alert: Alert) {
        let incident = self.incident_mut(number);
        incident.pairs.retain(|pair| alert.pairs.contains(pair));
        incident.tags.keep_shared(&alert.content.tags);
        incident.latest = incident.latest.max(alert.started_at);
        incident.over = None;
        alert.incident = number;
        self.add(alert);
    }

    /// Rule 10; rule 11 where one that was full is continued.
    pub(super) fn open(&mut self, mut alert: Alert, continues: Option<usize>, hold: Option<Hold>) {
        let (number, start) = (self.incidents_born, alert.started_at);
        self.incidents_born += 1;
        if let Some(full) = continues {
            self.note(full, start).continued = true;
            self.incident_mut(full).continued_by = Some(number);
        }
        self.incidents.push(Incident {
            number,
            id: self.fresh.pop_front(),
            shard: alert.shard.clone(),
            revision: 0,
            first: start,
            latest: start,
            opened_at: self.now,
            changed_at: start,
            over: None,
            severity: if alert.maintenance.is_some() { Status::Ok } else { alert.status() },
            pairs: alert.own.clone(),
            tags: alert.content.tags.clone(),
            continues,
            continued_by: None,
            acknowledged: None,
            assignee: None,
            snoozed: None,
            updated_at: None,
            remind_at: None,
            waiting: Vec::new(),
            hold,
            reshaped_at: None,
        });
        alert.incident = number;
        self.add(alert);
    }

    pub(super) fn add(&mut self, alert: Alert) {
        let (number, start) = (alert.number, alert.started_at);
        self.alerts_born += 1;
        self.alerts.push(alert);
        self.note_alert(number, start).joined.push(number);
    }
}

/// What was turned down, but for the one that was joined, the nearest first; each once, with every
/// pattern under which it was looked at.
pub(super) fn nearest(refused: Vec<(usize, TurnedDown)>, joined: Option<usize>) -> Vec<TurnedDown> {
    let mut turned_down: Vec<TurnedDown> = Vec::new();
    for (number, one) in refused {
        let known = turned_down.iter_mut().find(|known| known.incident == one.incident);
        match known {
            _ if joined == Some(number) => {}
            Some(known) => known.under.extend(one.under),
            None => turned_down.push(one),
        }
    }
    turned_down.sort_by_key(|one| (one.apart, one.incident));
    turned_down
}

/// The first tag of a pattern that an event does not have.
pub(super) fn lack(pattern: &Pattern, event: &Event) -> Option<(Box<str>, Box<str>)> {
    let node = pattern.near.iter().map(|near| &near.tag);
    let tag =
        pattern.by.iter().chain(node).find(|tag| event.values(tag).iter().all(str::is_empty))?;
    Some((pattern.name.clone(), tag.clone()))
}

/// Rule 7: the pairs an alert has under a pattern, by value; at most 32. Chronic alerts have their
/// own, unless the pattern says that they join. Where the pattern is about what is near, each is at
/// one of the alert's nodes.
pub(super) fn pairs(pattern: &Pattern, event: &Event, chronic: bool) -> Vec<Pair> {
    if !pattern.matchers.matches(event) {
        return Vec::new();
    }
    let nothing = Pair {
        pattern: pattern.name.clone(),
        by: Vec::new(),
        source: (!pattern.cross_source).then(|| event.source.clone()),
        chronic: chronic && pattern.chronic == Chronic::Separate,
        near: None,
    };
    let mut rows = vec![nothing];
    for tag in &pattern.by {
        let with = |row: &Pair, value: Box<str>| {
            let mut row = row.clone();
            row.by.push((tag.clone(), value));
            row
        };
        let values = values(event, tag);
        rows =
            rows.iter().flat_map(|row| values.iter().map(|one| with(row, one.clone()))).collect();
    }
    if let Some(near) = &pattern.near {
        let at = |value: &str| Some((near.tag.clone(), value.into()));
        let values = values(event, &near.tag);
        let with = |row: &Pair, value| Pair { near: at(value), ..row.clone() };
        rows = rows.iter().flat_map(|row| values.iter().map(|value| with(row, value))).collect();
    }
    rows.truncate(32);
    rows
}

fn values(event: &Event, tag: &str) -> BTreeSet<Box<str>> {
    match event.values(tag) {
        Values::None => BTreeSet::new(),
        Values::One(value) => [value.into()].into(),
        Values::Many(values) => values.iter().filter(|value| !value.is_empty()).cloned().collect(),
    }
}

// What is near what.

impl Model {
    /// The pairs that an alert shares with incidents: its own, and where the pattern is about what is
    /// near, those at any node within the hops of one of its own; the nearest first.
    pub(super) fn shared(&self, pattern: &Pattern, event: &Event, chronic: bool) -> Vec<Pair> {
        let own = pairs(pattern, event, chronic);
        let Some(near) = &pattern.near else {
            return own;
        };
        let mut shared = Vec::new();
        for (tag, value) in self.reached(near, event).into_iter().map(|(node, _)| node) {
            let at = (tag == near.tag).then_some((tag, value));
            for pair in own.iter().filter(|_| at.is_some()) {
                let pair = Pair { near: at.clone(), ..pair.clone() };
                if !shared.contains(&pair) {
                    shared.push(pair);
                }
            }
        }
        shared
    }

    /// How many edges lie between an alert and the node of a pair that it shares.
    fn hops(&self, event: &Event, pair: &Pair) -> Option<u32> {
        let centre = pair.near.as_ref()?;
        let mut patterns = self.settings.patterns.iter();
        let near = patterns.find(|pattern| pattern.name == pair.pattern)?.near.as_ref()?;
        let reached = self.reached(near, event);
        reached.into_iter().find(|(node, _)| node == centre).map(|(_, hops)| hops)
    }

    /// Every node within the hops of an alert's own, with the number of edges to it; a value that is
    /// in no edge is near itself alone. Edges are followed both ways, those of the named kinds, if any
    /// are.
    fn reached(&self, near: &Near, event: &Event) -> Vec<(Node, u32)> {
        let own = values(event, &near.tag).into_iter().map(|value| (near.tag.clone(), value));
        let mut reached: Vec<(Node, u32)> = own.map(|node| (node, 0)).collect();
        for hops in 1..=near.hops {
            let last: Vec<Node> = reached
                .iter()
                .filter(|(_, at)| *at + 1 == hops)
                .map(|(node, _)| node.clone())
                .collect();
            for node in last {
                for next in self.neighbours(near, &node) {
                    if reached.iter().all(|(known, _)| *known != next) {
                        reached.push((next, hops));
                    }
                }
            }
        }
        reached
    }

    fn neighbours(&self, near: &Near, node: &Node) -> BTreeSet<Node> {
        let followed = |edge: &&Edge| near.kinds.is_empty() || near.kinds.contains(&edge.kind);
        let edges = self.edges.iter().filter(followed);
        let other = |edge: &Edge| match (edge.from == *node, edge.to == *node) {
            (true, _) => Some(edge.to.clone()),
            (_, true) => Some(edge.from.clone()),
            _ => None,
        };
        edges.filter_map(other).collect()
    }
}
