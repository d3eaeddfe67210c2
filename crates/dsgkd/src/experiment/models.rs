//! The models of an experiment: read, fitted to each other, and what the teachers say kept.

use crate::config::{Config, HeadKind, Preset, Projection, TeacherCacheStore};
use crate::distill::cache::{TeacherCache, fingerprint};
use crate::distill::feature_file::FeatureFile;
use crate::distill::teacher::{Teacher, projection_name};
use crate::error::{Error, Result};
use crate::run::environment::{Instructions, cpu_features};
use crate::run::folder::RunFolder;
use crate::text::Tokenizer;
use dsgkd_encoder::{HeadForm, Heads, LoadReport, Model};

/// The student, the teachers, and their tokenizers (student first), each fitting the others; `loaded` is told of each what its folder lacked.
pub(crate) fn open_models(
    config: &Config,
    classes: &[String],
    loaded: &mut dyn FnMut(&str, &LoadReport),
) -> Result<(Model, Vec<Teacher>, Vec<Tokenizer>)> {
    let tokenizers = Tokenizer::open_all(config)?;
    let mut teachers = vec![];
    for teacher in &config.teachers {
        let (model, report) = Model::open(&teacher.model, &Heads::default(), config.seed)?;
        loaded("teacher", &report);
        teachers.push(model);
    }
    let mut heads = Heads {
        classes: classes.to_vec(),
        form: match config.student.head {
            Some(HeadKind::Reference) => HeadForm::Reference,
            Some(HeadKind::Mean) => HeadForm::Mean,
            Some(HeadKind::Family) | None => HeadForm::Family,
        },
        dropout: [
            config.student.hidden_dropout_prob,
            config.student.attention_probs_dropout_prob,
            config.student.classifier_dropout,
        ]
        .map(|share| share.map(|share| share as f32)),
        ..Heads::default()
    };
    let hidden_size = Model::architecture_of(&config.student.model)?.hidden_size;
    for (number, teacher) in teachers.iter().enumerate() {
        let of_teacher = teacher.architecture.hidden_size;
        if config.distill.projection == Projection::Always || of_teacher != hidden_size {
            heads.projections.push((projection_name(number), [of_teacher, hidden_size]));
        }
    }
    if config.preset == Preset::Reference && !heads.projections.is_empty() {
        return Err(Error::Config(
            "preset \"reference\" compares number by number: it needs a teacher of the student's hidden size, and \
             `distill.projection` left out; the default preset learns a projection"
                .to_string(),
        ));
    }
    let (student, report) = Model::open(&config.student.model, &heads, config.seed)?;
    loaded("student", &report);
    for (model, tokenizer) in std::iter::once(&student).chain(&teachers).zip(&tokenizers) {
        tokenizer.check_fits(&model.architecture, config.text.max_length)?;
    }
    let teachers = teachers.into_iter().zip(&config.teachers);
    let teachers = teachers
        .map(|(model, teacher)| Teacher::new(model, teacher, config.distill.attention, &student.architecture))
        .collect::<Result<_>>()?;
    Ok((student, teachers, tokenizers))
}

/// Tokens that each model can take, student first.
pub(crate) fn longest(student: &Model, teachers: &[Teacher]) -> Vec<usize> {
    let models = std::iter::once(student).chain(teachers.iter().map(|teacher| &teacher.model));
    models.map(|model| model.architecture.max_tokens()).collect()
}

/// One cache a teacher, each with an equal part of the budget.
pub(super) fn teacher_caches(
    config: &Config,
    teachers: &[Teacher],
    folder: &RunFolder,
    notes: usize,
) -> Result<Vec<TeacherCache>> {
    let dtype = config.distill.teacher_cache_dtype;
    let budget = config.distill.teacher_cache_mib.saturating_mul(1 << 20) / teachers.len().max(1);
    let cache = |(number, teacher): (usize, &Teacher)| match config.distill.teacher_cache {
        TeacherCacheStore::None => Ok(TeacherCache::nothing()),
        TeacherCacheStore::Memory => Ok(TeacherCache::in_memory(dtype, budget, notes)),
        TeacherCacheStore::File => {
            let products = Instructions::used().name();
            let computed_by = format!("{} {:?} {products}", env!("CARGO_PKG_VERSION"), cpu_features());
            let mark = fingerprint(teacher, dtype, &computed_by);
            let path = folder.teacher_features(number);
            let file = FeatureFile::open(folder.open_teacher_features(number)?, &path, &mark, budget as u64)?;
            Ok(TeacherCache::in_file(dtype, file, mark))
        }
    };
    teachers.iter().enumerate().map(cache).collect()
}
