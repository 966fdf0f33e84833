//! What `replay` found, as text for people or as one JSON object.

use serde_json::{Map, Value, json};

use crate::replay::Summary;
use crate::replay::compare::{Affected, Comparison, Fate, Reason, Side};
use crate::replay::score::{Measure, Score, Unit};

/// How many sizes or reasons of one incident are shown as text.
const SHOWN: usize = 3;

/// What came of one run.
pub(super) struct Run {
    pub(super) summary: Summary,
    /// None where no truth was given.
    pub(super) score: Option<Score>,
}

/// What came of two runs over one input.
pub(super) struct Compared {
    pub(super) now: Run,
    pub(super) other: Run,
    pub(super) comparison: Comparison,
}

/// What came of a command.
pub(super) enum Report {
    Once {
        run: Run,
        seconds: f64,
    },
    Compared(Box<Compared>),
    Swept {
        keys: Vec<String>,
        /// The value of each key, and the run with them.
        runs: Vec<(Vec<String>, Run)>,
    },
}

impl Report {
    /// Aligned lines.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Once { run, seconds } => {
                let mut text = summary_text(run.summary, *seconds);
                if let Some(score) = &run.score {
                    text.push('\n');
                    text.push_str(&scores_text(&[("", score)]));
                }
                text
            }
            Self::Compared(compared) => compared_text(compared),
            Self::Swept { keys, runs } => swept_text(keys, runs),
        }
    }

    /// One object, on one line.
    pub(super) fn json(&self) -> String {
        let value = match self {
            Self::Once { run, .. } => run_json(run),
            Self::Compared(compared) => json!({
                "now": run_json(&compared.now),
                "other": run_json(&compared.other),
                "comparison": comparison_json(&compared.comparison),
            }),
            Self::Swept { keys, runs } => {
                let run = |(values, run): &(Vec<String>, Run)| {
                    let values = keys.iter().cloned().zip(values.iter().map(|v| json!(v)));
                    let mut found = run_json(run);
                    found["values"] = Value::Object(values.collect());
                    found
                };
                json!({"keys": keys, "runs": runs.iter().map(run).collect::<Vec<_>>()})
            }
        };
        format!("{value}\n")
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn summary_text(summary: Summary, seconds: f64) -> String {
    let mut lines = String::new();
    for (name, count) in counts(summary) {
        let rate = match name {
            "events" => format!("   {:.0}/s", count as f64 / seconds.max(1e-9)),
            _ => String::new(),
        };
        line(&mut lines, &format!("{name:<12} {count:>12}{rate}"));
    }
    if summary.unread > 0 {
        let unread = summary.unread;
        line(
            &mut lines,
            &format!("unread       {unread:>12}   records that this version cannot use"),
        );
    }
    let compression = summary.compression();
    line(
        &mut lines,
        &format!("compression  {compression:>11.2} %   events that made no incident of their own"),
    );
    lines
}

fn compared_text(Compared { now, other, comparison }: &Compared) -> String {
    let mut text = runs_text(now, other);
    text.push_str(&comparison_text(comparison));
    if let (Some(now), Some(other)) = (&now.score, &other.score) {
        text.push('\n');
        text.push_str(&scores_text(&[("now", now), ("other", other)]));
    }
    text.push_str(&affected_text(&comparison.affected));
    text
}

fn runs_text(now: &Run, other: &Run) -> String {
    let mut rows = vec![["", "now", "other"].map(str::to_owned).to_vec()];
    for ((name, now), (_, other)) in counts(now.summary).into_iter().zip(counts(other.summary)) {
        rows.push(vec![name.to_owned(), now.to_string(), other.to_string()]);
    }
    let compression = |run: &Run| format!("{:.2} %", run.summary.compression());
    rows.push(vec!["compression".to_owned(), compression(now), compression(other)]);
    table(&rows)
}

fn comparison_text(comparison: &Comparison) -> String {
    let fate = |fate| comparison.fates.get(&fate).copied().unwrap_or_default();
    let mut lines = String::from("\n");
    let mut row = |name: &str, count: u64, what: &str| {
        line(&mut lines, &format!("{name:<12} {count:>12}   {what}"));
    };
    row("same", comparison.same, "incidents hold the same alerts in both");
    row("merged", fate(Fate::Merged), "of other's hold alerts of several of now's");
    row("split", fate(Fate::Split), "of now's have their alerts in several of other's");
    row("changed", fate(Fate::Changed), "of now's have one of other's instead, with other alerts");
    row("gone", fate(Fate::Gone), "of now's hold only alerts that other does not have");
    row("new", fate(Fate::New), "of other's hold only alerts that now does not have");
    if comparison.alerts_ours + comparison.alerts_theirs > 0 {
        row("alerts now", comparison.alerts_ours, "that other does not have");
        row("alerts other", comparison.alerts_theirs, "that now does not have");
    }
    let what = match comparison.pages {
        0 => "as many pages, one an incident",
        ..0 => "pages saved, one an incident",
        1.. => "pages added, one an incident",
    };
    row("pages", comparison.pages.unsigned_abs(), what);
    lines
}

fn affected_text(affected: &[Affected]) -> String {
    let mut lines = String::new();
    if !affected.is_empty() {
        line(&mut lines, "\nWhat changes most");
    }
    for (nth, affected) in affected.iter().enumerate() {
        let Affected { fate, title, alerts, moved, .. } = affected;
        line(&mut lines, &format!("{:>2}. {:<7}  {title}", nth + 1, fate_word(*fate)));
        line(&mut lines, &format!("    {alerts} alerts, {moved} of them away from most others"));
        line(&mut lines, &format!("    now    {}", side_text(&affected.ours)));
        line(&mut lines, &format!("    other  {}", side_text(&affected.theirs)));
    }
    lines
}

fn side_text(side: &Side) -> String {
    if side.sizes.is_empty() {
        return "does not have these alerts".to_owned();
    }
    let more = |shown: Vec<String>, all: usize| match all - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    };
    let incidents = if side.sizes.len() == 1 { "incident" } else { "incidents" };
    let sizes = side.sizes.iter().take(SHOWN).map(u64::to_string).collect();
    let reason = |(reason, alerts): &(Reason, u64)| match reason {
        Reason::Opened => format!("{alerts} opened one"),
        Reason::Joined(pair) => format!("{alerts} joined by {pair}"),
    };
    let reasons = side.reasons.iter().take(SHOWN).map(reason).collect();
    format!(
        "{} {incidents} ({}): {} alerts, {}",
        side.sizes.len(),
        more(sizes, side.sizes.len()),
        side.alerts,
        more(reasons, side.reasons.len())
    )
}

/// One column a score, with its name above unless there is but one.
fn scores_text(scores: &[(&str, &Score)]) -> String {
    let Some((_, first)) = scores.first() else { return String::new() };
    let mut lines = units_text(first);
    let row = |name: &str, cells: Vec<String>| [vec![name.to_owned()], cells].concat();
    let each = |cell: &dyn Fn(&Score) -> String| {
        scores.iter().map(|(_, score)| cell(score)).collect::<Vec<_>>()
    };
    let mut rows = Vec::new();
    if scores.len() > 1 {
        rows.push(row("", scores.iter().map(|(name, _)| (*name).to_owned()).collect()));
    }
    let mut measure = |name: &str, of: fn(&Score) -> Measure| {
        rows.push(row(&format!("{name} precision"), each(&|score| four(of(score).precision))));
        rows.push(row(&format!("{name} recall"), each(&|score| four(of(score).recall))));
        rows.push(row(&format!("{name} F1"), each(&|score| four(of(score).f1()))));
    };
    measure("B-cubed", |score| score.bcubed);
    measure("pairwise", |score| score.pairwise);
    rows.push(row("incidents that hold a unit", each(&|score| score.incidents.to_string())));
    rows.push(row("true incidents", each(&|score| score.true_incidents.to_string())));
    let pages = |score: &Score| four(score.pages_per_true_incident);
    rows.push(row("pages per true incident", each(&pages)));
    lines.push_str(&table(&rows));
    lines.push_str(&unmatched_text(first));
    lines
}

fn units_text(score: &Score) -> String {
    let (units, noise) = (score.units, score.noise_units);
    format!("Score by {}: {units} units, {noise} of them noise\n", by(score.unit))
}

/// What truth and input do not have in common; nothing where they agree.
fn unmatched_text(score: &Score) -> String {
    let mut lines = String::new();
    if score.unknown_events > 0 {
        let text =
            "events of the truth are not in the input; each counts as an incident of its own";
        line(&mut lines, &format!("{} {text}", score.unknown_events));
    }
    if score.unlabelled_events > 0 {
        let text = "events of the input are not in the truth; they are left out of the score";
        line(&mut lines, &format!("{} {text}", score.unlabelled_events));
    }
    lines
}

fn swept_text(keys: &[String], runs: &[(Vec<String>, Run)]) -> String {
    let scored = runs.first().and_then(|(_, run)| run.score);
    let mut header = keys.to_vec();
    header.extend(["incidents", "compression"].map(str::to_owned));
    if scored.is_some() {
        let names = ["B-cubed F1", "pairwise F1", "pages per true incident"];
        header.extend(names.map(str::to_owned));
    }
    let mut rows = vec![header];
    for (values, Run { summary, score }) in runs {
        let mut row = values.clone();
        row.push(summary.incidents.to_string());
        row.push(format!("{:.2} %", summary.compression()));
        if let Some(score) = score {
            let pages = score.pages_per_true_incident;
            row.extend([score.bcubed.f1(), score.pairwise.f1(), pages].map(four));
        }
        rows.push(row);
    }
    let mut text = table(&rows);
    if let Some(score) = &scored {
        text.push('\n');
        text.push_str(&units_text(score));
        text.push_str(&unmatched_text(score));
    }
    text
}

fn counts(summary: Summary) -> [(&'static str, u64); 8] {
    let Summary { events, repeats, late, rejected, dropped, alerts, incidents, changes, unread: _ } =
        summary;
    [
        ("events", events),
        ("repeats", repeats),
        ("late", late),
        ("rejected", rejected),
        ("dropped", dropped),
        ("alerts", alerts),
        ("incidents", incidents),
        ("changes", changes),
    ]
}

fn run_json(run: &Run) -> Value {
    let counts = counts(run.summary).map(|(name, count)| (name.to_owned(), json!(count)));
    let mut summary: Map<String, Value> = counts.into_iter().collect();
    summary.insert("compression".to_owned(), json!(run.summary.compression() / 100.0));
    if run.summary.unread > 0 {
        summary.insert("unread".to_owned(), json!(run.summary.unread));
    }
    json!({"summary": summary, "score": run.score.as_ref().map(score_json)})
}

fn score_json(score: &Score) -> Value {
    let measure = |measure: Measure| {
        let Measure { precision, recall } = measure;
        json!({"precision": precision, "recall": recall, "f1": measure.f1()})
    };
    json!({
        "by": by(score.unit),
        "units": score.units,
        "noise_units": score.noise_units,
        "incidents": score.incidents,
        "true_incidents": score.true_incidents,
        "b_cubed": measure(score.bcubed),
        "pairwise": measure(score.pairwise),
        "pages_per_true_incident": score.pages_per_true_incident,
        "unknown_events": score.unknown_events,
        "unlabelled_events": score.unlabelled_events,
    })
}

fn comparison_json(comparison: &Comparison) -> Value {
    let fate = |fate| comparison.fates.get(&fate).copied().unwrap_or_default();
    let side = |side: &Side| {
        let reason = |(reason, alerts): &(Reason, u64)| {
            let joined_by = match reason {
                Reason::Opened => None,
                Reason::Joined(pair) => Some(pair),
            };
            json!({"joined_by": joined_by, "alerts": alerts})
        };
        let reasons: Vec<Value> = side.reasons.iter().map(reason).collect();
        json!({"alerts": side.alerts, "incidents": side.sizes, "reasons": reasons})
    };
    let affected = |affected: &Affected| {
        json!({
            "fate": fate_word(affected.fate),
            "incident_id": affected.incident.to_string(),
            "title": affected.title,
            "alerts": affected.alerts,
            "moved": affected.moved,
            "now": side(&affected.ours),
            "other": side(&affected.theirs),
        })
    };
    json!({
        "same": comparison.same,
        "merged": fate(Fate::Merged),
        "split": fate(Fate::Split),
        "changed": fate(Fate::Changed),
        "gone": fate(Fate::Gone),
        "new": fate(Fate::New),
        "alerts_only_now": comparison.alerts_ours,
        "alerts_only_other": comparison.alerts_theirs,
        "pages": comparison.pages,
        "affected": comparison.affected.iter().map(affected).collect::<Vec<_>>(),
    })
}

const fn by(unit: Unit) -> &'static str {
    match unit {
        Unit::Event => "event",
        Unit::Dedup => "dedup",
    }
}

const fn fate_word(fate: Fate) -> &'static str {
    match fate {
        Fate::Merged => "merged",
        Fate::Split => "split",
        Fate::Changed => "changed",
        Fate::Gone => "gone",
        Fate::New => "new",
    }
}

fn four(number: f64) -> String {
    format!("{number:.4}")
}

/// Rows as lines: the first column to the left, the others to the right, two blanks between.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut lines = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(nth, (cell, width))| match nth {
            0 => format!("{cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        });
        line(&mut lines, &cells.collect::<String>());
    }
    lines
}

fn line(lines: &mut String, text: &str) {
    lines.push_str(text);
    lines.push('\n');
}
