//! What a split must not tear apart, and how it is dealt out to parts.

use super::notes::Note;
use crate::random::SplitMix64;
use std::collections::HashMap;

/// Notes that stay together: a group, or equal notes, or one note.
pub(super) struct Unit {
    pub(super) notes: Vec<usize>,
}

/// The text by which notes are equal: runs of whitespace count as one space. The text is NFC already.
pub(super) fn duplicate_key(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The units of the notes at `indices`, in the order of their first note.
pub(super) fn units(notes: &[Note], indices: &[usize], keep_equal_notes: bool) -> Vec<Unit> {
    // Union-find: a note joins the unit of its group and the unit of its text, which thereby become one.
    let mut parent: Vec<usize> = (0..indices.len()).collect();
    let mut groups: HashMap<&str, usize> = HashMap::new();
    let mut texts: HashMap<String, usize> = HashMap::new();
    for (position, &index) in indices.iter().enumerate() {
        if let Some(group) = &notes[index].group {
            let first = *groups.entry(group).or_insert(position);
            join(&mut parent, first, position);
        }
        if keep_equal_notes {
            let first = *texts.entry(duplicate_key(&notes[index].text)).or_insert(position);
            join(&mut parent, first, position);
        }
    }
    let mut unit_of: HashMap<usize, usize> = HashMap::new();
    let mut units: Vec<Unit> = Vec::new();
    for (position, &index) in indices.iter().enumerate() {
        let root = find(&mut parent, position);
        let unit = *unit_of.entry(root).or_insert_with(|| {
            units.push(Unit { notes: vec![] });
            units.len() - 1
        });
        units[unit].notes.push(index);
    }
    units
}

fn find(parent: &mut [usize], mut position: usize) -> usize {
    while parent[position] != position {
        parent[position] = parent[parent[position]];
        position = parent[position];
    }
    position
}

fn join(parent: &mut [usize], a: usize, b: usize) {
    let (a, b) = (find(parent, a), find(parent, b));
    parent[a.max(b)] = a.min(b);
}

/// Deals units out to parts whose sizes should be as `shares`, class by class: the notes of each part.
///
/// Greedy, in random order but large units first: each unit goes where its classes are fullest last, measured as
/// `(held + half of the unit) / share` (Webster's rule, which favours neither large nor small parts), a class weighing by the
/// inverse of its size. Ties go to the part with the fewest notes for its share.
/// `classes` of 1 ignores the labels.
pub(super) fn deal(
    notes: &[Note],
    mut units: Vec<Unit>,
    shares: &[f64],
    classes: usize,
    random: &mut SplitMix64,
) -> Vec<Vec<usize>> {
    let class = |index: usize| {
        if classes > 1 { notes[index].label.unwrap_or(0) } else { 0 }
    };
    random.shuffle(&mut units);
    units.sort_by_key(|unit| std::cmp::Reverse(unit.notes.len()));
    let mut of_class = vec![0.0; classes.max(1)];
    for index in units.iter().flat_map(|unit| &unit.notes) {
        of_class[class(*index)] += 1.0;
    }
    let mut held = vec![vec![0.0; of_class.len()]; shares.len()];
    let mut parts = vec![Vec::new(); shares.len()];
    let mut counts = vec![0.0; of_class.len()];
    for unit in units {
        counts.fill(0.0);
        for &index in &unit.notes {
            counts[class(index)] += 1.0;
        }
        let fullness = |part: usize| {
            let mut by_class = 0.0;
            for (class, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
                by_class +=
                    count / of_class[class] * (held[part][class] + count / 2.0) / (shares[part] * of_class[class]);
            }
            (by_class, (parts[part].len() as f64 + unit.notes.len() as f64 / 2.0) / shares[part])
        };
        let mut best = 0;
        for part in 1..shares.len() {
            let (new, old) = (fullness(part), fullness(best));
            // Sums of the same numbers in another order differ in the last bits; those must not decide.
            let tie = (new.0 - old.0).abs() <= 1e-9 * old.0.abs();
            if (tie && new.1 < old.1 * (1.0 - 1e-9)) || (!tie && new.0 < old.0) {
                best = part;
            }
        }
        for (held, count) in held[best].iter_mut().zip(&counts) {
            *held += count;
        }
        parts[best].extend(&unit.notes);
    }
    for part in &mut parts {
        part.sort_unstable();
    }
    parts
}
