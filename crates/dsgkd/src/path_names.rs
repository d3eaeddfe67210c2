//! Short names of paths, for people and for ids.

use std::path::{Path, PathBuf};

/// The end of `path`: its last part, with as many of its folders before it as tell it from the other paths of `all`, however these were written.
pub(crate) fn end_that_tells_apart(path: &Path, all: &[PathBuf]) -> PathBuf {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let end = |path: &Path, parts: usize| -> PathBuf {
        let components: Vec<_> = path.components().collect();
        components[components.len().saturating_sub(parts)..].iter().collect()
    };
    let path = absolute(path);
    let others: Vec<PathBuf> = all.iter().map(|other| absolute(other)).filter(|other| *other != path).collect();
    let parts = path.components().count();
    let tells_apart = |parts: &usize| others.iter().all(|other| end(other, *parts) != end(&path, *parts));
    end(&path, (1..parts).find(tells_apart).unwrap_or(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_folders_as_it_takes() {
        let all = ["runs/a/seed-1", "runs/b/seed-1", "runs/b/seed-2", "runs/b/seed-2"].map(PathBuf::from);
        let ends = all.each_ref().map(|path| end_that_tells_apart(path, &all).display().to_string());
        assert_eq!(ends, ["a/seed-1", "b/seed-1", "seed-2", "seed-2"], "the same one twice is no other");
        assert_eq!(end_that_tells_apart(Path::new("x/notes.csv"), &[]), Path::new("notes.csv"));
    }
}
