//! What there is to watch: site > rack and its switch > host > VM > service, and who depends on whom.
//!
//! Made from a seed and a size; nothing in it changes afterwards. A cluster is a product: a few
//! services of one team in one environment, each on several VMs spread over the racks of its site.
//! Services call those below them, mostly of their own cluster; databases are shared.

use super::random::Random;

/// Pairs an estate may have, least and most.
pub const PAIRS: (u32, u32) = (200, 50_000);

/// VMs on a host.
const VMS: u32 = 2;
/// Pairs of a host and its VMs.
pub(super) const HOST_PAIRS: u32 = 5 + VMS * 7;
/// VMs that run one service.
const INSTANCES: usize = 5;
/// Services of a cluster.
const SERVICES: usize = 5;
/// Racks that one poller looks after.
const POLLER_RACKS: u32 = 2;

const SITES: [&str; 6] = ["par1", "fra2", "lon1", "ams3", "mad1", "waw2"];
const TEAMS: [&str; 6] = ["payments", "search", "platform", "identity", "logistics", "data"];
const PRODUCTS: [&str; 12] = [
    "shop", "cart", "ledger", "login", "catalog", "stock", "mail", "maps", "media", "fraud",
    "price", "report",
];
const ROLES: [&str; SERVICES] = ["db", "store", "api", "worker", "web"];

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    Ping,
    Cpu,
    Memory,
    Disk,
    Dns,
    Latency,
    Errors,
    Certificate,
}

impl Check {
    /// What the two monitors call it.
    pub(super) fn names(self) -> [&'static str; 2] {
        match self {
            Self::Ping => ["ping", "ICMP ping"],
            Self::Cpu => ["cpu", "CPU utilization"],
            Self::Memory => ["memory", "Available memory"],
            Self::Disk => ["disk /", "Free disk space on /"],
            Self::Dns => ["dns", "DNS lookup"],
            Self::Latency => ["http latency", "HTTP response time"],
            Self::Errors => ["http errors", "HTTP error rate"],
            Self::Certificate => ["certificate", "TLS certificate"],
        }
    }
}

const OF_HOST: [Check; 5] = [Check::Ping, Check::Cpu, Check::Memory, Check::Disk, Check::Dns];
const OF_VM: [Check; 7] = [
    Check::Ping,
    Check::Cpu,
    Check::Disk,
    Check::Dns,
    Check::Latency,
    Check::Errors,
    Check::Certificate,
];

/// How the second monitor writes a host's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    Short,
    Full,
    Upper,
}

/// A machine: a host, or a VM on one.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) rack: usize,
    pub(super) cluster: usize,
    /// What runs on it; none on a bare host.
    pub(super) service: Option<usize>,
    /// The host of a VM.
    pub(super) on: Option<usize>,
    /// Its pairs: from, up to.
    pub(super) pairs: (usize, usize),
}

/// A rack, and the switch all its hosts hang on.
#[derive(Debug)]
pub(super) struct Rack {
    pub(super) name: String,
    pub(super) site: usize,
    pub(super) poller: usize,
}

/// A product.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) env: &'static str,
    pub(super) team: &'static str,
    pub(super) spelling: Spelling,
}

/// A service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) cluster: usize,
    /// Whether it is a database.
    pub(super) is_database: bool,
    /// The VMs it runs on.
    pub(super) nodes: Vec<usize>,
    /// Whom it calls.
    pub(super) needs: Vec<usize>,
    /// Who calls it.
    pub(super) callers: Vec<usize>,
}

/// A host|check pair.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) node: usize,
    pub(super) check: Check,
    /// How often it is checked, in milliseconds: 1 to 5 min.
    pub(super) every: i64,
    /// Whether every result is published, or only problems and their ends.
    pub(super) chatty: bool,
    /// Whether the second monitor watches it as well.
    pub(super) twice: bool,
}

/// Everything there is.
#[derive(Debug)]
pub(super) struct Estate {
    pub(super) sites: Vec<&'static str>,
    pub(super) racks: Vec<Rack>,
    pub(super) clusters: Vec<Cluster>,
    pub(super) services: Vec<Service>,
    pub(super) nodes: Vec<Node>,
    pub(super) pairs: Vec<Pair>,
    pub(super) pollers: usize,
}

/// Shares that shape an estate, each from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    /// Of pairs that publish every result.
    pub(super) chatty: f64,
    /// Of machines that two monitors watch.
    pub(super) twice: f64,
}

impl Estate {
    /// An estate of so many pairs, held to [`PAIRS`].
    pub(super) fn new(pairs: u32, shares: Shares, random: &mut Random) -> Self {
        let pairs = pairs.clamp(PAIRS.0, PAIRS.1);
        let hosts = pairs.div_ceil(HOST_PAIRS);
        let per_rack = (hosts / 4).clamp(2, 16);
        let racks = hosts.div_ceil(per_rack);
        let sites = (racks / 8 + 1).min(6);
        let mut estate = Self {
            sites: SITES.into_iter().take(index(sites)).collect(),
            racks: Vec::new(),
            clusters: Vec::new(),
            services: Vec::new(),
            nodes: Vec::new(),
            pairs: Vec::new(),
            pollers: 0,
        };
        estate.add_racks(racks, sites);
        estate.add_products(index(hosts * VMS), random);
        estate.add_machines(index(hosts), index(per_rack), shares, random);
        estate.pairs.truncate(index(pairs));
        let (nodes, most) = (&mut estate.nodes, estate.pairs.len());
        for node in nodes.iter_mut() {
            node.pairs = (node.pairs.0.min(most), node.pairs.1.min(most));
        }
        estate
    }

    fn add_racks(&mut self, racks: u32, sites: u32) {
        let per_site = racks.div_ceil(sites);
        let pollers = per_site.div_ceil(POLLER_RACKS);
        for rack in 0..racks {
            let (site, place) = (rack / per_site, rack % per_site);
            self.racks.push(Rack {
                name: format!("{}-r{:02}", SITES[index(site)], place + 1),
                site: index(site),
                poller: index(site * pollers + place / POLLER_RACKS),
            });
        }
        self.pollers = self.racks.iter().map(|rack| rack.poller + 1).max().unwrap_or(0);
    }

    /// Clusters with their services, as many as the VMs can hold; for each site one of bare hosts.
    fn add_products(&mut self, vms: usize, random: &mut Random) {
        for site in &self.sites {
            let (env, team, spelling) = ("prod", "platform", Spelling::Full);
            self.clusters.push(Cluster { name: format!("virt-{site}"), env, team, spelling });
        }
        let products = vms.div_ceil(INSTANCES * SERVICES).max(1);
        for product in 0..products {
            let round = product / PRODUCTS.len();
            let base = PRODUCTS[product % PRODUCTS.len()];
            let name = if round == 0 { base.to_owned() } else { format!("{base}{}", round + 1) };
            let cluster = self.clusters.len();
            let env = if product % 5 == 4 { "staging" } else { "prod" };
            let spelling = [Spelling::Full, Spelling::Upper, Spelling::Short][product % 3];
            for (tier, role) in ROLES.into_iter().enumerate() {
                let here = self.services.len();
                // Each calls one or two below it; now and then one of another product, as a rule
                // its database.
                let mut needs = Vec::new();
                if tier > 0 {
                    needs.push(here - tier + random.index(tier));
                    if random.chance(0.5) {
                        needs.push(here - 1);
                    }
                    if product > 0 && random.chance(0.2) {
                        needs.push(random.index(product) * SERVICES);
                    }
                }
                needs.sort_unstable();
                needs.dedup();
                for need in &needs {
                    self.services[*need].callers.push(here);
                }
                self.services.push(Service {
                    name: format!("{name}-{role}"),
                    cluster,
                    is_database: tier == 0,
                    nodes: Vec::new(),
                    needs,
                    callers: Vec::new(),
                });
            }
            self.clusters.push(Cluster { name, env, team: TEAMS[product % TEAMS.len()], spelling });
        }
    }

    fn add_machines(&mut self, hosts: usize, per_rack: usize, shares: Shares, random: &mut Random) {
        // One after the other over all racks, so that a service is on several of them.
        let racks = self.racks.len();
        let mut vms = 0;
        for host in 0..hosts {
            let rack = host % racks;
            let site = self.racks[rack].site;
            let name = format!("kvm-{}-{:02}", self.racks[rack].name, host / racks + 1);
            debug_assert!(host / racks <= per_rack, "racks are filled evenly");
            let on = self.nodes.len();
            self.add_machine(name, rack, site, None, None, shares, random);
            for _ in 0..VMS {
                let service = (vms / INSTANCES) % self.services.len();
                let number = self.services[service].nodes.len() + 1;
                let name = format!("{}-{number:02}", self.services[service].name);
                let cluster = self.services[service].cluster;
                self.services[service].nodes.push(self.nodes.len());
                self.add_machine(name, rack, cluster, Some(service), Some(on), shares, random);
                vms += 1;
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what a machine is, once")]
    fn add_machine(
        &mut self,
        name: String,
        rack: usize,
        cluster: usize,
        service: Option<usize>,
        on: Option<usize>,
        shares: Shares,
        random: &mut Random,
    ) {
        let (node, from) = (self.nodes.len(), self.pairs.len());
        let twice = random.chance(shares.twice);
        let checks = if on.is_some() { &OF_VM[..] } else { &OF_HOST[..] };
        for check in checks.iter().copied() {
            let every = random.between(1, 6) * 60_000;
            let chatty = random.chance(shares.chatty);
            self.pairs.push(Pair { node, check, every, chatty, twice });
        }
        let pairs = (from, self.pairs.len());
        self.nodes.push(Node { name, rack, cluster, service, on, pairs });
    }

    /// How many machines have a pair; those at the end may have been cut off with theirs.
    pub(super) fn watched(&self) -> usize {
        self.nodes.iter().filter(|node| node.pairs.0 < node.pairs.1).count()
    }

    /// A machine's name as a monitor writes it; 0 is the first.
    pub(super) fn name(&self, node: usize, monitor: usize) -> String {
        let node = &self.nodes[node];
        match (monitor, self.clusters[node.cluster].spelling) {
            (0, _) | (_, Spelling::Short) => node.name.clone(),
            (_, Spelling::Upper) => node.name.to_ascii_uppercase(),
            (_, Spelling::Full) => {
                format!("{}.{}.example.net", node.name, self.sites[self.racks[node.rack].site])
            }
        }
    }

    /// The pairs of a machine.
    pub(super) fn pairs_of(&self, node: usize) -> impl Iterator<Item = (usize, Check)> + '_ {
        let (from, to) = self.nodes[node].pairs;
        (from..to).map(|pair| (pair, self.pairs[pair].check))
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
