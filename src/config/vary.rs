//! One config at several values of some keys: what `replay --sweep` runs.
//!
//! A key goes by the same rules as in the file; every combination of values is one config. All
//! else stays as it was loaded.

use super::Config;
use super::collect_section::EXPIRE_AFTER;
use super::correlate_section::{MAX_ALERTS, REOPEN_WINDOW, WINDOW, gap_rule, min_alerts_rule};
use crate::model::Span;

/// The most configs of one sweep.
pub const VARIANTS_MAX: usize = 100;

/// A config at several values.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// The keys as they were asked for.
    pub keys: Vec<String>,
    /// Every combination, the last key's values changing first.
    pub variants: Vec<Variant>,
}

/// One combination.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The value of each key.
    pub values: Vec<String>,
    /// The config with these values.
    pub config: Config,
}

/// Why there is no sweep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// It is no key with values.
    #[error("--sweep: `{0}` is not a key with values; write it like gap=1m,2m,5m")]
    Form(String),
    /// There is no such key.
    #[error(
        "--sweep: `{0}` is no key that can be swept; there are window, gap, max_alerts and \
         min_alerts, also of one pattern as in cluster.gap, expire_after, also of one source as in nagios.expire_after, \
         and reopen_window"
    )]
    Key(String),
    /// Nothing has the name before the key.
    #[error("--sweep {key}: `{name}` is no {what}; there are {known}")]
    Name {
        /// The key as it was asked for.
        key: String,
        /// The part before the dot.
        name: String,
        /// What it should be: an enabled pattern or a source.
        what: &'static str,
        /// What there is.
        known: String,
    },
    /// No pattern has the key.
    #[error("--sweep {key}: no pattern has one; name one as in {example}")]
    Nobody {
        /// The key as it was asked for.
        key: String,
        /// How a pattern is named.
        example: String,
    },
    /// A value breaks a rule.
    #[error("--sweep {key}: `{value}` {rule}")]
    Value {
        /// The key as it was asked for, or the pattern's where combinations break the rule.
        key: String,
        /// The value.
        value: String,
        /// What it is or is not.
        rule: String,
    },
    /// Two sweeps set the same.
    #[error("--sweep {key}: another --sweep sets the same")]
    Twice {
        /// The key of the second one.
        key: String,
    },
    /// The product is too large.
    #[error("--sweep: {0} combinations are more than {VARIANTS_MAX}; give fewer values")]
    Many(usize),
}

impl Config {
    /// This config at every combination of values; each text is `key=value,value,…`.
    ///
    /// # Errors
    /// Names the key or value that is none, and those there are.
    pub fn sweep(&self, texts: &[String]) -> Result<Sweep, SweepError> {
        let mut axes: Vec<Axis> = Vec::new();
        for text in texts {
            let axis = Axis::read(self, text)?;
            let sets = |other: &Axis| axis.targets.iter().any(|t| other.targets.contains(t));
            if axes.iter().any(sets) {
                return Err(SweepError::Twice { key: axis.key });
            }
            axes.push(axis);
        }
        let all = axes.iter().fold(1, |all: usize, axis| all.saturating_mul(axis.values.len()));
        if all > VARIANTS_MAX {
            return Err(SweepError::Many(all));
        }
        let mut variants = vec![Variant { values: Vec::new(), config: self.clone() }];
        for axis in &axes {
            let with = |variant: &Variant| {
                let variant = variant.clone();
                axis.values.iter().map(move |value| axis.applied(variant.clone(), value))
            };
            variants = variants.iter().flat_map(with).collect();
        }
        for variant in &variants {
            variant.config.patterns_fit()?;
        }
        Ok(Sweep { keys: axes.into_iter().map(|axis| axis.key).collect(), variants })
    }

    fn patterns_fit(&self) -> Result<(), SweepError> {
        for entry in self.correlate.patterns.iter().filter(|entry| entry.enabled) {
            let pattern = &entry.pattern;
            if let Some((gap, rule)) = gap_rule(pattern) {
                let key = format!("{}.gap", pattern.name);
                return Err(SweepError::Value { key, value: gap.to_string(), rule });
            }
            if let Some((least, rule)) = min_alerts_rule(pattern) {
                let key = format!("{}.min_alerts", pattern.name);
                return Err(SweepError::Value { key, value: least.to_string(), rule });
            }
        }
        Ok(())
    }
}

/// One key and its values.
struct Axis {
    key: String,
    targets: Vec<Target>,
    /// As they were written, and as a number: milliseconds of a time.
    values: Vec<(String, i64)>,
}

/// What a value is written to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Window(usize),
    Gap(usize),
    MaxAlerts(usize),
    MinAlerts(usize),
    ExpireAfter(usize),
    ReopenWindow,
}

/// A key that can be swept.
#[derive(Clone, Copy)]
enum Knob {
    Window,
    Gap,
    MaxAlerts,
    MinAlerts,
    ExpireAfter,
    ReopenWindow,
}

impl Knob {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "window" => Self::Window,
            "gap" => Self::Gap,
            "max_alerts" => Self::MaxAlerts,
            "min_alerts" => Self::MinAlerts,
            "expire_after" => Self::ExpireAfter,
            "reopen_window" => Self::ReopenWindow,
            _ => return None,
        })
    }

    fn number(self, text: &str) -> Result<i64, String> {
        let (least, most) = match self {
            Self::Window | Self::Gap => WINDOW,
            Self::ExpireAfter => EXPIRE_AFTER,
            Self::ReopenWindow => REOPEN_WINDOW,
            Self::MaxAlerts | Self::MinAlerts => return number_of_alerts(text),
        };
        let span = Span::parse(text).map_err(|_| {
            "is not a duration; write a number and a unit of ms, s, m, h or d, such as 30s or 1h30m"
                .to_owned()
        })?;
        if span < least {
            return Err(format!("is less than {least}"));
        }
        if span > most {
            return Err(format!("is more than {most}"));
        }
        Ok(span.as_millis())
    }
}

fn number_of_alerts(text: &str) -> Result<i64, String> {
    let (least, most) = MAX_ALERTS;
    match text.parse::<u64>() {
        Err(_) => Err("is not a whole number".to_owned()),
        Ok(number) if number < least => Err(format!("is less than {least}")),
        Ok(number) if number > most => Err(format!("is more than {most}")),
        Ok(number) => Ok(number.cast_signed()),
    }
}

impl Axis {
    fn read(config: &Config, text: &str) -> Result<Self, SweepError> {
        let form = || SweepError::Form(text.to_owned());
        let (key, values) = text.rsplit_once('=').ok_or_else(form)?;
        let key = key.trim();
        let (name, word) = match key.rsplit_once('.') {
            Some((name, word)) => (Some(name), word),
            None => (None, key),
        };
        let unknown = || SweepError::Key(key.to_owned());
        let knob = Knob::named(word).ok_or_else(unknown)?;
        let all = |_: usize| true;
        let targets = match knob {
            Knob::ReopenWindow if name.is_some() => return Err(unknown()),
            Knob::ReopenWindow => vec![Target::ReopenWindow],
            Knob::ExpireAfter => sources(config, key, name, Target::ExpireAfter)?,
            Knob::Window => patterns(config, key, name, Target::Window, all)?,
            Knob::MaxAlerts => patterns(config, key, name, Target::MaxAlerts, all)?,
            Knob::MinAlerts => patterns(config, key, name, Target::MinAlerts, all)?,
            Knob::Gap => {
                let has_one = |at: usize| config.correlate.patterns[at].pattern.gap.is_some();
                patterns(config, key, name, Target::Gap, has_one)?
            }
        };
        let values = values.split(',').map(str::trim).map(|value| {
            let number = knob.number(value).map_err(|rule| SweepError::Value {
                key: key.to_owned(),
                value: value.to_owned(),
                rule,
            })?;
            Ok((value.to_owned(), number))
        });
        Ok(Self { key: key.to_owned(), targets, values: values.collect::<Result<_, _>>()? })
    }

    fn applied(&self, mut variant: Variant, (text, number): &(String, i64)) -> Variant {
        let span = Span::from_millis(*number);
        let count = u32::try_from(*number).unwrap_or(u32::MAX);
        let Config { collect, correlate, .. } = &mut variant.config;
        for target in &self.targets {
            match *target {
                Target::Window(at) => correlate.patterns[at].pattern.window = span,
                Target::Gap(at) => correlate.patterns[at].pattern.gap = Some(span),
                Target::MaxAlerts(at) => correlate.patterns[at].pattern.max_alerts = count,
                Target::MinAlerts(at) => correlate.patterns[at].pattern.min_alerts = count,
                Target::ExpireAfter(at) => collect.settings.sources[at].expire_after = span,
                Target::ReopenWindow => correlate.reopen_window = span,
            }
        }
        variant.values.push(text.clone());
        variant
    }
}

/// The enabled pattern of this name; without one all that have the key.
fn patterns(
    config: &Config,
    key: &str,
    name: Option<&str>,
    target: fn(usize) -> Target,
    has: impl Fn(usize) -> bool,
) -> Result<Vec<Target>, SweepError> {
    let patterns = config.correlate.patterns.iter().map(|entry| &entry.pattern.name);
    let enabled = config.correlate.patterns.iter().map(|entry| entry.enabled);
    let named: Vec<(usize, &str)> = patterns
        .zip(enabled)
        .enumerate()
        .filter_map(|(at, (name, enabled))| enabled.then_some((at, &**name)))
        .collect();
    if let Some(name) = name {
        return named_one(key, name, "enabled pattern", &named).map(|at| vec![target(at)]);
    }
    let having: Vec<Target> =
        named.iter().filter(|(at, _)| has(*at)).map(|(at, _)| target(*at)).collect();
    if having.is_empty() {
        let pattern = named.first().map_or("cluster", |(_, name)| name);
        let example = format!("{pattern}.{key}");
        return Err(SweepError::Nobody { key: key.to_owned(), example });
    }
    Ok(having)
}

/// The source of this name; without one all of them.
fn sources(
    config: &Config,
    key: &str,
    name: Option<&str>,
    target: fn(usize) -> Target,
) -> Result<Vec<Target>, SweepError> {
    let sources = config.collect.settings.sources.iter();
    let named: Vec<(usize, &str)> = sources.map(|source| &*source.name).enumerate().collect();
    match name {
        Some(name) => {
            named_one(key, name, "source of the config", &named).map(|at| vec![target(at)])
        }
        None => Ok(named.iter().map(|(at, _)| target(*at)).collect()),
    }
}

fn named_one(
    key: &str,
    name: &str,
    what: &'static str,
    named: &[(usize, &str)],
) -> Result<usize, SweepError> {
    named.iter().find(|(_, known)| *known == name).map(|(at, _)| *at).ok_or_else(|| {
        let known: Vec<&str> = named.iter().map(|(_, name)| *name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        SweepError::Name { key: key.to_owned(), name: name.to_owned(), what, known }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const CONFIG: &str = "
collect: {sources: [{name: nagios, expire_after: 2d}, {name: defaults, expire_after: 5m}]}
correlate:
  reopen_window: 10m
  patterns:
    - {name: cluster, by: [cluster], window: 1h, gap: 3m}
    - {name: off, by: [cluster], gap: 4m, enabled: false}
    - {name: host.group, by: [host], window: 30m, max_alerts: 7}";

    fn sweep(texts: &[&str]) -> Result<Sweep, String> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let config = config::parse(CONFIG).expect("a good config");
        config.sweep(&texts).map_err(|error| error.to_string())
    }

    /// What the config would be with this in the file in place of that.
    fn edited(edits: &[(&str, &str)]) -> Config {
        let mut text = CONFIG.to_owned();
        for (from, to) in edits {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        config::parse(&text).expect("a good config")
    }

    #[test]
    fn a_swept_config_is_what_the_file_with_that_value_would_give() {
        let cases: [(&str, &[(&str, &str)]); 10] = [
            ("gap=1m", &[("gap: 3m", "gap: 1m")]),
            ("cluster.gap=1m30s", &[("gap: 3m", "gap: 1m30s")]),
            ("host.group.gap=2m", &[("window: 30m", "window: 30m, gap: 2m")]),
            ("window=2h", &[("window: 1h", "window: 2h"), ("window: 30m", "window: 2h")]),
            ("host.group.window=2h", &[("window: 30m", "window: 2h")]),
            ("cluster.max_alerts=9", &[("window: 1h", "window: 1h, max_alerts: 9")]),
            ("cluster.min_alerts=4", &[("window: 1h", "window: 1h, min_alerts: 4")]),
            ("expire_after=1h", &[("after: 2d", "after: 1h"), ("after: 5m", "after: 1h")]),
            ("defaults.expire_after=1h", &[("after: 5m", "after: 1h")]),
            ("reopen_window=0s", &[("reopen_window: 10m", "reopen_window: 0s")]),
        ];
        for (text, edits) in cases {
            let sweep = sweep(&[text]).expect(text);
            assert_eq!(sweep.variants.len(), 1);
            assert_eq!(sweep.variants[0].config, edited(edits), "{text}");
        }
    }

    #[test]
    fn several_sweeps_make_the_product() {
        let product = sweep(&["gap=1m, 2m", "reopen_window=5m,10m,1h"]).expect("a good sweep");
        assert_eq!(product.keys, ["gap", "reopen_window"]);
        let values: Vec<String> =
            product.variants.iter().map(|variant| variant.values.join(" ")).collect();
        assert_eq!(values, ["1m 5m", "1m 10m", "1m 1h", "2m 5m", "2m 10m", "2m 1h"]);
        let expected =
            edited(&[("gap: 3m", "gap: 2m"), ("reopen_window: 10m", "reopen_window: 5m")]);
        assert_eq!(product.variants[3].config, expected);
        let hundred: Vec<String> = (1..=101).map(|number| format!("{number}m")).collect();
        let text = |count: usize| format!("reopen_window={}", hundred[..count].join(","));
        assert!(sweep(&[&text(100)]).is_ok());
        let error = sweep(&[&text(101)]).expect_err("too many");
        assert!(error.contains("101 combinations are more than 100"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named_with_what_there_is() {
        for (texts, told) in [
            (&["gap"][..], "`gap` is not a key with values"),
            (&["gap="], "--sweep gap: `` is not a duration"),
            (&["gapp=1m"], "`gapp` is no key that can be swept; there are window, gap, max"),
            (&["cluster.reopen_window=1m"], "`cluster.reopen_window` is no key"),
            (&["web.gap=1m"], "`web` is no enabled pattern; there are cluster, host.group"),
            (&["off.gap=1m"], "`off` is no enabled pattern; there are cluster, host.group"),
            (&["zabbix.expire_after=1h"], "is no source of the config; there are nagios, defaults"),
            (&["gap=1m,5 minutes"], "--sweep gap: `5 minutes` is not a duration"),
            (&["gap=1m,2m,3"], "--sweep gap: `3` is not a duration"),
            (&["window=31d"], "--sweep window: `31d` is more than 30d"),
            (&["window=0s"], "--sweep window: `0s` is less than 1ms"),
            (&["expire_after=1s"], "--sweep expire_after: `1s` is less than 1m"),
            (&["max_alerts=0"], "--sweep max_alerts: `0` is less than 1"),
            (&["max_alerts=1m"], "--sweep max_alerts: `1m` is not a whole number"),
            (&["min_alerts=2,9"], "host.group.min_alerts: `9` is more than max_alerts, 7; no"),
            (&["gap=2h"], "--sweep cluster.gap: `2h` is more than the window, 1h"),
            (&["window=1h,1m"], "--sweep cluster.gap: `3m` is more than the window, 1m"),
            (&["gap=1m", "cluster.gap=2m"], "--sweep cluster.gap: another --sweep sets the same"),
        ] {
            let error = sweep(texts).expect_err("it is wrong");
            assert!(error.contains(told), "{texts:?} gave {error}");
        }
        let without = edited(&[(", gap: 3m", "")]);
        let error = without.sweep(&["gap=1m".to_owned()]).expect_err("there is none");
        assert!(error.to_string().contains("name one as in cluster.gap"), "{error}");
    }
}
