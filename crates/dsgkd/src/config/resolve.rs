//! What a preset stands for, and the values of keys that were left out.

use super::known::KnownKeys;
use super::load::{map_paths, to_table};
use super::schema::{AttentionRows, Config, DistillWhen, HeadKind, Preset, Projection, TeacherCacheStore, TermRule};
use crate::error::{Error, Result};

impl Config {
    /// The defaults of a preset. A teacher's default `layer_map`, `uniform`, is one to one between models of equal
    /// depth, which the reference demands.
    pub fn of_preset(preset: Preset) -> Config {
        let mut config = Config { preset, ..Config::default() };
        if preset == Preset::Reference {
            config.text.terms = TermRule::Reference;
            config.text.max_length = 384;
            config.text.max_terms = 32;
            config.distill.when = DistillWhen::WithLabels;
            config.distill.alpha = 0.6;
            config.distill.beta = 0.2;
            config.distill.attention = AttentionRows::Positional;
            config.distill.attention_after_dropout = true;
            config.distill.projection = Projection::WhereWidthsDiffer;
            config.distill.teacher_cache = TeacherCacheStore::None;
            config.train.max_grad_norm = 1.0;
            config.train.early_stopping_patience = 5;
            config.evaluation.reference_subsamples = true;
        }
        config
    }

    /// The configuration with every `None` filled that hangs on the preset, the term rule, the seed or whether and when there are teachers:
    /// `student.head`, `student.linear_probing`, `text.min_student_tokens`, `train.learning_rate`, `train.warmup_ratio`, `data.split.seed`. What only a model folder can
    /// answer (dropout probabilities, `head_map`) stays `None`.
    pub fn resolved(&self) -> Config {
        let mut config = self.clone();
        let has_teacher = !config.teachers.is_empty();
        let hears_first = has_teacher && config.distill.when == DistillWhen::BeforeLabels;
        let head = match config.preset {
            // The published head belongs to the distilled student; plain fine-tuning there used the family's.
            Preset::Reference if has_teacher => HeadKind::Reference,
            // What was heard stands in the terms' tokens, not in the first one.
            Preset::Default if hears_first => HeadKind::Mean,
            _ => HeadKind::Family,
        };
        let head = *config.student.head.get_or_insert(head);
        config.student.linear_probing.get_or_insert(hears_first && head == HeadKind::Mean);
        config.text.min_student_tokens.get_or_insert(config.text.terms.min_student_tokens());
        config.train.learning_rate.get_or_insert(if has_teacher { 1e-4 } else { 1e-5 });
        config.train.warmup_ratio.get_or_insert(if has_teacher { 0.25 } else { 0.15 });
        config.data.split.seed.get_or_insert(config.seed);
        config
    }

    /// The configuration with every path absolute, so that it means the same in any folder it is copied to.
    ///
    /// # Errors
    /// [`Error::Io`] when the current folder cannot be found, [`Error::Config`] when a path is not UTF-8.
    pub fn with_absolute_paths(&self) -> Result<Config> {
        let mut table = to_table(self)?;
        map_paths(&mut table, &KnownKeys::experiment(), &|path| std::path::absolute(path))?;
        table.try_into().map_err(|error: toml::de::Error| Error::Config(error.message().to_string()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::read;
    use super::*;

    #[test]
    fn presets_fill_only_what_was_not_written() {
        let reference = read("preset = 'reference'\n[text]\nmax_length = 100\n[[teachers]]\nmodel='t'", &[]).unwrap();
        assert_eq!(
            (reference.text.terms, reference.text.max_length, reference.text.max_terms),
            (TermRule::Reference, 100, 32)
        );
        assert_eq!(reference.distill.attention, AttentionRows::Positional);
        assert!(
            reference.distill.attention_after_dropout
                && reference.distill.teacher_cache == TeacherCacheStore::None
                && reference.evaluation.reference_subsamples
        );
        let resolved = reference.resolved();
        assert_eq!(resolved.student.head, Some(HeadKind::Reference));
        assert_eq!((resolved.train.learning_rate, resolved.train.warmup_ratio), (Some(1e-4), Some(0.25)));
        let plain = read("", &["preset=reference", "seed=5"]).unwrap().resolved();
        assert_eq!((plain.text.max_length, plain.student.head), (384, Some(HeadKind::Family)));
        assert_eq!((plain.train.learning_rate, plain.train.warmup_ratio), (Some(1e-5), Some(0.15)));
        assert_eq!(plain.data.split.seed, Some(5));
        assert_eq!(plain.text.min_student_tokens, Some(1));
        let default = read("[[teachers]]\nmodel='t'\n[train]\nlearning_rate=3e-5", &[]).unwrap().resolved();
        assert_eq!((default.student.head, default.train.learning_rate), (Some(HeadKind::Mean), Some(3e-5)));
        assert_eq!(default.text.min_student_tokens, Some(2));
        for (rule, least) in [("reference", 1), ("dictionary", 2)] {
            let text = read("[text]\ndictionary = 'd.txt'", &[&format!("text.terms={rule}")]).unwrap().resolved().text;
            assert_eq!(text.min_student_tokens, Some(least), "{rule}");
        }
    }

    #[test]
    fn the_head_hangs_on_when_a_teacher_is_heard() {
        use HeadKind::{Family, Mean, Reference};
        let teacher = "[[teachers]]\nmodel='t'";
        for (text, set, head, probing) in [
            (teacher, &[][..], Mean, true),
            (teacher, &["student.linear_probing=false"], Mean, false),
            (teacher, &["student.head=family"], Family, false),
            (teacher, &["distill.when=with-labels"], Family, false),
            (teacher, &["preset=reference"], Reference, false),
            (teacher, &["preset=reference", "student.head=mean", "distill.when=before-labels"], Mean, true),
            ("", &[], Family, false),
            ("", &["student.head=mean"], Mean, false),
            ("", &["student.head=mean", "student.linear_probing=true"], Mean, true),
        ] {
            let student = read(text, set).unwrap().resolved().student;
            assert_eq!((student.head, student.linear_probing), (Some(head), Some(probing)), "{text} {set:?}");
        }
    }
}
