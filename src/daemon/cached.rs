//! Small files in the user's cache: written whole or not at all, for nobody else to read.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Puts a new file of these parts in the place of the old one, if there was one; whoever reads meanwhile
/// sees one or the other, and nothing else is left behind. Its folder is made if it is not there.
///
/// # Errors
/// From the kernel; the old file is as it was.
pub(super) fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut beside = path.as_os_str().to_owned();
    // Another process may write the same file just now.
    beside.push(format!(".{}", std::process::id()));
    let beside = Path::new(&beside);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(beside)
        .and_then(|mut file| parts.iter().try_for_each(|part| file.write_all(part)))
        .and_then(|()| fs::rename(beside, path));
    if written.is_err() {
        let _ = fs::remove_file(beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let place = std::env::temp_dir().join(format!("muxloop-cached-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        let folder = place.join("a/b");
        let path = folder.join("file");
        replace(&path, &[b"one", b"two"]).unwrap();
        replace(&path, &[b"three"]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        fs::create_dir(folder.join("taken")).unwrap();
        fs::write(folder.join("taken/inside"), "").unwrap();
        assert!(replace(&folder.join("taken"), &[b"four"]).is_err());
        let mut left: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["file", "taken"]);
        fs::remove_dir_all(&place).unwrap();
    }
}
