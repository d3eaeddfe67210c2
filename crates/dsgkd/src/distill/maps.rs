//! Which of the student's layers and heads each of the teacher's teaches.

use crate::config::{HeadMap, HeadMapName, LayerMap, LayerMapName};
use crate::error::{Error, Result};

/// Pairs of levels: 0 is the embedding output, `l` the output of layer `l` (from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelPairs {
    /// `(teacher level, student level)`.
    pub pairs: Vec<(usize, usize)>,
}

impl LevelPairs {
    /// Lays out a map for models of `teacher` and `student` layers.
    ///
    /// `uniform` spreads the shallower model's layers evenly over the deeper one: layer `i` of `s` meets layer `i * d / s` of
    /// `d`. Where the numbers agree, both named maps are one-to-one, as published.
    pub fn new(map: &LayerMap, teacher: usize, student: usize) -> Result<LevelPairs> {
        let shallow = teacher.min(student);
        let pairs: Vec<(usize, usize)> = match map {
            LayerMap::Named(name) => {
                let deep = |depth: usize, level: usize| match name {
                    LayerMapName::Uniform => level * depth / shallow,
                    LayerMapName::LastK if level == 0 => 0,
                    LayerMapName::LastK => depth - shallow + level,
                };
                (0..=shallow).map(|level| (deep(teacher, level), deep(student, level))).collect()
            }
            LayerMap::Pairs(pairs) => pairs.iter().map(|[teacher, student]| (*teacher, *student)).collect(),
        };
        check_pairs("layer_map", &pairs, teacher + 1, student + 1)?;
        Ok(LevelPairs { pairs })
    }

    /// `(teacher layer, student layer)` from 0, of the pairs that have attention: all but the embedding outputs.
    pub fn layers(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.pairs.iter().filter(|(t, s)| *t > 0 && *s > 0).map(|(t, s)| (t - 1, s - 1))
    }

    /// The last of the teacher's layers that is needed; those above need not run.
    pub fn teacher_layers(&self) -> usize {
        self.pairs.iter().map(|(teacher, _)| *teacher).max().unwrap_or(0)
    }
}

/// How heads are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadPairs {
    /// The mean over all heads of either model.
    Mean,
    /// `(teacher head, student head)`.
    Pairs(Vec<(usize, usize)>),
}

impl HeadPairs {
    /// Lays out a map for models of `teacher` and `student` heads; `None` is `same` where these agree, else `mean`.
    pub fn new(map: &Option<HeadMap>, teacher: usize, student: usize) -> Result<HeadPairs> {
        let pairs: Vec<(usize, usize)> = match map {
            Some(HeadMap::Named(HeadMapName::Mean)) => return Ok(HeadPairs::Mean),
            None if teacher != student => return Ok(HeadPairs::Mean),
            Some(HeadMap::Named(HeadMapName::Same)) if teacher != student => {
                return Err(Error::Config(format!(
                    "teachers.head_map: \"same\" needs equal numbers of heads, but the teacher has {teacher} and the student \
                     {student}; use \"mean\" or a list of [teacher, student] pairs"
                )));
            }
            Some(HeadMap::Named(HeadMapName::Same)) | None => (0..teacher).map(|head| (head, head)).collect(),
            Some(HeadMap::Pairs(pairs)) => pairs.iter().map(|[teacher, student]| (*teacher, *student)).collect(),
        };
        check_pairs("head_map", &pairs, teacher, student)?;
        Ok(HeadPairs::Pairs(pairs))
    }

    /// Number of rows that one term has in one layer.
    pub fn len(&self) -> usize {
        match self {
            HeadPairs::Mean => 1,
            HeadPairs::Pairs(pairs) => pairs.len(),
        }
    }

    /// Never: a map without pairs is refused.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn check_pairs(key: &str, pairs: &[(usize, usize)], teacher: usize, student: usize) -> Result<()> {
    if pairs.is_empty() {
        return Err(Error::Config(format!("teachers.{key}: the list is empty")));
    }
    match pairs.iter().find(|(t, s)| *t >= teacher || *s >= student) {
        None => Ok(()),
        Some((t, s)) => Err(Error::Config(format!(
            "teachers.{key}: [{t}, {s}] is out of range; the teacher has 0 to {} and the student 0 to {}",
            teacher - 1,
            student - 1
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pairs(name: LayerMapName, teacher: usize, student: usize) -> Vec<(usize, usize)> {
        LevelPairs::new(&LayerMap::Named(name), teacher, student).unwrap().pairs
    }

    #[test]
    fn named_layer_maps() {
        let one_to_one: Vec<_> = (0..=12).map(|l| (l, l)).collect();
        assert_eq!(pairs(LayerMapName::Uniform, 12, 12), one_to_one);
        assert_eq!(pairs(LayerMapName::LastK, 12, 12), one_to_one);
        assert_eq!(pairs(LayerMapName::Uniform, 3, 6), [(0, 0), (1, 2), (2, 4), (3, 6)]);
        assert_eq!(pairs(LayerMapName::LastK, 3, 6), [(0, 0), (1, 4), (2, 5), (3, 6)]);
        assert_eq!(pairs(LayerMapName::Uniform, 4, 3), [(0, 0), (1, 1), (2, 2), (4, 3)]);
        assert_eq!(pairs(LayerMapName::LastK, 4, 2), [(0, 0), (3, 1), (4, 2)]);
    }

    #[test]
    fn explicit_maps_are_checked() {
        let map = LayerMap::Pairs(vec![[0, 0], [6, 12]]);
        let levels = LevelPairs::new(&map, 6, 12).unwrap();
        assert_eq!(levels.layers().collect::<Vec<_>>(), [(5, 11)]);
        assert!(LevelPairs::new(&map, 5, 12).is_err());
        assert!(LevelPairs::new(&LayerMap::Pairs(vec![]), 5, 12).is_err());
        assert_eq!(HeadPairs::new(&None, 12, 4).unwrap(), HeadPairs::Mean);
        assert_eq!(HeadPairs::new(&None, 2, 2).unwrap(), HeadPairs::Pairs(vec![(0, 0), (1, 1)]));
        assert!(HeadPairs::new(&Some(HeadMap::Named(HeadMapName::Same)), 12, 4).is_err());
    }
}
