//! What goes wrong, where, and how it spreads: each kind of fault as effects on pairs over time.
//!
//! A fault has one root and a cascade along the topology; how far it reaches and what of it nobody
//! notices is drawn. When faults come and how long they last is the simulation's work.

use super::estate::{Check, Estate};
use super::random::Random;
use crate::model::Status;

/// What kind of thing goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A rack's switch is lost: all its hosts are gone, and callers of what ran there fail.
    Switch,
    /// A shared database is slow; its callers degrade one after the other.
    Database,
    /// A service is deployed with a mistake, VM by VM.
    Deploy,
    /// A disk fills up.
    Disk,
    /// A certificate expires on many machines in the same second.
    Certificate,
    /// A site's names are not resolved.
    Dns,
    /// A poller is dead: everything it looks after is unknown.
    Poller,
    /// Machines are restarted.
    Restart,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Switch,
        Self::Database,
        Self::Deploy,
        Self::Disk,
        Self::Certificate,
        Self::Dns,
        Self::Poller,
        Self::Restart,
    ];

    /// Its name in the truth.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Database => "database",
            Self::Deploy => "deploy",
            Self::Disk => "disk",
            Self::Certificate => "certificate",
            Self::Dns => "dns",
            Self::Poller => "poller",
            Self::Restart => "restart",
        }
    }

    /// How often it happens beside the others, and the median of its length in minutes; `wide` is how
    /// often what hits a whole rack, site or team does.
    pub(super) const fn habits(self, wide: f64) -> (f64, f64) {
        match self {
            Self::Switch => (wide, 25.0),
            Self::Database => (2.0, 35.0),
            Self::Deploy => (4.0, 20.0),
            Self::Disk => (4.0, 90.0),
            Self::Certificate => (wide, 50.0),
            Self::Dns => (wide, 15.0),
            Self::Poller => (wide, 20.0),
            Self::Restart => (4.0, 6.0),
        }
    }

    /// A kind, by how often each happens.
    pub(super) fn draw(random: &mut Random, wide: f64) -> Self {
        let all: f64 = Self::ALL.iter().map(|kind| kind.habits(wide).0).sum();
        let mut left = random.unit() * all;
        for kind in Self::ALL {
            left -= kind.habits(wide).0;
            if left < 0.0 {
                return kind;
            }
        }
        Self::Restart
    }
}

/// What breaks, and is repaired, in a fault of this kind with its root on this machine, by number;
/// none where people do it, who may do it again the next minute.
pub(super) fn part(kind: Kind, root: usize, estate: &Estate) -> Option<usize> {
    let machine = &estate.nodes[root];
    let rack = &estate.racks[machine.rack];
    match kind {
        Kind::Switch => Some(machine.rack),
        Kind::Database => Some(machine.cluster),
        Kind::Disk => Some(root),
        Kind::Certificate => {
            let team = estate.clusters[machine.cluster].team;
            estate.clusters.iter().position(|cluster| cluster.team == team)
        }
        Kind::Dns => Some(rack.site),
        Kind::Poller => Some(rack.poller),
        Kind::Deploy | Kind::Restart => None,
    }
}

/// What a fault does to one pair.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effect {
    pub(super) pair: usize,
    /// How long after the fault's begin, in milliseconds.
    pub(super) after: i64,
    pub(super) status: Status,
    pub(super) text: &'static str,
    /// Whether it is seen at once rather than at the pair's next check.
    pub(super) at_once: bool,
}

/// How many steps a failure goes from caller to caller, and how likely each is.
const DEPTH_MAX: usize = 3;
const SPREADS: f64 = 0.75;

/// What a fault of this kind with its root on this machine does; `length` in milliseconds.
pub(super) fn effects(
    kind: Kind,
    root: usize,
    length: i64,
    estate: &Estate,
    random: &mut Random,
) -> Vec<Effect> {
    let mut spread = Spread { estate, random, effects: Vec::new() };
    match kind {
        Kind::Switch => spread.switch(root),
        Kind::Database => spread.database(root),
        Kind::Deploy => spread.deploy(root),
        Kind::Disk => spread.disk(root, length),
        Kind::Certificate => spread.certificate(root),
        Kind::Dns => spread.dns(root),
        Kind::Poller => spread.poller(root),
        Kind::Restart => spread.restart(root),
    }
    spread.effects
}

struct Spread<'a> {
    estate: &'a Estate,
    random: &'a mut Random,
    effects: Vec<Effect>,
}

impl Spread<'_> {
    fn add(&mut self, pair: usize, after: i64, status: Status, text: &'static str) {
        self.effects.push(Effect { pair, after, status, text, at_once: false });
    }

    /// One check of a machine.
    fn check(&mut self, node: usize, check: Check, after: i64, status: Status, text: &'static str) {
        let pair = self.estate.pairs_of(node).find(|(_, of)| *of == check);
        if let Some((pair, _)) = pair {
            self.add(pair, after, status, text);
        }
    }

    /// A machine that does not answer: its ping says so, the rest cannot be looked at.
    fn gone(&mut self, node: usize, after: i64) {
        for (pair, check) in self.estate.pairs_of(node) {
            let (status, text) = match check {
                Check::Ping => (Status::Critical, "100 % packet loss"),
                Check::Latency | Check::Errors => (Status::Critical, "connection timed out"),
                _ => (Status::Unknown, "no route to host"),
            };
            self.add(pair, after, status, text);
        }
    }

    /// Callers of a service fail, and theirs; each with some delay, and not all.
    fn callers(&mut self, service: usize, after: i64, likely: f64) {
        let estate = self.estate;
        let mut seen = vec![service];
        let mut wave = vec![(service, after)];
        let mut likely = likely;
        for _ in 0..DEPTH_MAX {
            let mut next = Vec::new();
            for (service, after) in wave {
                for caller in &estate.services[service].callers {
                    if seen.contains(caller) || !self.random.chance(likely) {
                        continue;
                    }
                    seen.push(*caller);
                    let after = after + self.random.between(20_000, 120_000);
                    next.push((*caller, after));
                    for node in &estate.services[*caller].nodes {
                        let after = after + self.random.between(0, 45_000);
                        let text = "upstream answers slowly";
                        self.check(*node, Check::Latency, after, Status::Warning, text);
                        if self.random.chance(0.4) {
                            let text = "upstream errors";
                            self.check(*node, Check::Errors, after, Status::Critical, text);
                        }
                    }
                }
            }
            wave = next;
            likely *= SPREADS;
        }
    }

    fn switch(&mut self, root: usize) {
        let estate = self.estate;
        let rack = estate.nodes[root].rack;
        let mut services = Vec::new();
        for (node, machine) in estate.nodes.iter().enumerate() {
            if machine.rack == rack {
                let after = self.random.between(0, 5_000);
                self.gone(node, after);
                services.extend(machine.service);
            }
        }
        services.sort_unstable();
        services.dedup();
        for service in services {
            // Others of the same service are in other racks: most callers get by.
            self.callers(service, 10_000, 0.12);
        }
    }

    fn database(&mut self, root: usize) {
        let estate = self.estate;
        let databases: Vec<usize> = (0..estate.services.len())
            .filter(|service| estate.services[*service].is_database)
            .filter(|service| !estate.services[*service].nodes.is_empty())
            .collect();
        // That of the root's product, or any.
        let cluster = estate.nodes[root].cluster;
        let own = databases.iter().find(|service| estate.services[**service].cluster == cluster);
        let any = databases.get(self.random.index(databases.len()));
        let Some(service) = own.or(any).copied() else { return };
        for node in &estate.services[service].nodes {
            let after = self.random.between(0, 20_000);
            self.check(*node, Check::Latency, after, Status::Warning, "queries take 2 s");
            let worse = after + self.random.between(60_000, 240_000);
            self.check(*node, Check::Latency, worse, Status::Critical, "queries take 9 s");
            self.check(*node, Check::Cpu, after, Status::Warning, "load 38");
        }
        self.callers(service, 20_000, 0.9);
    }

    fn deploy(&mut self, root: usize) {
        let Some(service) = self.service_near(root) else { return };
        let estate = self.estate;
        for (place, node) in (0_i64..).zip(&estate.services[service].nodes) {
            let after = place * 40_000 + self.random.between(0, 20_000);
            self.check(*node, Check::Errors, after, Status::Critical, "31 % of requests fail");
            if self.random.chance(0.6) {
                self.check(*node, Check::Latency, after, Status::Warning, "p99 4 s");
            }
        }
        self.callers(service, 60_000, 0.4);
    }

    fn disk(&mut self, root: usize, length: i64) {
        self.check(root, Check::Disk, 0, Status::Warning, "12 % free");
        self.check(root, Check::Disk, length / 3, Status::Critical, "1 % free");
        let text = "cannot write: no space left on device";
        self.check(root, Check::Errors, length / 2, Status::Critical, text);
        if let Some(service) = self.estate.nodes[root].service {
            self.callers(service, length / 2 + 30_000, 0.1);
        }
    }

    /// One certificate serves a team, in one environment.
    fn certificate(&mut self, root: usize) {
        let estate = self.estate;
        let whose = |node: usize| {
            let cluster = &estate.clusters[estate.nodes[node].cluster];
            (cluster.team, cluster.env)
        };
        let root = self.vm_near(root);
        let text = "the certificate has expired";
        for node in 0..estate.nodes.len() {
            if whose(node) == whose(root) {
                let pair = estate.pairs_of(node).find(|(_, check)| *check == Check::Certificate);
                if let Some((pair, _)) = pair {
                    let status = Status::Critical;
                    self.effects.push(Effect { pair, after: 0, status, text, at_once: true });
                }
            }
        }
        if let Some(service) = estate.nodes[root].service {
            self.callers(service, 15_000, 0.3);
        }
    }

    fn dns(&mut self, root: usize) {
        let estate = self.estate;
        let site = estate.racks[estate.nodes[root].rack].site;
        for (node, machine) in estate.nodes.iter().enumerate() {
            if estate.racks[machine.rack].site != site {
                continue;
            }
            let after = self.random.between(0, 60_000);
            self.check(node, Check::Dns, after, Status::Critical, "SERVFAIL");
            if self.random.chance(0.2) {
                let text = "name resolution failed";
                self.check(node, Check::Errors, after + 30_000, Status::Warning, text);
            }
        }
    }

    fn poller(&mut self, root: usize) {
        let estate = self.estate;
        let poller = estate.racks[estate.nodes[root].rack].poller;
        for (node, machine) in estate.nodes.iter().enumerate() {
            if estate.racks[machine.rack].poller == poller {
                for (pair, _) in estate.pairs_of(node) {
                    self.add(pair, 0, Status::Unknown, "no data from the poller");
                }
            }
        }
    }

    /// A host with its VMs, or all VMs of a service one after the other.
    fn restart(&mut self, root: usize) {
        let estate = self.estate;
        if let (Some(service), true) = (estate.nodes[root].service, self.random.chance(0.5)) {
            for (place, node) in (0_i64..).zip(&estate.services[service].nodes) {
                self.gone(*node, place * 30_000);
            }
            return;
        }
        let host = estate.nodes[root].on.unwrap_or(root);
        self.gone(host, 0);
        for (node, machine) in estate.nodes.iter().enumerate() {
            if machine.on == Some(host) {
                let after = self.random.between(0, 10_000);
                self.gone(node, after);
            }
        }
    }

    /// The service on a machine, or on a VM of it.
    fn service_near(&mut self, root: usize) -> Option<usize> {
        let vm = self.vm_near(root);
        self.estate.nodes[vm].service
    }

    fn vm_near(&mut self, root: usize) -> usize {
        let nodes = &self.estate.nodes;
        if nodes[root].on.is_some() {
            return root;
        }
        nodes.iter().position(|node| node.on == Some(root)).unwrap_or(root)
    }
}
