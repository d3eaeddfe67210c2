#![allow(clippy::unwrap_used)]
use super::*;
use crate::data::Note;
use proptest::prelude::*;

fn note(label: usize, text: &str, group: Option<&str>) -> Note {
    Note { row: 1, file: 0, id: String::new(), text: text.into(), label: Some(label), group: group.map(str::to_string) }
}

fn notes(notes: Vec<Note>) -> Notes {
    let labels = vec!["no".to_string(), "yes".to_string()];
    let count = notes.len();
    Notes { train: 0..count, validation: count..count, test: count..count, notes, labels, ..Notes::default() }
}

/// `negatives` + `positives` notes, all different.
fn plain(negatives: usize, positives: usize) -> Notes {
    notes((0..negatives + positives).map(|i| note(usize::from(i >= negatives), &format!("note {i}"), None)).collect())
}

#[test]
fn notes_without_labels_that_are_measured_are_left_out() {
    let other = |text: &str, group| Note { label: None, ..note(0, text, group) };
    let all = || {
        let unlabeled = vec![other("note  3", None), other("note 5", None), other("new", Some("p"))];
        Notes { unlabeled, ..plain(6, 4) }
    };
    let splits = Splits { train: vec![0, 1, 2, 5], validation: vec![3], test: vec![4, 9], ..Splits::default() };
    let texts = |notes: &Notes| notes.unlabeled.iter().map(|note| note.text.clone()).collect::<Vec<_>>();
    let left_out = |notes: &mut Notes, duplicates| {
        let mut splits = splits.clone();
        leave_out_tested(notes, &mut splits, duplicates);
        splits.unlabeled_left_out
    };
    let mut notes = all();
    assert_eq!(left_out(&mut notes, DuplicatePolicy::Error), 1, "equal but for whitespace");
    assert_eq!(texts(&notes), ["note 5", "new"], "what a training note says may be read");
    // Another note of a tested patient.
    let mut notes = all();
    notes.notes[9].group = Some("p".to_string());
    assert_eq!(left_out(&mut notes, DuplicatePolicy::SameSide), 2);
    // Equal notes are no leak where the user says so; a patient's are.
    let mut notes = all();
    notes.notes[9].group = Some("p".to_string());
    assert_eq!(left_out(&mut notes, DuplicatePolicy::Allow), 1);
    assert_eq!(texts(&notes), ["note  3", "note 5"]);
}

#[test]
fn a_label_budget_keeps_each_class_s_share_and_grows_by_adding() {
    let mut notes = Notes { labels: vec!["no".into(), "yes".into(), "rare".into()], ..Notes::default() };
    for number in 0..200u64 {
        let label = if number == 7 { 2 } else { usize::from(number % 4 == 0) };
        let note = Note {
            row: number,
            file: 0,
            id: number.to_string(),
            text: format!("note {number}"),
            label: Some(label),
            group: None,
        };
        notes.notes.push(note);
    }
    notes.train = 0..200;
    let with = |label_budget, rest_unlabeled| {
        let config = SplitConfig { label_budget, rest_unlabeled, ..SplitConfig::default() };
        make_splits(&notes, &config, 5, DuplicatePolicy::Error).unwrap()
    };
    let whole = with(0, true);
    assert!(whole.unlabeled.is_empty() && whole.train.len() > 100);
    let (small, large) = (with(20, true), with(60, false));
    assert_eq!((small.train.len(), large.train.len(), large.unlabeled.len()), (20, 60, 0));
    assert_eq!(small.train.len() + small.unlabeled.len(), whole.train.len());
    assert!(small.train.iter().all(|index| whole.train.contains(index) && !small.unlabeled.contains(index)));
    let shared = small.train.iter().filter(|index| large.train.contains(index)).count();
    assert!(shared >= 19, "{shared} of 20 are in the larger budget");
    assert!((small.test.clone(), small.validation.clone()) == (whole.test.clone(), whole.validation.clone()));
    let counts = notes.class_counts(&large.train);
    assert!((44..=46).contains(&counts[0]) && (14..=15).contains(&counts[1]), "{counts:?}");
    assert_eq!(with(whole.train.len(), true).train, whole.train);
}

#[test]
fn a_label_budget_beyond_the_notes_to_train_on_is_refused_with_their_number() {
    let notes = plain(60, 40);
    let whole = split(&notes, SplitConfig::default()).train.len();
    let with = |label_budget| {
        make_splits(&notes, &SplitConfig { label_budget, ..SplitConfig::default() }, 42, DuplicatePolicy::Error)
    };
    assert_eq!(with(whole).unwrap().train.len(), whole);
    let error = with(whole + 1).unwrap_err();
    let expected = format!("data.split.label_budget: {} labels are asked for, and there are {whole} notes", whole + 1);
    assert!(matches!(&error, Error::Data(text) if text.starts_with(&expected)), "{error}");
}

fn split(notes: &Notes, split: SplitConfig) -> Splits {
    make_splits(notes, &split, 42, DuplicatePolicy::Error).unwrap()
}

#[test]
fn fractions_are_kept_class_by_class() {
    let notes = plain(700, 300);
    let splits = split(&notes, SplitConfig::default());
    assert_eq!(notes.class_counts(&splits.test), [140, 60]);
    assert_eq!(notes.class_counts(&splits.validation), [56, 24]);
    assert_eq!(notes.class_counts(&splits.train), [504, 216]);
    assert_eq!(splits, split(&notes, SplitConfig::default()), "a seed repeats");
    assert_ne!(splits, split(&notes, SplitConfig { seed: Some(7), ..SplitConfig::default() }));
    // The parts are random: the test notes are not the first or last of their class.
    assert!(splits.test[..140].iter().any(|&i| i < 140) && splits.test[..140].iter().any(|&i| i >= 560));
    let free = split(&notes, SplitConfig { stratified: false, ..SplitConfig::default() });
    assert_eq!(free.test.len(), 200);
    assert_ne!(notes.class_counts(&free.test), [140, 60], "by chance alone it would be off by some");
}

/// Published results name a seed: it must mean the same notes in every later version and on every machine.
#[test]
fn a_seed_means_the_same_notes_for_ever() {
    let notes = plain(14, 6);
    let splits = split(&notes, SplitConfig { validation_fraction: 0.25, ..SplitConfig::default() });
    assert_eq!((splits.validation, splits.test), (vec![2, 5, 10, 14], vec![0, 1, 11, 18]));
    let fold = split(&notes, SplitConfig { folds: 5, fold: 2, ..SplitConfig::default() });
    assert_eq!((fold.validation, fold.test), (vec![6], vec![0, 8, 9, 19]));
}

#[test]
fn folds_are_disjoint_cover_all_and_keep_the_classes() {
    let notes = plain(53, 24);
    let mut seen = Vec::new();
    for fold in 0..5 {
        let splits = split(&notes, SplitConfig { folds: 5, fold, ..SplitConfig::default() });
        let counts = notes.class_counts(&splits.test);
        assert!((10..=11).contains(&counts[0]) && (4..=5).contains(&counts[1]), "{counts:?}");
        assert!((15..=16).contains(&splits.test.len()), "{}", splits.test.len());
        let mut all = [splits.train.clone(), splits.validation, splits.test.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..77).collect::<Vec<_>>());
        seen.extend(splits.test);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..77).collect::<Vec<_>>());
}

#[test]
fn equal_notes_on_both_sides_are_counted_refused_or_kept_together() {
    let texts = ["chest pain", "chest  pain\n", "fever"];
    let notes = notes((0..300).map(|i| note(i % 2, texts.get(i).unwrap_or(&format!("{i}").as_str()), None)).collect());
    // Seeds for which the two equal notes fall apart.
    let apart: Vec<u64> = (0..40)
        .filter(|&seed| make_splits(&notes, &SplitConfig::default(), seed, DuplicatePolicy::Error).is_err())
        .collect();
    assert!(!apart.is_empty() && apart.len() < 40);
    for seed in apart {
        let error = make_splits(&notes, &SplitConfig::default(), seed, DuplicatePolicy::Error).unwrap_err();
        assert!(matches!(&error, Error::Data(text) if text.contains("1 validation or test notes")), "{error}");
        let allowed = make_splits(&notes, &SplitConfig::default(), seed, DuplicatePolicy::Allow).unwrap();
        assert_eq!(allowed.duplicates, 1);
        let together = make_splits(&notes, &SplitConfig::default(), seed, DuplicatePolicy::SameSide).unwrap();
        assert_eq!(together.duplicates, 0);
    }
}

#[test]
fn given_files_are_taken_as_they_are_and_checked() {
    let mut given = plain(60, 40);
    (given.train, given.validation, given.test) = (0..80, 80..90, 90..100);
    let splits = split(&given, SplitConfig::default());
    assert_eq!((splits.train.len(), splits.validation[0], splits.test[0]), (80, 80, 90));
    given.notes[95].text = given.notes[0].text.clone();
    for policy in [DuplicatePolicy::Error, DuplicatePolicy::SameSide] {
        let error = make_splits(&given, &SplitConfig::default(), 1, policy).unwrap_err().to_string();
        assert!(error.contains("remove the repeats"), "{error}");
    }
    given.notes[0].group = Some("secret".into());
    given.notes[95].group = Some("secret".into());
    let error = make_splits(&given, &SplitConfig::default(), 1, DuplicatePolicy::Allow).unwrap_err().to_string();
    assert!(error.contains("1 groups") && !error.contains("secret"), "{error}");

    let mut test_only = plain(60, 40);
    (test_only.train, test_only.validation, test_only.test) = (0..90, 90..90, 90..100);
    let splits = split(&test_only, SplitConfig::default());
    assert_eq!((splits.train.len(), splits.validation.len(), splits.test.len()), (81, 9, 10));
}

#[test]
fn options_that_cannot_be_are_errors() {
    let notes = plain(6, 4);
    let error = |split: SplitConfig| make_splits(&notes, &split, 1, DuplicatePolicy::Error).unwrap_err().to_string();
    let base = SplitConfig::default;
    assert!(error(SplitConfig { test_fraction: 1.0, ..base() }).contains("test_fraction"));
    assert!(error(SplitConfig { validation_fraction: f64::NAN, ..base() }).contains("validation_fraction"));
    assert!(error(SplitConfig { folds: 1, ..base() }).contains("folds"));
    assert!(error(SplitConfig { folds: 3, fold: 3, ..base() }).contains("below folds"));
    assert!(error(SplitConfig { folds: 11, ..base() }).contains("cannot make 11 folds"));
    assert!(error(SplitConfig { test_fraction: 0.01, ..base() }).contains("leaves a part empty"));
    let whole = split(&notes, SplitConfig { test_fraction: 0.0, validation_fraction: 0.0, ..base() });
    assert_eq!((whole.train.len(), whole.validation.len(), whole.test.len()), (10, 0, 0));
}

proptest! {
    /// Groups and equal notes stay whole whatever their sizes, the parts cover all notes once, and folds are of like size.
    #[test]
    fn groups_stay_whole(sizes in prop::collection::vec(1usize..6, 30..60), seed in any::<u64>(), stratified in any::<bool>()) {
        let mut all = Vec::new();
        for (group, &size) in sizes.iter().enumerate() {
            let name = format!("patient {group}");
            // Every seventh note repeats a text of the group before, which ties two groups together.
            all.extend((0..size).map(|i| note((group * 7 + i) % 2, &format!("{} {i}", group - usize::from(group % 7 == 1)), Some(&name))));
        }
        let count = all.len();
        let notes = notes(all);
        let mut seen = Vec::new();
        for fold in 0..3 {
            let config = SplitConfig { folds: 3, fold, stratified, ..SplitConfig::default() };
            let splits = make_splits(&notes, &config, seed, DuplicatePolicy::SameSide).unwrap();
            prop_assert_eq!(splits.duplicates, 0);
            prop_assert_eq!(splits.train.len() + splits.validation.len() + splits.test.len(), count);
            prop_assert!(splits.test.len().abs_diff(count / 3) <= 10, "{} of {}", splits.test.len(), count);
            seen.extend(splits.test);
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
    }
}

#[test]
fn notes_stand_in_one_order_whatever_has_a_label() {
    // Seven notes of the files, three of which test, and two that came without labels.
    let order = |train: &[usize], unlabeled: &[usize]| {
        let splits = Splits { train: train.to_vec(), unlabeled: unlabeled.to_vec(), ..Splits::default() };
        let notes: Vec<(bool, usize)> = train
            .iter()
            .map(|index| (false, *index))
            .chain([(true, 0), (true, 1)])
            .chain(unlabeled.iter().map(|index| (false, *index)))
            .collect();
        let standings = splits.standings(2);
        let mut positions: Vec<usize> = (0..notes.len()).collect();
        positions.sort_unstable_by_key(|position| standings[*position]);
        positions.into_iter().map(|position| notes[position]).collect::<Vec<_>>()
    };
    let all = [(false, 0), (false, 2), (false, 3), (false, 6), (true, 0), (true, 1)];
    assert_eq!(order(&[0, 2, 3, 6], &[]), all);
    assert_eq!(order(&[3], &[0, 2, 6]), all);
    assert_eq!(order(&[0, 6], &[2, 3]), all);
}
