//! A selection as a table of text.

use super::Selection;
use std::collections::BTreeMap;

/// The clusters and what was taken.
pub fn table(selection: &Selection) -> String {
    let known = selection.purity.is_some();
    let mut text = String::from("cluster  documents  posterior");
    text += if known { "  purity  domains\n" } else { "\n" };
    for cluster in &selection.clusters {
        text += &format!("{:<7}  {:>9}  {:>9.3}", cluster.cluster, cluster.documents, cluster.mean_posterior);
        if known {
            let purity = cluster.purity.map_or("-".to_string(), |purity| format!("{purity:.3}"));
            text += &format!("  {purity:>6}  {}", counts(&cluster.domains));
        }
        text += "\n";
    }
    text += &format!("{} documents, {} components", selection.documents, selection.components);
    if let Some(purity) = selection.purity {
        text += &format!("; purity {purity:.3}");
    }
    if selection.bad_rows > 0 {
        text += &format!("; {} bad rows skipped", selection.bad_rows);
    }
    text += "\n";
    if let Some(examples) = &selection.examples {
        text += &format!("{} examples, in cluster {}", examples.documents, examples.cluster);
        if let Some(least) = examples.least_similarity {
            let domains = if known { format!(" ({})", counts(&examples.taken_domains)) } else { String::new() };
            text += &format!("; {} documents taken{domains}, similarity {least:.3} or more", examples.taken);
        }
        if examples.left_out > 0 {
            text += &format!("; {} documents are examples themselves and left out", examples.left_out);
        }
        text += "\n";
    }
    text
}

/// `name count`, the most frequent first.
fn counts(domains: &BTreeMap<String, usize>) -> String {
    let mut counts: Vec<(&String, &usize)> = domains.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}
