//! Correlate's rows read as incidents, for whoever is not correlate: the board begins with them.

use std::collections::BTreeMap;

use crate::board::{Loaded, RowLoader};
use crate::correlate::Correlate;
use crate::model::{CorrelateSettings, Span};
use crate::stage::{RowError, Stage};

/// Gathers rows of all partitions and makes incidents of them.
#[derive(Debug, Default)]
pub struct CorrelateRows(BTreeMap<u32, BTreeMap<Vec<u8>, Vec<u8>>>);

impl RowLoader for CorrelateRows {
    fn begin(&mut self) {
        self.0.clear();
    }

    fn row(&mut self, partition: u32, key: &[u8], value: Option<&[u8]>) -> Result<(), RowError> {
        let rows = self.0.entry(partition).or_default();
        match value {
            Some(value) => rows.insert(key.to_vec(), value.to_vec()),
            None => rows.remove(key),
        };
        Ok(())
    }

    fn finish(&mut self) -> Result<Loaded, RowError> {
        // Only what the rows say is asked for; the settings would matter to new records.
        let settings = CorrelateSettings {
            reopen_window: Span::ZERO,
            ok_memory_max: usize::MAX,
            ..CorrelateSettings::default()
        };
        let mut loaded = Loaded::default();
        for (partition, rows) in std::mem::take(&mut self.0) {
            let mut stage = Correlate::new(&settings);
            for (key, value) in &rows {
                stage.restore(key, value)?;
            }
            stage.restored()?;
            loaded.incidents.extend(stage.incidents());
            loaded.results.extend(stage.results().cloned());
            loaded.heartbeats.extend(stage.heartbeats().filter(|row| !row.gone).cloned());
            loaded.plans.extend(stage.plans().map(|plan| (partition, plan)));
        }
        Ok(loaded)
    }
}
