//! Files that decide what is run: opened first, then checked, so that what was checked is what is read.
//!
//! A file is trusted if only root and the effective user can change it and every directory and link on the way to it.
//! A directory that all may write to is trusted only with the sticky bit (`/tmp`), one that its group may write to only
//! with that bit or if the group is root's.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::{fmt, io};

use rustix::fs::OFlags;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::accounts;

/// The largest file that is read, in octets.
const LARGEST: u64 = 1024 * 1024;

/// The most links that a path may lead over, as in the kernel.
const LINKS: usize = 40;

/// What a file is for: how private it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Others may read it.
    Public,
    /// Executable; others may read it.
    Program,
    /// Only its owner may read it.
    Secret,
}

/// Why a file cannot be used, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted {
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
    /// How to mend it.
    pub mend: String,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path.display(), self.why, self.mend)
    }
}

/// Reads a file that decides what is run, or a secret.
///
/// # Errors
/// [`Untrusted`] if it cannot be read, or if somebody else could have written it.
pub fn read(path: &Path, purpose: Purpose) -> Result<Zeroizing<Vec<u8>>, Untrusted> {
    let mut file = open(path, purpose)?;
    let mut octets = Zeroizing::new(Vec::new());
    let failed = |error: io::Error| unreadable(path, &error);
    file.by_ref().take(LARGEST).read_to_end(&mut octets).map_err(failed)?;
    match file.read(&mut [0]) {
        Ok(0) => Ok(octets),
        Ok(_) => Err(untrusted(path, "larger than 1 MiB".into(), "name the right file")),
        Err(error) => Err(failed(error)),
    }
}

/// Whether a program may be run: it is there, and nobody else could have written it.
///
/// # Errors
/// [`Untrusted`] if not.
pub fn check_program(path: &Path) -> Result<(), Untrusted> {
    // O_PATH: a program that may be run but not read is still a program
    let (_, real) = open_real(path, Purpose::Program, OFlags::PATH)?;
    let metadata = fs::metadata(&real).map_err(|error| unreadable(path, &error))?;
    check_owner(&real, &metadata)?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(untrusted(path, "not a program".into(), "name a program that can be run"));
    }
    Ok(())
}

fn open(path: &Path, purpose: Purpose) -> Result<File, Untrusted> {
    // O_NONBLOCK: a FIFO must not stop a delivery
    let (file, real) = open_real(path, purpose, OFlags::NONBLOCK)?;
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    check_owner(&real, &metadata)?;
    if !metadata.is_file() {
        return Err(untrusted(path, "not a regular file".into(), "name a file"));
    }
    if purpose == Purpose::Secret && metadata.permissions().mode() & 0o077 != 0 {
        return Err(untrusted(path, "a secret that others may read".into(), "chmod 600 it"));
    }
    Ok(file)
}

fn open_real(path: &Path, purpose: Purpose, flags: OFlags) -> Result<(File, PathBuf), Untrusted> {
    let real = resolve(path, purpose)?;
    let flags = (flags | OFlags::NOFOLLOW).bits();
    let flags = i32::try_from(flags).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&real);
    file.map(|file| (file, real)).map_err(|error| unreadable(path, &error))
}

/// Follows a path to its end. Whoever can change a directory or a link on the way decides where it leads.
fn resolve(path: &Path, purpose: Purpose) -> Result<PathBuf, Untrusted> {
    if !path.is_absolute() {
        return Err(untrusted(path, "a relative path".into(), "write an absolute one"));
    }
    let mut real = PathBuf::from("/");
    check_owner(&real, &fs::metadata(&real).map_err(|error| unreadable(&real, &error))?)?;
    let mut rest = steps(path);
    let mut links = 0_usize;
    while let Some(step) = rest.pop() {
        if step == ".." {
            real.pop();
            continue;
        }
        let at = real.join(step);
        let metadata = fs::symlink_metadata(&at).map_err(|error| {
            let is_absent = error.kind() == io::ErrorKind::NotFound;
            if is_absent { absent(path, purpose) } else { unreadable(&at, &error) }
        })?;
        if !metadata.is_symlink() {
            check_owner(&at, &metadata)?;
            if !metadata.is_dir() && !rest.is_empty() {
                return Err(untrusted(&at, "not a directory".into(), "name a file"));
            }
            real = at;
            continue;
        }
        check_link(&real, &at, &metadata)?;
        links = links.saturating_add(1);
        if links > LINKS {
            return Err(untrusted(path, "too many links".into(), "name the file itself"));
        }
        let target = fs::read_link(&at).map_err(|error| unreadable(&at, &error))?;
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        rest.extend(steps(&target));
    }
    Ok(real)
}

/// The names in a path, last first.
fn steps(path: &Path) -> Vec<OsString> {
    let steps = path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    steps.collect()
}

fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), Untrusted> {
    let (owner, mode) = (metadata.uid(), metadata.permissions().mode());
    if owner != 0 && owner != geteuid().as_raw() {
        let name = accounts::name_of(owner);
        let mend = format!("run this as {name}, or chown it to root or to the user who runs this");
        return Err(untrusted(path, format!("it belongs to {name}"), &mend));
    }
    let sticky = metadata.is_dir() && mode & 0o1000 != 0;
    if mode & 0o002 != 0 && !sticky {
        return Err(untrusted(path, "everybody may write to it".into(), "chmod o-w it"));
    }
    if mode & 0o020 != 0 && metadata.gid() != 0 && !sticky {
        return Err(untrusted(path, "its group may write to it".into(), "chmod g-w it"));
    }
    Ok(())
}

/// Whoever owns a directory controls the links in it; in a sticky one, each link's owner does.
fn check_link(directory: &Path, link: &Path, metadata: &fs::Metadata) -> Result<(), Untrusted> {
    let in_directory = fs::metadata(directory).map_err(|error| unreadable(directory, &error))?;
    let ours = [0, geteuid().as_raw()].contains(&metadata.uid());
    if in_directory.permissions().mode() & 0o1000 != 0 && !ours {
        let why = "somebody else's link, in a directory where everybody may make one";
        return Err(untrusted(link, why.into(), "name the file itself"));
    }
    Ok(())
}

fn absent(path: &Path, purpose: Purpose) -> Untrusted {
    let mend = match purpose {
        Purpose::Program => "install it, or name another",
        Purpose::Public | Purpose::Secret => "make it, or name another",
    };
    untrusted(path, "there is no such file".into(), mend)
}

fn unreadable(path: &Path, error: &io::Error) -> Untrusted {
    untrusted(path, error.to_string(), "make it readable")
}

fn untrusted(path: &Path, why: String, mend: &str) -> Untrusted {
    Untrusted { path: path.to_owned(), why, mend: mend.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "octets").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_file_of_our_own_is_read() {
        let (_directory, path) = file(0o644);
        assert_eq!(read(&path, Purpose::Public).unwrap().as_slice(), b"octets");
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        for mode in [0o646, 0o602] {
            let (_directory, path) = file(mode);
            assert_eq!(read(&path, Purpose::Public).unwrap_err().mend, "chmod o-w it");
        }
    }

    #[test]
    fn a_file_under_a_directory_that_others_can_write_is_refused() {
        let (directory, path) = file(0o644);
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(read(&path, Purpose::Public).unwrap_err().path, directory.path());
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(read(&path, Purpose::Public).is_ok(), "sticky, as /tmp");
    }

    #[test]
    fn a_link_is_followed_only_through_directories_others_cannot_write() {
        let (directory, path) = file(0o644);
        let link = |name: &str, target: &Path| {
            let link = directory.path().join(name);
            std::os::unix::fs::symlink(target, &link).unwrap();
            link
        };
        // link -> way/on -> ../file
        fs::create_dir(directory.path().join("way")).unwrap();
        link("way/on", Path::new("../file"));
        let first = link("link", Path::new("way/on"));
        assert!(read(&first, Purpose::Public).is_ok());
        let way = directory.path().join("way");
        fs::set_permissions(&way, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(read(&first, Purpose::Public).unwrap_err().path, way);
        fs::set_permissions(&way, fs::Permissions::from_mode(0o755)).unwrap();
        if geteuid().is_root() {
            std::os::unix::fs::lchown(way.join("on"), Some(65534), None).unwrap();
            assert!(read(&first, Purpose::Public).is_ok(), "its directory is ours");
            fs::set_permissions(&way, fs::Permissions::from_mode(0o1777)).unwrap();
            assert_eq!(read(&first, Purpose::Public).unwrap_err().path, way.join("on"));
        }
        assert!(read(&path.join("../file"), Purpose::Public).is_err(), "the kernel refuses it");
        let round = link("round", Path::new("round"));
        assert_eq!(read(&round, Purpose::Public).unwrap_err().why, "too many links");
        assert!(read(&path, Purpose::Public).is_ok());
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let (_directory, path) = file(0o640);
        assert!(read(&path, Purpose::Secret).is_err());
        assert!(read(&path, Purpose::Public).is_ok());
    }

    #[test]
    fn directories_fifos_relative_and_missing_paths_are_refused() {
        let (directory, path) = file(0o600);
        let fifo = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600))
            .unwrap();
        for bad in [directory.path(), &fifo, Path::new("file"), &path.with_extension("gone")] {
            assert!(read(bad, Purpose::Public).is_err(), "{}", bad.display());
        }
    }

    #[test]
    fn only_what_can_be_run_is_a_program() {
        let (_directory, path) = file(0o644);
        assert!(check_program(&path).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(check_program(&path).is_ok());
    }
}
