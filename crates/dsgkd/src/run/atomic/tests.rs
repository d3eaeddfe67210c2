#![allow(clippy::unwrap_used)]
use super::*;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    write_file(&path, |writer| writer.write_all(b"old")).unwrap();
    let error = write_file(&path, |writer| {
        writer.write_all(&vec![b'x'; 1 << 20])?;
        Err(io::Error::other(Error::Data("row 3".into())))
    });
    assert!(matches!(error, Err(Error::Data(row)) if row == "row 3"));
    assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"old".to_vec(), vec!["a.json".to_string()]));
    write_file(&path, |writer| writer.write_all(b"new")).unwrap();
    assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"new".to_vec(), vec!["a.json".to_string()]));
}

#[test]
fn errors_name_the_path_and_not_the_temporary_file() {
    let error = write_file(Path::new("/nowhere/a.json"), |_| Ok(())).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/a.json: cannot write: "), "{error}");
    let error = write_folder(Path::new("/proc/a"), |_| Ok(())).unwrap_err();
    assert!(error.to_string().starts_with("/proc/a: cannot create: "), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_an_error_and_devices_stay_devices() {
    let error = write_file(Path::new("/dev/full"), |writer| writer.write_all(b"x")).unwrap_err();
    assert!(matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull), "{error}");
    write_file(Path::new("/dev/null"), |writer| writer.write_all(b"x")).unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[cfg(unix)]
#[test]
fn new_files_are_their_owner_s_and_links_stay_links() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (link, path) = (folder.path().join("link"), folder.path().join("a"));
    fs::write(&path, "old").unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    write_file(&link, |writer| writer.write_all(b"new")).unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let sub = folder.path().join("sub/model");
    fs::create_dir(folder.path().join("sub")).unwrap();
    write_folder(&sub, |_| Ok(())).unwrap();
    assert_eq!(fs::metadata(&sub).unwrap().permissions().mode() & 0o777, 0o700);
}

fn fill(content: &str) -> impl Fn(&Path) -> Result<()> {
    move |folder| {
        create_private_folder(&folder.join("deep")).map_err(Error::io(folder, "create"))?;
        write_file(&folder.join("deep/a"), |writer| writer.write_all(content.as_bytes()))
    }
}

#[test]
fn folders_are_replaced_whole_or_not_at_all() {
    let around = tempfile::tempdir().unwrap();
    let path = around.path().join("model");
    write_folder(&path, fill("one")).unwrap();
    fs::write(path.join("stale"), "").unwrap();
    let failed = write_folder(&path, |_| Err(Error::Model("x".into())));
    assert!(matches!(failed, Err(Error::Model(_))));
    assert_eq!(fs::read(path.join("deep/a")).unwrap(), b"one");
    write_folder(&path, fill("two")).unwrap();
    assert_eq!(fs::read(path.join("deep/a")).unwrap(), b"two");
    assert_eq!((names(around.path()), names(&path)), (vec!["model".to_string()], vec!["deep".to_string()]));
}

/// Every state that a kill can leave behind, made by hand: (old folder in place, temporary, finished, replaced).
#[test]
fn sweeping_after_any_kill_leaves_one_whole_folder() {
    for (states, expected) in [
        (["one", "", "", ""], "one"),
        (["one", "half", "", ""], "one"),
        (["one", "", "two", ""], "one"),
        (["", "", "two", "one"], "two"),
        (["two", "", "", "one"], "two"),
        (["", "", "two", ""], "two"),
        // Only if deleting was cut short by hand; the old one is better than none.
        (["", "half", "", "one"], "one"),
    ] {
        let around = tempfile::tempdir().unwrap();
        let path = around.path().join("model");
        let places =
            [path.clone(), beside(&path, &unique(UNFINISHED)), beside(&path, FINISHED), beside(&path, REPLACED)];
        for (place, content) in places.iter().zip(states).filter(|(_, content)| !content.is_empty()) {
            fs::create_dir(place).unwrap();
            fs::write(place.join("a"), content).unwrap();
        }
        fs::write(around.path().join(".mine.tmp"), "").unwrap();
        fs::write(beside(&around.path().join("f.json"), &unique(UNFINISHED)), "").unwrap();
        sweep(around.path()).unwrap();
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), expected, "{states:?}");
        assert_eq!(names(around.path()), [".mine.tmp", "model"], "{states:?}");
    }
}
