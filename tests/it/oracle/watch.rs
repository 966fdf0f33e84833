//! Drives correlate and the model side by side, and holds one against the other after every record;
//! and correlate alone against what must always hold.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use muster::correlate::Correlate;
use muster::model::command::{Action, Outcome};
use muster::model::event::Report;
use muster::model::update::Seen;
use muster::model::{
    self, AlertId, Change, ChangeKind, Command, CommandResult, CorrelateSettings, Event, Hold,
    IncidentId, MaintenanceId, Member, Pair, Schedule, Span, Status, Timestamp, Update,
};
use muster::stage::{Kind, Offset, Output, Record as LogRecord, Slot, Stage};
use muster::wire;
use muster::wire::row::{self, CorrelateRow};

use super::draw::{Drawn, Named, Said};
use super::model::{Alert, Answered, Body, Incident, Model, Record, Told, Under};

/// How many incidents that were turned down are named.
const NAMED_MAX: usize = 5;

type Checked = Result<(), String>;

/// Fails with both values where they differ.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, told: &T, wanted: &T) -> Checked {
    if told == wanted {
        return Ok(());
    }
    Err(format!("{what}: correlate has {told:?}, the model {wanted:?}"))
}

/// Correlate, what its rows say, and the model.
pub(super) struct Watched {
    correlate: Correlate,
    model: Model,
    read: i64,
    alerts: BTreeMap<AlertId, model::Alert>,
    incidents: BTreeMap<IncidentId, model::Incident>,
    oks: BTreeMap<Vec<u8>, row::RememberedOk>,
    /// The changelog, compacted.
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    replayed: BTreeMap<IncidentId, Replayed>,
    /// What commands may name.
    named: Named,
    /// What happened at least once, by the words for it.
    met: BTreeSet<&'static str>,
}

/// An incident as its changes alone tell it.
struct Replayed {
    last: Change,
    members: BTreeMap<AlertId, Member>,
}

impl Watched {
    pub(super) fn new() -> Self {
        Self {
            correlate: Correlate::new(&CorrelateSettings::default()),
            model: Model::new(greater),
            read: 0,
            alerts: BTreeMap::new(),
            incidents: BTreeMap::new(),
            oks: BTreeMap::new(),
            rows: BTreeMap::new(),
            replayed: BTreeMap::new(),
            named: Named::default(),
            met: BTreeSet::new(),
        }
    }

    /// What happened at least once: kinds of changes, commands that were done, reasons for which they
    /// were not.
    pub(super) fn met(self) -> BTreeSet<&'static str> {
        self.met
    }

    /// Lets both read a record and compares.
    pub(super) fn apply(&mut self, drawn: &Drawn) -> Checked {
        let body = match &drawn.what {
            Said::Body(body) => body.clone(),
            Said::Wished(wished) => {
                Body::Command(Box::new(wished.command(&self.named, drawn.time)))
            }
        };
        let record = &Record { time: drawn.time, body };
        let (changes, result) = self.read(record)?;
        let opens = |change: &&Change| change.kinds.first() == Some(&ChangeKind::Opened);
        let opened: Vec<IncidentId> =
            changes.iter().filter(opens).map(|change| change.id).collect();
        let (told, answered) = self.model.apply(record, opened.iter().copied().collect());
        self.compare_changes(&changes, &told)?;
        let result = result.as_ref().map(answer);
        same("the answer", &result, &answered)?;
        self.meet(record, &changes, answered.as_ref());
        self.named.incidents.extend(opened);
        if let Body::Command(command) = &record.body {
            self.name(command, answered.as_ref());
        }
        self.compare_alerts()?;
        self.compare_incidents()?;
        self.compare_oks()?;
        self.compare_plans()?;
        self.replay(changes)?;
        self.holds()
    }

    /// Throws correlate away and restores it from its rows.
    pub(super) fn restart(&mut self) -> Checked {
        self.correlate = Correlate::new(&CorrelateSettings::default());
        for (key, value) in &self.rows {
            self.correlate.restore(key, value).map_err(fail)?;
        }
        self.correlate.restored().map_err(fail)
    }

    /// Notes what happened, so that it is known not to be left out.
    fn meet(&mut self, record: &Record, changes: &[Change], answered: Option<&Answered>) {
        for change in changes {
            self.met.extend(change.kinds.iter().map(|kind| kind.as_str()));
            let known = self.replayed.get(&change.id).map(|known| &known.last);
            let by_hand = known
                .is_some_and(|last| matches!(last.resolved, Some((_, model::Resolution::ByHand))));
            let is = |kind| change.kinds.contains(&kind);
            let woken = is(ChangeKind::Unsnoozed) && change.actor.is_none();
            let event = matches!(record.body, Body::Update(_));
            self.meet_if(woken && is(ChangeKind::Grew), "woken by a new alert");
            self.meet_if(woken && is(ChangeKind::Worsened), "woken by a worse status");
            self.meet_if(woken && is(ChangeKind::Reopened), "woken by a reopening");
            let time = woken && change.kinds.len() == 1;
            self.meet_if(time, "woken by its time");
            let time = is(ChangeKind::Unacknowledged) && change.actor.is_none();
            self.meet_if(time, "acknowledged for long enough");
            let back = by_hand && event && is(ChangeKind::Reopened);
            self.meet_if(back, "not over though somebody said so");
            self.meet_if(by_hand && !is(ChangeKind::Reopened), "heard of though over by hand");
        }
        match answered.map(|answered| (answered.outcome, &*answered.action)) {
            Some((Outcome::Refused(reason), _)) => self.meet_if(true, reason.as_str()),
            Some((Outcome::Done, action)) => {
                let word = Action::WORDS.iter().find(|word| **word == action);
                self.meet_if(true, word.expect("a word for each"));
            }
            None => {}
        }
        let mut words: Vec<(bool, &'static str)> = Vec::new();
        for alert in &self.model.alerts {
            words.extend(alert.over.map(|(_, reason)| (true, reason.as_str())));
            let later = self
                .model
                .alerts
                .iter()
                .any(|other| other.identity == alert.identity && other.number > alert.number);
            let by_hand = matches!(alert.over, Some((_, model::Resolution::ByHand)));
            let mark = alert.maintenance.as_ref();
            let ended = mark.and_then(|mark| mark.ended_at);
            let plan = mark
                .and_then(|mark| self.model.plans.iter().find(|known| known.plan.id == mark.plan));
            let again =
                plan.is_some_and(|known| matches!(known.plan.schedule, Schedule::Recurring(_)));
            let late = alert.appended_at == record.time
                && ended.is_some_and(|at| alert.newest < at && at < record.time);
            let hops = alert.why.hops;
            words.extend([
                (by_hand && later, "anew after it was over by hand"),
                (again, "part of a window that comes again"),
                (late, "late for its window"),
                (alert.chronic, "a chronic alert"),
                (alert.chronic && alert.why.pair.is_some(), "a chronic alert joined"),
                (hops == Some(0), "joined at its node"),
                (hops == Some(1), "joined one hop away"),
                (hops.is_some_and(|hops| hops > 1), "joined some hops away"),
            ]);
        }
        words.into_iter().for_each(|(happened, word)| self.meet_if(happened, word));
    }

    fn meet_if(&mut self, happened: bool, word: &'static str) {
        if happened {
            self.met.insert(word);
        }
    }

    /// What later commands may name because of one.
    fn name(&mut self, command: &Command, answered: Option<&Answered>) {
        let repeated = self.named.requests.contains(&command.request);
        self.named.requests.push(command.request.clone());
        self.meet_if(repeated, "a request id once more");
        if answered.is_none_or(|answered| answered.outcome != Outcome::Done) || repeated {
            return;
        }
        match &command.action {
            Action::Resolve(_) => self.named.undoable.push(command.request.clone()),
            Action::Acknowledge { incident, .. } => self.named.acknowledged.push(*incident),
            Action::Snooze { incident, .. } => self.named.snoozed.push(*incident),
            Action::MaintenancePut { .. } => {
                let id = MaintenanceId::of(&format!("request {}", command.request));
                let new = self.model.plans.iter().any(|known| known.plan.id == id);
                self.meet_if(!new, "a plan was changed");
                if new {
                    self.named.plans.push(id);
                }
            }
            _ => {}
        }
    }

    fn read(&mut self, record: &Record) -> Result<(Vec<Change>, Option<CommandResult>), String> {
        let (kind, value) = match &record.body {
            Body::Update(update) => (Kind::Update, wire::update::encode(update)),
            Body::Touch(touch) => (Kind::Touch, wire::update::encode_touch(touch)),
            Body::Tick => (Kind::Tick, Vec::new()),
            Body::Settings(book) => (Kind::Settings, wire::settings::encode(&book.settings)),
            Body::Topology(part) => (Kind::Topology, part.clone()),
            Body::Command(command) => (Kind::Command, wire::command::encode(command)),
        };
        let offset = Offset(self.read);
        self.read += 1;
        let record = LogRecord {
            offset,
            time: record.time,
            kind,
            key: None,
            value: Some(&value),
            headers: None,
        };
        let mut out = Output::default();
        self.correlate.apply(Slot::default(), &record, &mut out);
        self.correlate.seal(&mut out);
        for changed in &out.rows {
            self.row(&changed.key, changed.value.as_deref())?;
        }
        let (mut changes, mut result) = (Vec::new(), None);
        for record in &out.records {
            match record.kind {
                Kind::Change => changes.push(wire::change::decode(&record.value).map_err(fail)?),
                Kind::CommandResult => {
                    result = Some(wire::command::decode_result(&record.value).map_err(fail)?);
                }
                _ => {
                    return Err(format!("set aside: {}", String::from_utf8_lossy(&record.value)));
                }
            }
        }
        Ok((changes, result))
    }

    fn row(&mut self, key: &[u8], value: Option<&[u8]>) -> Checked {
        match value {
            Some(value) => drop(self.rows.insert(key.to_vec(), value.to_vec())),
            None => drop(self.rows.remove(key)),
        }
        let text = String::from_utf8_lossy(key).into_owned();
        let Some(value) = value else {
            match text.split_once('/') {
                Some(("a", id)) => drop(self.alerts.remove(&AlertId::parse(id).map_err(fail)?)),
                Some(("i", id)) => {
                    drop(self.incidents.remove(&IncidentId::parse(id).map_err(fail)?));
                }
                _ => drop(self.oks.remove(key)),
            }
            return Ok(());
        };
        match row::decode(key, value).map_err(fail)? {
            CorrelateRow::Alert(alert) => drop(self.alerts.insert(alert.id, *alert)),
            CorrelateRow::Incident(incident) => {
                drop(self.incidents.insert(incident.id, *incident));
            }
            CorrelateRow::Ok(ok) => drop(self.oks.insert(key.to_vec(), ok)),
            _ => {}
        }
        Ok(())
    }

    // Against the model.

    fn compare_changes(&mut self, changes: &[Change], told: &[Told]) -> Checked {
        let kinds: Vec<_> = changes.iter().map(|change| &change.kinds).collect();
        let wanted: Vec<_> = told.iter().map(|told| &told.kinds).collect();
        same("changes", &kinds, &wanted)?;
        for (change, told) in changes.iter().zip(told) {
            same("joined", &change.joined.len(), &told.joined.len())?;
            if self.model.incident(told.incident).id.is_none() {
                self.model.name_incident(told.incident, change.id);
            }
            for (id, number) in change.joined.iter().zip(&told.joined) {
                self.model.name_alert(*number, *id);
            }
        }
        for (change, told) in changes.iter().zip(told) {
            let incident = self.model.incident(told.incident);
            same("the incident told", &Some(change.id), &incident.id)?;
            same("revision", &change.revision, &incident.revision)?;
            let shown: BTreeSet<_> = change.alerts.iter().map(|member| Some(member.id)).collect();
            let concerned: BTreeSet<_> =
                told.concerned.iter().map(|number| self.model.alert(*number).id).collect();
            same("alerts told", &shown, &concerned)?;
            same("actor", &change.actor, &told.actor)?;
            same("comment", &change.comment, &told.comment)?;
        }
        Ok(())
    }

    fn compare_alerts(&self) -> Checked {
        same("how many alerts", &self.alerts.len(), &self.model.alerts.len())?;
        for wanted in &self.model.alerts {
            let id = wanted.id.ok_or("an alert was never told")?;
            let alert = self.alerts.get(&id).ok_or_else(|| format!("{id} is not kept"))?;
            let incident = self.model.incident(wanted.incident).id;
            self.compare_alert(alert, wanted, incident).map_err(|why| format!("{id}: {why}"))?;
        }
        Ok(())
    }

    fn compare_alert(
        &self,
        alert: &model::Alert,
        wanted: &Alert,
        incident: Option<IncidentId>,
    ) -> Checked {
        same("identity", &alert.identity, &wanted.identity)?;
        same("status", &(alert.status, alert.said()), &(wanted.status(), wanted.said))?;
        same("end", &alert.resolved, &wanted.over)?;
        same("its incident", &Some(alert.incident), &incident)?;
        same("shard", &alert.shard, &wanted.shard)?;
        same("started_at", &alert.started_at, &wanted.started_at)?;
        same("changed_at", &alert.changed_at, &wanted.changed_at)?;
        same("newest", &alert.newest, &wanted.newest)?;
        same("alive_until", &alert.alive_until, &wanted.alive_until)?;
        same("restated_at", &alert.restated_at, &wanted.restated_at)?;
        same("appended_at", &alert.appended_at, &wanted.appended_at)?;
        same("events", &alert.events, &wanted.events)?;
        same("acknowledged", &alert.acknowledged, &wanted.acknowledged)?;
        same("maintenance", &alert.maintenance, &wanted.maintenance)?;
        same("chronic", &alert.chronic, &wanted.chronic)?;
        same("status changes", &alert.status_changes, &wanted.changes)?;
        let flaps = alert.flapping.map(|flaps| (flaps.since, flaps.calm_at, flaps.calm_due));
        let wanted_flaps = wanted.flaps.map(|flaps| (flaps.since, flaps.calm_at, flaps.calm_due));
        same("flapping", &flaps, &wanted_flaps)?;
        let content = (&alert.host, &alert.check, &alert.tags, &alert.description, &alert.links);
        let event = &wanted.content;
        let wanted_content =
            (&event.host, &event.check, &event.tags, &event.description, &event.links);
        same("content", &content, &wanted_content)?;
        let moves: Vec<IncidentId> = alert.why.moves.iter().map(|moved| moved.from).collect();
        same("moves", &moves, &wanted.moved_from)?;
        same("why", &(&alert.why.pair, alert.why.apart), &(&wanted.why.pair, wanted.why.apart))?;
        let path: Vec<_> =
            alert.why.path.iter().map(|hop| (hop.tag.clone(), hop.value.clone())).collect();
        same(
            "nodes of the path",
            &path.len(),
            &wanted.why.hops.map_or(0, |hops| hops as usize + 1),
        )?;
        let centre = alert.why.pair.as_ref().and_then(|pair| pair.near.as_ref());
        same("where the path ends", &path.last(), &centre)?;
        let lacks = alert.why.lacks.iter().map(|lack| (lack.pattern.clone(), lack.tag.clone()));
        same("lacks", &lacks.collect(), &wanted.why.lacks)?;
        let named = &alert.why.turned_down;
        let all = &wanted.why.turned_down;
        let nearest: Vec<Span> = named.iter().map(|one| one.apart).collect();
        let wanted_nearest = all.iter().take(NAMED_MAX).map(|one| one.apart);
        same("turned down", &nearest, &wanted_nearest.collect())?;
        for one in named {
            // Of several that are as near as the fifth, any may be named.
            let wanted = all.iter().find(|wanted| wanted.incident == one.incident);
            let wanted = wanted.ok_or_else(|| format!("{} was not turned down", one.incident))?;
            same("apart", &one.apart, &wanted.apart)?;
            let under = Under {
                pattern: one.pattern.clone(),
                reason: one.reason,
                missed: one.missed,
                besides: one.besides.clone(),
            };
            // By the first pattern; of many that lie outside its window, the nearest are looked at, the
            // one that is joined in the end among them.
            if all.len() < NAMED_MAX || !wanted.under.contains(&under) {
                same("turned down for", &under, &wanted.under[0])?;
            }
        }
        // Only the nearest outside the window are looked at, so that more may be more still.
        let more = all.len().saturating_sub(NAMED_MAX);
        if alert.why.more as usize > more {
            return Err(format!("more: correlate has {}, the model {more}", alert.why.more));
        }
        Ok(())
    }

    fn compare_incidents(&self) -> Checked {
        same("how many incidents", &self.incidents.len(), &self.model.incidents.len())?;
        let shown: BTreeMap<IncidentId, Change> =
            self.correlate.incidents().into_iter().map(|change| (change.id, change)).collect();
        for wanted in &self.model.incidents {
            let id = wanted.id.ok_or("an incident was never told")?;
            let row = self.incidents.get(&id).ok_or_else(|| format!("{id} is not kept"))?;
            let shown = shown.get(&id).ok_or_else(|| format!("{id} is not shown"))?;
            let compared =
                self.compare_row(row, wanted).and_then(|()| self.compare_shown(shown, wanted));
            compared.map_err(|why| format!("{id}: {why}"))?;
        }
        Ok(())
    }

    fn compare_row(&self, row: &model::Incident, wanted: &Incident) -> Checked {
        same("shard", &row.shard, &wanted.shard)?;
        same("revision", &row.revision, &wanted.revision)?;
        same("first, latest", &(row.first, row.latest), &(wanted.first, wanted.latest))?;
        same("opened_at", &row.opened_at, &wanted.opened_at)?;
        same("changed_at", &row.changed_at, &wanted.changed_at)?;
        same("end", &row.resolved, &wanted.over)?;
        same("severity", &row.severity, &wanted.severity)?;
        same("pairs", &row.pairs, &wanted.pairs)?;
        same("tags", &row.tags, &wanted.tags)?;
        let id = |number: Option<usize>| {
            number.and_then(|number| {
                // One that is forgotten is still named.
                self.model.incidents.iter().find(|one| one.number == number).map(|one| one.id)
            })
        };
        for (what, told, number) in [
            ("continues", row.continues, wanted.continues),
            ("continued_by", row.continued_by, wanted.continued_by),
        ] {
            same(what, &told.is_some(), &number.is_some())?;
            if let Some(known) = id(number) {
                same(what, &told, &known)?;
            }
        }
        same("acknowledged", &row.acknowledged, &wanted.acknowledged)?;
        same("assignee", &row.assignee, &wanted.assignee)?;
        same("snoozed", &row.snoozed, &wanted.snoozed)?;
        same("updated_at", &row.updated_at, &wanted.updated_at)?;
        same("remind_at", &row.remind_at, &wanted.remind_at)?;
        let waiting: BTreeSet<_> = row.updates.iter().map(|id| Some(*id)).collect();
        let wanted_waiting = wanted.waiting.iter().map(|number| self.model.alert(*number).id);
        same("waiting", &waiting, &wanted_waiting.collect())
    }

    fn compare_shown(&self, shown: &Change, wanted: &Incident) -> Checked {
        let members: Vec<&Alert> = self.model.members(wanted.number).collect();
        let firing = members.iter().filter(|alert| alert.over.is_none()).count();
        same("status", &shown.status, &self.model.status(wanted.number))?;
        same("firing", &(shown.counts.firing as usize), &firing)?;
        same("total", &(shown.counts.total as usize), &members.len())?;
        let events = members.iter().map(|alert| alert.events).sum::<u64>();
        same("events", &shown.counts.events, &events)?;
        let hold = wanted.hold.as_ref().map(|hold| {
            let (asks, lapsed) = (wanted.asks(), hold.lapsed.clone());
            Box::new(Hold { asks, lapsed })
        });
        same("hold", &shown.hold, &hold)?;
        if members.is_empty() {
            // What it was called by is kept, and no rule's business.
            return Ok(());
        }
        let names = |of: fn(&Alert) -> &Box<str>| -> Vec<Box<str>> {
            let names: BTreeSet<Box<str>> = members.iter().map(|alert| of(alert).clone()).collect();
            names.into_iter().collect()
        };
        same("hosts", &shown.hosts, &names(|alert| &alert.content.host))?;
        same("checks", &shown.checks, &names(|alert| &alert.content.check))?;
        same("sources", &shown.sources, &names(|alert| &alert.content.source))?;
        let flaps = members.iter().any(|alert| alert.flapping().is_some());
        same("flapping", &shown.flapping, &flaps)?;
        same("maintenance", &shown.maintenance, &self.model.maintained(wanted.number))?;
        let marked = members.iter().filter(|alert| alert.maintenance.is_some()).count();
        same("marked", &(shown.counts.maintenance as usize), &marked)?;
        same("title", &shown.title, &self.title(wanted, &members))
    }

    /// Rule 16: what they share, then hosts and checks that vary, then how bad it is.
    fn title(&self, incident: &Incident, members: &[&Alert]) -> String {
        let leading = incident.pairs.first().filter(|_| members.len() > 1);
        let shared: Vec<(Box<str>, Box<str>)> =
            leading.map(|pair| pair.by.clone()).unwrap_or_default();
        let mut parts = Vec::new();
        for (tag, word) in [("host", "hosts"), ("check", "checks")] {
            let names: BTreeSet<&str> = members
                .iter()
                .map(
                    |alert| {
                        if tag == "host" { &*alert.content.host } else { &*alert.content.check }
                    },
                )
                .collect();
            if shared.iter().all(|(by, _)| **by != *tag) {
                match names.len() {
                    1 => parts.extend(names.first().map(|name| (*name).to_owned())),
                    many => parts.push(format!("{many} {word}")),
                }
            }
        }
        let status = self.model.status(incident.number).as_str();
        let maintained = self.model.maintained(incident.number);
        parts.push(if maintained { "maintenance" } else { status }.to_owned());
        let near = leading.and_then(|pair| pair.near.as_ref());
        let near = near.map(|(_, value)| format!("near {value}"));
        let values = shared.iter().map(|(_, value)| value.to_string());
        let values: Vec<String> = near.into_iter().chain(values).collect();
        let rest = parts.join(" · ");
        if values.is_empty() { rest } else { format!("{}: {rest}", values.join(", ")) }
    }

    fn compare_oks(&self) -> Checked {
        let told: BTreeSet<_> =
            self.oks.values().map(|ok| (ok.appended_at, &ok.identity, ok.at)).collect();
        let wanted = self.model.oks.iter().map(|ok| (ok.appended_at, &ok.identity, ok.at));
        same("remembered oks", &told, &wanted.collect())
    }

    fn compare_plans(&self) -> Checked {
        let told: BTreeMap<_, _> = self
            .correlate
            .plans()
            .map(|stored| (stored.plan.id, (stored.plan, stored.ended_at)))
            .collect();
        let wanted = self.model.plans.iter().filter(|known| !known.configured);
        let wanted =
            wanted.map(|known| (known.plan.id, (known.plan.clone(), known.ended_at))).collect();
        same("maintenance plans", &told, &wanted)
    }

    // What always holds, of correlate alone.

    /// The changes so far, put together as a reader does.
    fn replay(&mut self, changes: Vec<Change>) -> Checked {
        for change in changes {
            let known = self.replayed.remove(&change.id);
            let revision = known.as_ref().map_or(0, |known| known.last.revision);
            same("revision after the last one", &change.revision, &(revision + 1))?;
            let told = known.as_ref().is_some_and(|known| !known.last.is_held());
            same("held again", &(told && change.is_held()), &false)?;
            let mut members = known.map(|known| known.members).unwrap_or_default();
            for left in &change.left {
                same("left", &members.remove(left).is_some(), &true)?;
            }
            for member in &change.alerts {
                let known = members.insert(member.id, member.clone()).is_some();
                same("joined once", &change.joined.contains(&member.id), &!known)?;
            }
            self.replayed.insert(change.id, Replayed { last: change, members });
        }
        // Forgetting is not told.
        self.replayed.retain(|id, _| self.incidents.contains_key(id));
        Ok(())
    }

    fn holds(&self) -> Checked {
        let shown = self.correlate.incidents();
        same("incidents told", &shown.len(), &self.replayed.len())?;
        for whole in &shown {
            let row = &self.incidents[&whole.id];
            let members: Vec<&model::Alert> =
                self.alerts.values().filter(|alert| alert.incident == whole.id).collect();
            let held = self
                .shared_pairs(row)
                .and_then(|()| adds_up(row, whole, &members))
                .and_then(|()| asks_for_more(whole))
                .and_then(|()| told_as_it_is(row, whole, &self.replayed[&whole.id]));
            held.map_err(|why| format!("{}: {why}", whole.id))?;
        }
        self.one_place_each()
    }

    /// Every alert shared, at its join, every pair its incident holds.
    fn shared_pairs(&self, row: &model::Incident) -> Checked {
        for alert in self.alerts.values().filter(|alert| alert.incident == row.id) {
            let joined = self.model.alerts.iter().find(|known| known.id == Some(alert.id));
            let shared: &[Pair] = joined.map_or(&[], |known| &known.pairs);
            if let Some(pair) = row.pairs.iter().find(|pair| !shared.contains(pair)) {
                return Err(format!("holds {pair:?}, which {} did not share", alert.id));
            }
        }
        Ok(())
    }

    /// Every alert that fires is in exactly one incident, and that one is open.
    fn one_place_each(&self) -> Checked {
        let mut firing: BTreeMap<&model::Identity, AlertId> = BTreeMap::new();
        for alert in self.alerts.values() {
            let row = self.incidents.get(&alert.incident);
            let row = row.ok_or_else(|| format!("{} is in no incident", alert.id))?;
            if !alert.is_firing() {
                continue;
            }
            if row.resolved.is_some() {
                return Err(format!("{} fires, its incident is over", alert.id));
            }
            if let Some(other) = firing.insert(&alert.identity, alert.id) {
                return Err(format!("{other} and {} of one identity fire", alert.id));
            }
        }
        Ok(())
    }
}

/// Counts add up, and the status is the worst that fires.
fn adds_up(row: &model::Incident, whole: &Change, members: &[&model::Alert]) -> Checked {
    let firing: Vec<_> = members.iter().filter(|alert| alert.is_firing()).collect();
    let counts = firing.iter().filter(|alert| alert.maintenance.is_none());
    let worst = counts.map(|alert| alert.status).max().unwrap_or(Status::Ok);
    same("status", &whole.status, &worst)?;
    same("firing", &(whole.counts.firing as usize), &firing.len())?;
    same("total", &(whole.counts.total as usize), &members.len())?;
    same("over", &row.resolved.is_some(), &firing.is_empty())?;
    if row.severity < worst {
        return Err(format!("severity {} below {worst}", row.severity));
    }
    if row.reshaped_at.is_some() {
        // Its first alert may be elsewhere.
        return Ok(());
    }
    same(
        "first",
        &Some(row.first),
        &members.iter().map(|alert| alert.started_at).find(|at| *at == row.first),
    )?;
    same("latest", &Some(row.latest), &members.iter().map(|alert| alert.started_at).max())
}

/// What is held has no pair whose pattern asks for no more than it has.
fn asks_for_more(whole: &Change) -> Checked {
    let mut asks = whole.hold.iter().flat_map(|hold| &hold.asks);
    let enough = asks.find(|ask| ask.min_alerts <= whole.counts.total);
    enough.map_or(Ok(()), |ask| Err(format!("held, and has enough for {ask:?}")))
}

/// What the changes told is what is, but for what waits for its minute.
fn told_as_it_is(row: &model::Incident, whole: &Change, told: &Replayed) -> Checked {
    let last = &told.last;
    same("revision", &whole.revision, &last.revision)?;
    same("status told", &last.status, &whole.status)?;
    same("severity told", &last.severity, &whole.severity)?;
    same("end told", &last.resolved, &whole.resolved)?;
    same("pattern told", &last.pair, &whole.pair)?;
    same("firing told", &last.counts.firing, &whole.counts.firing)?;
    same("total told", &last.counts.total, &whole.counts.total)?;
    same("flapping told", &last.flapping, &whole.flapping)?;
    same("hold told", &last.hold, &whole.hold)?;
    same("tags told", &last.tags, &whole.tags)?;
    same(
        "links told",
        &(last.continues, last.continued_by),
        &(whole.continues, whole.continued_by),
    )?;
    same("acknowledged told", &last.acknowledged, &whole.acknowledged)?;
    same("assignee told", &last.assignee, &whole.assignee)?;
    same("snoozed told", &last.snoozed, &whole.snoozed)?;
    same("maintenance told", &last.maintenance, &whole.maintenance)?;
    // What waits for its minute is not told yet, and what was dismissed is marked in silence, since it may come back.
    if row.updates.is_empty() && whole.alerts.iter().all(|member| member.firing) {
        same("marked told", &last.counts.maintenance, &whole.counts.maintenance)?;
    }
    let members: BTreeSet<AlertId> = told.members.keys().copied().collect();
    let wanted: BTreeSet<AlertId> = whole.alerts.iter().map(|member| member.id).collect();
    same("members told", &members, &wanted)?;
    for member in &whole.alerts {
        let known = &told.members[&member.id];
        if row.updates.contains(&member.id) {
            continue;
        }
        // An `ok` after an expiry is no news and not told, though the alert goes by it from then on.
        let silent = !member.firing && member.status == Status::Ok;
        let parts = |member: &Member| {
            (
                if silent { Status::Ok } else { member.status },
                member.firing,
                member.flapping,
                member.tags.clone(),
                member.host.clone(),
            )
        };
        same("an alert told", &parts(known), &parts(member))?;
        same("why told", &known.why, &member.why)?;
        if member.firing {
            same("maintenance told", &known.maintenance, &member.maintenance)?;
        }
    }
    Ok(())
}

/// What a result says, but for its sentences.
fn answer(result: &CommandResult) -> Answered {
    let result = result.clone();
    Answered {
        request: result.request,
        at: result.at,
        action: result.action,
        confirm: result.confirm,
        outcome: result.outcome,
        count: result.count,
        incidents: result.incidents,
    }
}

fn fail(error: impl ToString) -> String {
    error.to_string()
}

type Contents = BTreeMap<(String, String), bool>;

thread_local! {
    static GREATER: RefCell<Contents> = const { RefCell::new(BTreeMap::new()) };
}

/// Whether the first event's content has the greater digest: rule 1 says that there is one, not
/// which, so that correlate is asked with both in a log of their own, in either order.
fn greater(one: &Event, other: &Event) -> bool {
    let content = |event: &Event| {
        format!("{:?}", (&event.host, &event.check, &event.tags, &event.description, &event.links))
    };
    let key = (content(one), content(other));
    if key.0 == key.1 {
        return false;
    }
    if let Some(known) = GREATER.with_borrow(|known| known.get(&key).copied()) {
        return known;
    }
    let stands = |first: &Event, second: &Event| {
        let mut correlate = Correlate::new(&CorrelateSettings::default());
        let mut out = Output::default();
        for (nth, event) in [first, second].into_iter().enumerate() {
            let update = Update {
                shard: "default".into(),
                expire_after: Span::from_secs(3_600),
                seen: Seen::default(),
                event: Event {
                    source: "asked".into(),
                    key: Some("asked".into()),
                    report: Report::Status(Status::Warning),
                    timestamp: Timestamp::from_millis(0),
                    expires_at: None,
                    ..event.clone()
                },
            };
            let value = wire::update::encode(&update);
            let offset = Offset(i64::try_from(nth).unwrap_or_default());
            let (time, kind) = (Timestamp::from_millis(0), Kind::Update);
            let record =
                LogRecord { offset, time, kind, key: None, value: Some(&value), headers: None };
            correlate.apply(Slot::default(), &record, &mut out);
        }
        let standing = correlate.alerts().next().expect("one alert").clone();
        let alert = &standing;
        format!("{:?}", (&alert.host, &alert.check, &alert.tags, &alert.description, &alert.links))
    };
    let (last, first) = (stands(other, one), stands(one, other));
    assert_eq!(last, first, "which of two contents stands must not depend on their order");
    let greater = last == key.0;
    GREATER.with_borrow_mut(|known| known.insert(key, greater));
    greater
}
