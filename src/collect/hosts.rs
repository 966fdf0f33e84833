//! One name for each machine, whatever a sender calls it: short name, full name, address.
//!
//! This comes before anything else, since the host is part of an alert's identity: first case, then
//! the domain, then the table of other names. A name that is as it should be costs a look at it and,
//! where there is a table, a question to that.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use super::table::Table;

/// Which domains are left out of names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Domains {
    /// None.
    #[default]
    Keep,
    /// All: what follows the first dot.
    All,
    /// These, in lower case, without a dot in front.
    These(Vec<Box<str>>),
}

/// How host names are made the same. Addresses keep their dots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hosts {
    /// Whether letters are made small.
    pub lower_case: bool,
    /// What is left out.
    pub domains: Domains,
    /// Other names by the name that counts; asked with the name as it came and as the rules above
    /// leave it.
    pub aliases: Option<Arc<Table>>,
}

impl Hosts {
    /// The name that counts.
    #[must_use]
    pub fn canonical<'a>(&self, host: Cow<'a, str>) -> Cow<'a, str> {
        if !self.lower_case && self.domains == Domains::Keep && self.aliases.is_none() {
            return host;
        }
        let mut name = host;
        let came = self.alias(&name).map(str::to_owned);
        if let Some(known) = came {
            return Cow::Owned(known);
        }
        if self.lower_case && name.chars().any(char::is_uppercase) {
            name = Cow::Owned(name.to_lowercase());
        }
        if let Some(end) = self.domain(&name) {
            name = match name {
                Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
                Cow::Owned(text) => Cow::Owned(text[..end].to_owned()),
            };
        }
        let known = self.alias(&name).map(str::to_owned);
        known.map_or(name, Cow::Owned)
    }

    fn alias(&self, name: &str) -> Option<&str> {
        let row = self.aliases.as_ref()?.rows(name).next()?;
        Some(row.cell(0)).filter(|name| !name.is_empty())
    }

    /// Where the domain begins, with its dot.
    fn domain(&self, name: &str) -> Option<usize> {
        let dot = name.find('.').filter(|dot| *dot > 0)?;
        let ends = match &self.domains {
            Domains::Keep => return None,
            Domains::All => Some(dot),
            Domains::These(domains) => domains.iter().find_map(|domain| {
                let at = name.len().checked_sub(domain.len() + 1).filter(|at| *at > 0)?;
                let (head, tail) = (name.as_bytes().get(at)?, name.get(at + 1..)?);
                (*head == b'.' && tail.eq_ignore_ascii_case(domain)).then_some(at)
            }),
        };
        ends.filter(|_| name.parse::<IpAddr>().is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::table::Builder;

    fn aliases(pairs: &[(&str, &str)]) -> Option<Arc<Table>> {
        let mut builder = Builder::new(1, 100);
        for (alias, host) in pairs {
            builder.row(&[alias], &[host]).expect("there is room");
        }
        Some(Arc::new(builder.build()))
    }

    #[test]
    fn a_machine_has_one_name() {
        let hosts = Hosts {
            lower_case: true,
            domains: Domains::These(vec!["corp.example".into(), "dc1.example.net".into()]),
            aliases: aliases(&[
                ("10.0.0.7", "web-1"),
                ("legacy", "db-9"),
                ("Shop Server", "web-1"),
            ]),
        };
        for (came, counts) in [
            ("web-1", "web-1"),
            ("WEB-1", "web-1"),
            ("Web-1.Corp.Example", "web-1"),
            ("web-1.dc1.example.net", "web-1"),
            ("10.0.0.7", "web-1"),
            ("LEGACY.corp.example", "db-9"),
            ("Shop Server", "web-1"),
            ("web-1.other.example", "web-1.other.example"),
            ("corp.example", "corp.example"),
            ("10.0.0.8", "10.0.0.8"),
            ("ÄRGER.corp.example", "ärger"),
        ] {
            assert_eq!(hosts.canonical(Cow::Borrowed(came)), counts);
        }
    }

    #[test]
    fn addresses_have_no_domain() {
        let hosts = Hosts { domains: Domains::All, ..Hosts::default() };
        for (came, counts) in [
            ("a.b.c", "a"),
            ("10.0.0.7", "10.0.0.7"),
            ("fe80::1", "fe80::1"),
            (".hidden", ".hidden"),
            ("a", "a"),
        ] {
            assert_eq!(hosts.canonical(Cow::Borrowed(came)), counts);
        }
    }

    #[test]
    fn by_default_names_stand_as_they_came() {
        let name = Hosts::default().canonical(Cow::Borrowed("WEB-1.corp.example"));
        assert!(matches!(name, Cow::Borrowed("WEB-1.corp.example")));
    }
}
