//! Decides who is to be told of an incident, and after which wait.
//!
//! Alertmanager's semantics: the first child that matches takes the incident, unless it says
//! `continue`; where no child matches, the node's own receiver does. It knows nothing of what was told.

use super::{RouteSettings, Settings};
use crate::model::{Change, Span};

/// A receiver's place among the configured ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiverNo(pub u16);

/// A route names a receiver that is not configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a route leads to receiver `{0}`, which is not configured; name one of notify.receivers")]
pub struct UnknownReceiver(pub String);

/// The routing tree with its receivers looked up.
#[derive(Debug)]
pub struct Routes(Option<Node>);

#[derive(Debug)]
struct Node {
    settings: RouteSettings,
    receiver: ReceiverNo,
    children: Vec<Self>,
}

impl Routes {
    /// Looks the receivers up.
    ///
    /// # Errors
    /// When a route leads nowhere.
    pub fn new(settings: &Settings) -> Result<Self, UnknownReceiver> {
        settings.route.as_ref().map(|root| Node::new(root, settings)).transpose().map(Self)
    }

    /// Who is to be told, each once, with the time the incident may gather before. Where several
    /// routes lead to one receiver, the shortest wait counts.
    #[must_use]
    pub fn to(&self, change: &Change) -> Vec<(ReceiverNo, Span)> {
        let mut found = Vec::new();
        if let Some(root) = &self.0 {
            root.collect(change, &mut found);
        }
        found.sort_unstable();
        found.dedup_by_key(|(receiver, _)| *receiver);
        found
    }
}

impl Node {
    fn new(route: &RouteSettings, settings: &Settings) -> Result<Self, UnknownReceiver> {
        let at = settings.receivers.iter().position(|known| known.name == route.receiver);
        let receiver = at
            .and_then(|at| u16::try_from(at).ok())
            .ok_or_else(|| UnknownReceiver(route.receiver.to_string()))?;
        let children = route.routes.iter().map(|child| Self::new(child, settings));
        let children = children.collect::<Result<_, _>>()?;
        // The children live looked up in `children`; a second copy of the tree would only rot.
        let own = RouteSettings { routes: Vec::new(), ..route.clone() };
        Ok(Self { settings: own, receiver: ReceiverNo(receiver), children })
    }

    fn collect(&self, change: &Change, found: &mut Vec<(ReceiverNo, Span)>) {
        let mut taken = false;
        for child in &self.children {
            if child.settings.matchers.matches(change) {
                child.collect(change, found);
                taken = true;
                if !child.settings.cont {
                    break;
                }
            }
        }
        if !taken {
            found.push((self.receiver, self.settings.group_wait));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChangeKind, Matchers, Status};
    use crate::notify::sample;

    fn route(
        matcher: &str,
        receiver: &str,
        wait: i64,
        routes: Vec<RouteSettings>,
    ) -> RouteSettings {
        RouteSettings {
            matchers: Matchers::parse([matcher]).expect("a matcher"),
            receiver: receiver.into(),
            group_wait: Span::from_secs(wait),
            cont: false,
            routes,
        }
    }

    fn asked(root: RouteSettings, status: Status) -> Vec<(u16, i64)> {
        let mut settings = sample::settings(&["root", "page", "team", "log"]);
        settings.route = Some(root);
        let routes = Routes::new(&settings).expect("known receivers");
        let mut change = sample::change(1, 1, &[ChangeKind::Opened]);
        change.status = status;
        let found = routes.to(&change);
        found.into_iter().map(|(to, wait)| (to.0, wait.as_millis() / 1_000)).collect()
    }

    fn tree() -> RouteSettings {
        let mut log = route("cluster=web", "log", 3, vec![]);
        log.cont = true;
        let deep = route("cluster=web", "team", 2, vec![]);
        let page = route("status=critical", "page", 1, vec![deep]);
        route("", "root", 9, vec![log, page, route("status=critical", "root", 5, vec![])])
    }

    #[test]
    fn the_first_child_that_matches_takes_it_after_those_that_continue() {
        assert_eq!(asked(tree(), Status::Critical), [(2, 2), (3, 3)]);
    }

    #[test]
    fn a_child_that_continues_counts_as_a_match() {
        assert_eq!(
            asked(tree(), Status::Warning),
            [(3, 3)],
            "as in Alertmanager: root is not asked"
        );
    }

    #[test]
    fn without_a_match_the_node_itself_takes_it() {
        let page = route("status=critical", "page", 1, vec![route("a=b", "team", 2, vec![])]);
        let root = route("", "root", 9, vec![page]);
        assert_eq!(asked(root.clone(), Status::Critical), [(1, 1)]);
        assert_eq!(asked(root, Status::Warning), [(0, 9)]);
    }

    #[test]
    fn one_receiver_by_two_routes_is_told_once_after_the_shorter_wait() {
        let mut slow = route("cluster=web", "page", 8, vec![]);
        slow.cont = true;
        let root = route("", "root", 9, vec![slow, route("status=critical", "page", 4, vec![])]);
        assert_eq!(asked(root, Status::Critical), [(1, 4)]);
    }

    #[test]
    fn a_route_to_nowhere_is_refused_by_name() {
        let mut settings = sample::settings(&["root"]);
        settings.route = Some(route("", "root", 0, vec![route("a=b", "gone", 0, vec![])]));
        let error = Routes::new(&settings).expect_err("no such receiver");
        assert!(error.to_string().contains("`gone`"), "{error}");
    }
}
