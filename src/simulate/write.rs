//! The three files as lines of JSON: events, truth, topology.
//!
//! Events are canonical, with an `id`. A line of truth is what `muster replay --score` reads. A line
//! of topology is `{"from":{"tag":…,"value":…},"to":{…},"kind":…}`; the tags are those of events,
//! `host` among them, and the kinds `runs_on` (a VM on a host, a service on its VMs), `connected_to`
//! (a host to its rack's switch), `depends_on` (a service on one it calls) and `member_of` (a rack of
//! its site, a service of its cluster, another spelling of a host's name of that host).

use std::io::Write;

use super::estate::Estate;
use crate::model::{Status, Timestamp};

/// What the two monitors are called.
pub(super) const SOURCES: [&str; 2] = ["nagios", "zabbix"];

/// What an event says beside where it is from.
pub(super) struct Said<'a> {
    pub(super) number: u64,
    pub(super) pair: usize,
    pub(super) monitor: usize,
    pub(super) status: Status,
    pub(super) time: Timestamp,
    pub(super) text: &'a str,
}

/// Writes an event; nothing in an estate's names needs escaping.
pub(super) fn event(bytes: &mut Vec<u8>, estate: &Estate, said: &Said<'_>) {
    let Said { number, pair, monitor, status, time, text } = said;
    let pair = &estate.pairs[*pair];
    let node = &estate.nodes[pair.node];
    let (rack, cluster) = (&estate.racks[node.rack], &estate.clusters[node.cluster]);
    write!(
        bytes,
        r#"{{"id":"sim-{number}","source":"{}","host":"{}","check":"{}","status":"{}","timestamp":{},"description":"{text}","tags":{{"site":"{}","rack":"{}","cluster":"{}","env":"{}","team":"{}""#,
        SOURCES[*monitor],
        estate.name(pair.node, *monitor),
        pair.check.names()[*monitor],
        status.as_str(),
        time.as_millis(),
        estate.sites[rack.site],
        rack.name,
        cluster.name,
        cluster.env,
        cluster.team,
    )
    .expect("writing to memory cannot fail");
    if let Some(service) = node.service {
        let name = &estate.services[service].name;
        write!(bytes, r#","service":"{name}""#).expect("writing to memory cannot fail");
    }
    // Only the first monitor works through pollers.
    if *monitor == 0 {
        write!(bytes, r#","poller":"poller-{:02}""#, rack.poller + 1)
            .expect("writing to memory cannot fail");
    }
    bytes.extend_from_slice(b"}}");
}

/// Writes a line of truth.
pub(super) fn truth(
    bytes: &mut Vec<u8>,
    number: u64,
    fault: Option<(&str, u32)>,
    estate: &Estate,
    (pair, monitor, bout): (usize, usize, u32),
) {
    let pair = &estate.pairs[pair];
    let fault = match fault {
        Some((kind, number)) => format!("\"{kind}-{number}\""),
        None => "null".to_owned(),
    };
    write!(
        bytes,
        r#"{{"alert_id":"sim-{number}","truth_id":{fault},"dedup_id":"{}|{}|{}#{bout}"}}"#,
        SOURCES[monitor],
        estate.nodes[pair.node].name,
        pair.check.names()[0],
    )
    .expect("writing to memory cannot fail");
}

/// Hands over each edge as a line.
pub(super) fn topology<E>(
    estate: &Estate,
    mut line: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut edge = |from: (&str, &str), kind: &str, to: (&str, &str)| {
        let text = format!(
            r#"{{"from":{{"tag":"{}","value":"{}"}},"to":{{"tag":"{}","value":"{}"}},"kind":"{kind}"}}"#,
            from.0, from.1, to.0, to.1
        );
        line(text.as_bytes())
    };
    let watched = |node: usize| estate.nodes[node].pairs.0 < estate.nodes[node].pairs.1;
    let mut racks = vec![false; estate.racks.len()];
    let mut services = vec![false; estate.services.len()];
    for (number, node) in estate.nodes.iter().enumerate() {
        if !watched(number) {
            continue;
        }
        racks[node.rack] = true;
        let name = node.name.as_str();
        match node.on {
            Some(on) => edge(("host", name), "runs_on", ("host", &estate.nodes[on].name))?,
            None => {
                edge(("host", name), "connected_to", ("rack", &estate.racks[node.rack].name))?;
            }
        }
        if let Some(service) = node.service {
            services[service] = true;
            edge(("service", &estate.services[service].name), "runs_on", ("host", name))?;
        }
        let other = estate.name(number, 1);
        if other != name && estate.pairs[node.pairs.0].twice {
            edge(("host", &other), "member_of", ("host", name))?;
        }
    }
    for (rack, _) in estate.racks.iter().zip(&racks).filter(|(_, used)| **used) {
        edge(("rack", &rack.name), "member_of", ("site", estate.sites[rack.site]))?;
    }
    for (service, _) in estate.services.iter().zip(&services).filter(|(_, used)| **used) {
        let cluster = &estate.clusters[service.cluster].name;
        edge(("service", &service.name), "member_of", ("cluster", cluster))?;
        for need in service.needs.iter().filter(|need| services[**need]) {
            let need = &estate.services[*need].name;
            edge(("service", &service.name), "depends_on", ("service", need))?;
        }
    }
    Ok(())
}
